//! Invariant 3: what the owner was told is explained by the phone's journal, also after a crash.

use crate::fact::{Fact, Journal, Meaning, Receipt};
use crate::{Findings, Invariant};
use homing_protocol::id::DeviceId;
use homing_protocol::receipt::CommandState;
use std::collections::BTreeMap;

/// Judges.
pub(crate) fn judge(facts: &[Fact], findings: &mut Findings) {
    let mut said: BTreeMap<(DeviceId, u64), Receipt> = BTreeMap::new();
    for fact in facts {
        match fact {
            Fact::Published(receipt) | Fact::Told(receipt) => {
                let before = *said
                    .entry((receipt.phone, receipt.counter))
                    .or_insert(*receipt);
                if before != *receipt {
                    findings.add(
                        Invariant::Explained,
                        format!(
                            "receipt {} of {} once said {} of {}, and then {} of {}",
                            receipt.counter,
                            receipt.phone,
                            before.state.word(),
                            before.command,
                            receipt.state.word(),
                            receipt.command
                        ),
                    );
                }
            }
            Fact::Journal(phone, journal) => {
                for receipt in said.values().filter(|receipt| receipt.phone == *phone) {
                    explain(receipt, journal, findings);
                }
            }
            _ => {}
        }
    }
}

/// How far a state is: accepted 1, running 2, every end 3.
const fn rank(state: CommandState) -> u8 {
    match state {
        CommandState::Accepted => 1,
        CommandState::Running => 2,
        _ => 3,
    }
}

fn explain(receipt: &Receipt, journal: &Journal, findings: &mut Findings) {
    let Receipt {
        phone,
        counter,
        command,
        state,
        ..
    } = *receipt;
    if counter > journal.receipts {
        findings.add(
            Invariant::Explained,
            format!(
                "the owner of {phone} holds receipt {counter}, the journal knows {}",
                journal.receipts
            ),
        );
    }
    if receipt.meaning == Meaning::SignAgain {
        return;
    }
    let known = journal.commands.get(&command).map(|entry| entry.state);
    let explained = match known {
        Some(now) if state.is_final() => now == state,
        Some(now) => rank(now) >= rank(state),
        None => false,
    };
    if !explained {
        let now = known.map_or("not known", CommandState::word);
        findings.add(
            Invariant::Explained,
            format!(
                "receipt {counter} of {phone} said that {command} is {}; in the journal it is {now}",
                state.word()
            ),
        );
    }
}
