//! Invariant 7: every receipt and every position is delivered or still waits; in the end all is delivered.

use crate::fact::{Expected, Fact, Journal, Meaning, Receipt, Rest, Signed};
use crate::{Findings, Invariant};
use homing_protocol::id::{CommandId, DeviceId};
use std::collections::{BTreeMap, BTreeSet};

/// What has reached the owner.
#[derive(Default)]
struct Delivered {
    receipts: BTreeSet<u64>,
    positions: BTreeSet<u64>,
    ended: BTreeSet<CommandId>,
}

/// Judges.
pub(crate) fn judge(facts: &[Fact], findings: &mut Findings) {
    for (index, fact) in facts.iter().enumerate() {
        if let Fact::AtRest(phone, rest) = fact {
            at_rest(&facts[..index], *phone, rest, findings);
        }
    }
}

fn at_rest(before: &[Fact], phone: DeviceId, rest: &Rest, findings: &mut Findings) {
    let mut delivered = Delivered::default();
    let mut about: BTreeMap<u64, CommandId> = BTreeMap::new();
    let mut journal: Option<&Journal> = None;
    for fact in before {
        match fact {
            Fact::Journal(of, now) if *of == phone => journal = Some(now),
            Fact::Stored(of, first, last) if *of == phone => {
                delivered.positions.extend(*first..=*last);
            }
            Fact::Published(receipt) if receipt.phone == phone => {
                about.insert(receipt.counter, receipt.command);
            }
            Fact::Told(receipt) if receipt.phone == phone => told(receipt, &mut delivered),
            _ => {}
        }
    }
    let Some(journal) = journal else { return };
    for counter in 1..=journal.receipts {
        let asked = about.get(&counter).is_some_and(|command| {
            rest.asked.contains(command) || delivered.ended.contains(command)
        });
        if !delivered.receipts.contains(&counter) && !rest.outbox.contains(&counter) && !asked {
            findings.add(
                Invariant::NothingLost,
                format!("receipt {counter} of {phone} is neither delivered nor in the outbox"),
            );
        }
    }
    for number in journal.reports_forgotten + 1..=journal.reports {
        let mut runs = journal.passed_over.iter();
        if runs.any(|(first, last)| (*first..=*last).contains(&number)) {
            continue;
        }
        let here = delivered.positions.contains(&number);
        if !here && !rest.kept.contains(&number) {
            findings.add(
                Invariant::NothingLost,
                format!("position {number} of {phone} is neither delivered nor kept"),
            );
        } else if !here && rest.expected == Expected::AllDelivered {
            findings.add(
                Invariant::NothingLost,
                format!("position {number} of {phone} never reached the owner"),
            );
        }
    }
    if rest.expected == Expected::AllDelivered {
        all_ended(before, phone, &delivered, findings);
    }
}

fn told(receipt: &Receipt, delivered: &mut Delivered) {
    delivered.receipts.insert(receipt.counter);
    if receipt.state.is_final() && receipt.meaning == Meaning::Step {
        delivered.ended.insert(receipt.command);
    }
}

fn all_ended(before: &[Fact], phone: DeviceId, delivered: &Delivered, findings: &mut Findings) {
    for fact in before {
        if let Fact::Signed(Signed {
            phone: of, command, ..
        }) = fact
            && *of == phone
            && !delivered.ended.contains(command)
        {
            findings.add(
                Invariant::NothingLost,
                format!("the owner never heard how {command} ended on {phone}"),
            );
        }
    }
}
