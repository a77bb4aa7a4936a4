//! Invariant 10: while nothing reaches the disk, nothing new is claimed, acknowledged or done.

use crate::fact::{Fact, Journal};
use crate::{Findings, Invariant};
use homing_protocol::id::{CommandId, DeviceId};
use std::collections::BTreeMap;

/// Judges.
pub(crate) fn judge(facts: &[Fact], findings: &mut Findings) {
    let mut journals: BTreeMap<DeviceId, &Journal> = BTreeMap::new();
    // What was on the disk when it failed.
    let mut failing: BTreeMap<DeviceId, Journal> = BTreeMap::new();
    for fact in facts {
        match fact {
            Fact::Journal(phone, journal) => {
                journals.insert(*phone, journal);
            }
            Fact::DiskFails(phone) => {
                let last = journals.get(phone).copied().cloned().unwrap_or_default();
                failing.insert(*phone, last);
            }
            Fact::DiskWorks(phone) => {
                failing.remove(phone);
            }
            claim => claimed(claim, &failing, findings),
        }
    }
}

fn claimed(claim: &Fact, failing: &BTreeMap<DeviceId, Journal>, findings: &mut Findings) {
    let unknown = |phone: &DeviceId, command: &CommandId| {
        failing
            .get(phone)
            .is_some_and(|disk| !disk.commands.contains_key(command))
    };
    let words = match claim {
        Fact::Published(receipt)
            if failing
                .get(&receipt.phone)
                .is_some_and(|disk| receipt.counter > disk.receipts) =>
        {
            format!("receipt {} of {}", receipt.counter, receipt.phone)
        }
        Fact::Beaconed(phone, beacon)
            if failing
                .get(phone)
                .is_some_and(|disk| beacon.counter > disk.beacons) =>
        {
            format!("beacon {} of {phone}", beacon.counter)
        }
        Fact::Acknowledged(phone, command) if unknown(phone, command) => {
            format!("the acknowledgement of {command} on {phone}")
        }
        Fact::Began(effect) if unknown(&effect.phone, &effect.command) => {
            format!("the effect of {} on {}", effect.command, effect.phone)
        }
        _ => return,
    };
    findings.add(
        Invariant::NoFalseClaim,
        format!("{words} came while nothing reached the disk"),
    );
}
