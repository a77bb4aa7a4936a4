//! Invariants 4 and 9: numbers only rise, and the state opens by itself in time.

use crate::fact::{Beacon, Fact, Journal};
use crate::{Findings, Invariant};
use homing_protocol::id::DeviceId;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long opening the state may take (design 06).
const LONGEST_OPENING: Duration = Duration::from_secs(5);

/// Judges.
pub(crate) fn judge(facts: &[Fact], findings: &mut Findings) {
    let mut journals: BTreeMap<DeviceId, &Journal> = BTreeMap::new();
    let mut beacons: BTreeMap<DeviceId, Beacon> = BTreeMap::new();
    for fact in facts {
        match fact {
            Fact::Journal(phone, journal) => {
                if let Some(before) = journals.insert(*phone, journal) {
                    compare(*phone, &numbers(before), &numbers(journal), findings);
                }
            }
            Fact::Beaconed(phone, beacon) => {
                let Some(before) = beacons.insert(*phone, *beacon) else {
                    continue;
                };
                compare(*phone, &shown(&before), &shown(beacon), findings);
                if before.counter == beacon.counter && before != *beacon {
                    findings.add(
                        Invariant::NeverDown,
                        format!("two beacons of {phone} have the number {}", beacon.counter),
                    );
                }
            }
            Fact::Opened(phone, took) if *took >= LONGEST_OPENING => findings.add(
                Invariant::Opens,
                format!("the state of {phone} took {} ms to open", took.as_millis()),
            ),
            Fact::StayedShut(phone, why) => findings.add(
                Invariant::Opens,
                format!("the state of {phone} does not open: {why}"),
            ),
            _ => {}
        }
    }
}

const fn numbers(journal: &Journal) -> [(&'static str, u64); 7] {
    [
        ("beacons", journal.beacons),
        ("receipts", journal.receipts),
        ("positions", journal.reports),
        ("stored positions", journal.reports_stored),
        ("forgotten positions", journal.reports_forgotten),
        ("the authority list's version", journal.authority),
        ("the key set's version", journal.key_set),
    ]
}

const fn shown(beacon: &Beacon) -> [(&'static str, u64); 4] {
    [
        ("the beacon's number", beacon.counter),
        ("the beacon's receipts", beacon.receipts),
        ("the beacon's authority list", beacon.authority),
        ("the beacon's key set", beacon.key_set),
    ]
}

fn compare(phone: DeviceId, before: &[(&str, u64)], now: &[(&str, u64)], findings: &mut Findings) {
    for ((what, before), (_, now)) in before.iter().zip(now) {
        if now < before {
            findings.add(
                Invariant::NeverDown,
                format!("{what} of {phone} went from {before} down to {now}"),
            );
        }
    }
}
