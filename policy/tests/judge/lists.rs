//! Lists that ROOT signed, and report acknowledgements.

use crate::house::*;
use homing_policy::{Effect, Event, SearchOutcome};
use homing_protocol::Refusal;
use homing_protocol::authority::Capabilities;
use homing_protocol::cbor::LARGEST;

#[test]
fn a_list_is_replaced_by_a_higher_version_only() {
    let rows: [(u64, &[u8], Option<Refusal>, bool); 5] = [
        (2, b"list 2", None, true),
        (1, b"list 1", None, false),
        (1, b"other 1", Some(Refusal::Forked), false),
        (0, b"list 0", Some(Refusal::Stale), false),
        (LARGEST, b"last list", None, true),
    ];
    for (version, signed, refusal, is_taken) in rows {
        for is_key_set in [false, true] {
            let mut phone = Phone::new();
            // Both lists of a new phone say "list 1" here.
            phone.state.key_set.1 = b"list 1".to_vec();
            let event = if is_key_set {
                Event::KeySet { version, signed }
            } else {
                Event::Authority { version, signed }
            };
            let effects = phone.hear(&event);
            let changed = if is_key_set {
                Effect::ReadersChanged
            } else {
                Effect::AuthorityChanged
            };
            assert_eq!(effects.contains(&changed), is_taken, "{version} {signed:?}");
            assert_eq!(phone.refusals.first().copied(), refusal);
            let standing = if is_key_set {
                &phone.state.key_set
            } else {
                &phone.state.authority
            };
            assert_eq!(standing.0, if is_taken { version } else { 1 });
        }
    }
}

#[test]
fn acknowledged_reports_only_rise_and_never_above_what_was_made() {
    let mut phone = Phone::new();
    for _ in 0..5 {
        let _ = phone.hear(&Event::SearchEnded {
            command: command_id(1),
            outcome: SearchOutcome::Found(crate::locate::PLACE),
        });
    }
    let rows = [
        (3, 3, None),
        (2, 3, None),
        (6, 3, Some(Refusal::BadParameter)),
        (u64::MAX, 3, Some(Refusal::BadParameter)),
        (5, 5, None),
    ];
    for (through, stored, refusal) in rows {
        phone.refusals.clear();
        let _ = phone.hear(&Event::ReportsStored {
            through,
            rights: Capabilities::full(),
        });
        assert_eq!(
            (phone.state.reports_stored, phone.refusals.first().copied()),
            (stored, refusal)
        );
    }
}
