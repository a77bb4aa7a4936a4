//! What an order must and must not do when it arrives, said once more in plain words and without the judge: for the search of the small world.

use crate::small::may_expire;
use homing_policy::record::Accepted;
use homing_policy::{Effect, Event, Now, SirenPhase, State};
use homing_protocol::command::{Command, Op};
use homing_protocol::id::CommandId;
use homing_protocol::receipt::CommandState::{self, *};

/// Whether a stop that was taken on is about this ring: it names it, or its sender gave it after the ring.
pub(crate) fn is_stopped(state: &State, ring: &Accepted) -> bool {
    state.commands().any(|entry| match &entry.accepted.op {
        Op::RingStop { rings } => {
            rings.contains(&ring.id)
                || ((entry.accepted.client, entry.accepted.session) == (ring.client, ring.session)
                    && entry.accepted.seq > ring.seq)
        }
        _ => false,
    })
}

fn of(state: &State, id: CommandId) -> CommandState {
    state.command(id).expect("it was taken on").state
}

fn open(state: &State, kind: fn(&Op) -> bool) -> Option<&Accepted> {
    let mut entries = state.open().map(|entry| &entry.accepted);
    entries.find(|accepted| kind(&accepted.op))
}

fn is_ring(op: &Op) -> bool {
    matches!(op, Op::Ring { .. })
}

fn is_search(op: &Op) -> bool {
    matches!(op, Op::Locate { .. })
}

/// A new order of a known session, or one that quotes the beacon that this phone made.
pub(crate) fn check_arrival(
    before: &State,
    now: &Now,
    after: &State,
    command: &Command,
    effects: &[Effect],
) {
    let entry = after.command(command.id).expect("a new order is taken on");
    let same_sender =
        |other: &Accepted| (other.client, other.session) == (command.client, command.session);
    match &command.op {
        Op::Ring { .. } => {
            let older = open(before, is_ring);
            let overtaken = older.is_some_and(|open| same_sender(open) && open.seq > command.seq);
            if is_stopped(before, &entry.accepted) {
                assert_eq!(entry.state, Cancelled);
            } else if may_expire(now, command) && entry.state == Expired {
                assert!(before.beacons() == 1, "nothing was made since");
            } else if overtaken {
                assert_eq!(entry.state, Superseded);
            } else {
                assert_eq!(entry.state, Accepted);
                assert!(crate::house::sounds(effects, command.id.0[0]));
                let ended = older.is_none_or(|older| of(after, older.id) == Superseded);
                assert!(ended, "the newer ring takes the older one's place");
                return;
            }
            assert!(!crate::house::is_loud(effects), "it must not sound");
            let kept = older.is_none_or(|older| !of(after, older.id).is_final());
            assert!(kept, "an order without effect leaves the others alone");
        }
        Op::RingStop { rings } => {
            assert!(!crate::house::is_loud(effects), "a stop must not sound");
            let Some(ring) = open(before, is_ring) else {
                let waiting = open(before, |op| matches!(op, Op::RingStop { .. })).is_some();
                let said = if waiting { Running } else { Done };
                assert_eq!(entry.state, said, "done is said when it is silent");
                assert!(crate::house::silences(effects));
                return;
            };
            let spares = same_sender(ring) && ring.seq > command.seq && !rings.contains(&ring.id);
            if spares {
                assert!(!of(after, ring.id).is_final() && !crate::house::silences(effects));
            } else {
                assert_eq!(of(after, ring.id), Cancelled);
                assert!(crate::house::silences(effects));
                assert_eq!(entry.state, Running, "done is said when it is silent");
            }
        }
        Op::Locate { .. } => {
            let older = open(before, is_search);
            let overtaken = older.is_some_and(|open| same_sender(open) && open.seq > command.seq);
            if overtaken {
                assert_eq!(entry.state, Superseded);
                assert!(effects.is_empty());
                assert!(older.is_none_or(|older| !of(after, older.id).is_final()));
            } else {
                assert_eq!(entry.state, Running);
                assert!(crate::house::searches(effects, command.id.0[0]));
                assert!(older.is_none_or(|older| of(after, older.id) == Superseded));
            }
        }
        Op::Status => {
            assert_eq!(entry.state, Done);
            assert_eq!(effects, [Effect::BeaconSoon]);
        }
        Op::Lost { .. } | Op::LostOff { .. } => {
            assert_eq!(entry.state, Accepted, "the privileged half has the word");
            let id = command.id;
            assert_eq!(effects, [Effect::HandOver { command: id }]);
        }
        Op::ResendReports { .. } | Op::Resume { .. } | Op::Unknown { .. } => {}
    }
}

/// Who may say what: *running* and *done* of a ring are the siren's words.
pub(crate) fn check_advance(
    state: &State,
    id: CommandId,
    was: Option<CommandState>,
    to: CommandState,
    event: &Event<'_>,
) {
    let op = &state.command(id).expect("it was taken on").accepted.op;
    match (op, to) {
        (Op::Ring { .. }, Running) => assert!(matches!(
            event,
            Event::Siren { command, phase: SirenPhase::Sounding } if *command == id
        )),
        (Op::Ring { .. }, Done) => assert_eq!(was, Some(Running), "it never sounded"),
        // A siren that began to sound and was never heard of again has died: nobody knows how long it sounded.
        (Op::Ring { .. }, Failed) => assert!(
            was == Some(Accepted) || matches!(event, Event::Tick),
            "it did sound"
        ),
        // A search that hangs is answered by the clock, one that ends the agent each time by a start.
        (Op::Locate { .. }, Failed) => assert!(
            matches!(event, Event::Tick | Event::Started)
                || matches!(event, Event::SearchEnded { command, .. } if *command == id)
        ),
        (Op::Locate { .. }, Done) => assert!(matches!(
            event,
            Event::SearchEnded { command, .. } if *command == id
        )),
        (Op::RingStop { .. } | Op::Status, ended) => {
            assert!(matches!(ended, Running | Done), "{ended:?}");
        }
        _ => {}
    }
}
