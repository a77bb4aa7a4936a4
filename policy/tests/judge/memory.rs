//! What a phone remembers and forgets: bounds, facts, and the bytes of every record.

use crate::house::*;
use homing_policy::NonceMaker;
use homing_policy::record::{Accepted, Pace, Place};
use homing_policy::state::{
    MOST_BEACONS, MOST_COMMANDS, MOST_FLOORS, MOST_PACES, MOST_SPACES, MOST_TOMBSTONES,
};
use homing_policy::{Record, State, codec};
use homing_protocol::cbor::LARGEST;
use homing_protocol::command::{FURTHEST, Op};
use homing_protocol::id::{BeaconNonce, BootId, ClientId, CommandId, SessionId};
use homing_protocol::lost::CodeVerifier;
use homing_protocol::receipt::CommandState;
use proptest::prelude::*;

fn id(number: u64) -> CommandId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    CommandId(bytes)
}

fn beacon(counter: u64) -> Record {
    Record::Beacon {
        maker: NonceMaker::Agent,
        counter,
        nonce: BeaconNonce([3; 16]),
        boot: BootId([4; 16]),
        boottime_ms: counter * 900_000,
    }
}

fn accepted(number: u64, at_beacon: u64) -> Record {
    Record::Accepted(Accepted {
        id: id(number),
        client: ClientId([1; 16]),
        session: SessionId([2; 8]),
        seq: number,
        op: Op::Status,
        not_after: None,
        at_beacon,
        at_unix_s: TODAY,
    })
}

fn ended(counter: u64, number: u64) -> Record {
    Record::Receipt {
        counter,
        command: id(number),
        state: CommandState::Done,
    }
}

fn assert_facts(state: &State) {
    let mut fresh = State::default();
    for fact in state.facts() {
        fresh.apply(&fact);
    }
    assert_eq!(fresh, *state);
}

#[test]
fn a_command_kept_beyond_its_beacons_because_it_was_open_goes_when_it_ends() {
    let mut state = State::default();
    state.apply(&accepted(1, 0));
    state.apply(&accepted(2, 0));
    state.apply(&ended(1, 2));
    for counter in 1..=MOST_BEACONS as u64 + 1 {
        state.apply(&beacon(counter));
    }
    assert!(state.command(id(1)).is_some() && state.command(id(2)).is_some());
    assert_facts(&state);
    state.apply(&ended(2, 1));
    assert!(state.command(id(1)).is_none() && state.command(id(2)).is_none());
    assert_facts(&state);
}

#[test]
fn an_ended_command_is_forgotten_with_the_last_beacon_that_could_bring_it_back() {
    let mut state = State::default();
    state.apply(&accepted(1, 0));
    state.apply(&ended(1, 1));
    state.apply(&beacon(1));
    state.apply(&accepted(2, 1));
    state.apply(&ended(2, 2));
    for counter in 2..MOST_BEACONS as u64 {
        state.apply(&beacon(counter));
    }
    // One beacon is missing until the first of them is the oldest that a new session may quote.
    assert!(state.command(id(1)).is_some());
    state.apply(&beacon(MOST_BEACONS as u64));
    assert!(state.command(id(1)).is_none());
    // The other was taken on when that first beacon was the newest, so it may still be quoted with it.
    assert!(state.command(id(2)).is_some());
    state.apply(&beacon(MOST_BEACONS as u64 + 1));
    assert!(state.command(id(2)).is_none());
    assert_facts(&state);
}

#[test]
fn of_too_many_paces_the_one_that_owes_least_is_forgotten_and_never_the_newest() {
    let client = |number: usize| {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
        ClientId(bytes)
    };
    let paced = |number: usize, debt_ms: u64| Record::Paced {
        client: client(number),
        pace: Pace {
            boot: BootId([4; 16]),
            boottime_ms: 1,
            debt_ms,
            told: 0,
            copies_ms: 0,
        },
    };
    let mut state = State::default();
    for number in 0..MOST_PACES {
        // The seventh owes least.
        state.apply(&paced(number, if number == 7 { 50 } else { 100 }));
    }
    let known = |state: &State| {
        (0..=MOST_PACES)
            .filter(|n| state.pace(client(*n)).is_some())
            .count()
    };
    assert_eq!(known(&state), MOST_PACES);
    state.apply(&paced(MOST_PACES, 1));
    assert_eq!(known(&state), MOST_PACES);
    assert!(state.pace(client(7)).is_none());
    assert!(state.pace(client(MOST_PACES)).is_some());
    assert_facts(&state);
}

#[test]
fn a_phone_of_many_years_stays_small() {
    let mut state = State::default();
    let mut number = 0u64;
    for counter in 1..=3 * MOST_BEACONS as u64 {
        state.apply(&beacon(counter));
        for _ in 0..4 {
            number += 1;
            state.apply(&Record::Seen {
                client: ClientId([1; 16]),
                session: SessionId((number / 50).to_be_bytes()),
                seq: number,
            });
            state.apply(&accepted(number, counter));
            state.apply(&Record::Tombstone {
                client: ClientId([1; 16]),
                ring: id(number),
            });
            state.apply(&ended(number, number));
        }
    }
    assert_eq!(state.beacons(), 3 * MOST_BEACONS as u64);
    assert_eq!(state.commands().count(), MOST_COMMANDS);
    let bound = MOST_BEACONS + 2 * MOST_COMMANDS + MOST_TOMBSTONES + MOST_SPACES * 1025 + 200;
    let facts = state.facts();
    assert!(facts.len() < bound, "{} facts", facts.len());
    let bytes: usize = facts.iter().map(|fact| codec::encode(fact).len()).sum();
    assert!(bytes < 3 * 1024 * 1024, "{bytes} bytes of facts");
    assert_facts(&state);
}

#[test]
fn a_client_that_stops_rings_without_end_pushes_out_its_own_marks_alone() {
    let mut state = State::default();
    let bury = |state: &mut State, client: u8, number: u64| {
        state.apply(&Record::Tombstone {
            client: ClientId([client; 16]),
            ring: id(number),
        });
    };
    for number in 1..=100 {
        bury(&mut state, 1, number);
    }
    for number in 101..=5_000 {
        bury(&mut state, 2, number);
    }
    assert!((1..=100).all(|number| state.is_dead(id(number))));
    assert!(!state.is_dead(id(101)), "the greedy one's oldest");
    assert!(state.is_dead(id(5_000)));
    // Who names another's ring first does not take the mark from it.
    bury(&mut state, 1, 5_000);
    for number in 5_001..=10_000 {
        bury(&mut state, 2, number);
    }
    assert!(state.is_dead(id(5_000)));
    assert_facts(&state);
}

const GREEDY: ClientId = ClientId([2; 16]);
const OTHER: ClientId = ClientId([1; 16]);

/// What the greedy client did raises its own floor, and it costs the other nothing.
fn assert_floors(state: &State, newest_beacon: u64) {
    assert_eq!(state.least_beacon(GREEDY), newest_beacon);
    assert_eq!(state.least_beacon(OTHER), 0);
    assert_facts(state);
}

#[test]
fn marks_that_a_client_pushes_out_raise_its_own_floor_alone() {
    let mut state = State::default();
    state.apply(&beacon(7));
    for (client, number) in [(OTHER, 1), (OTHER, 2)] {
        let ring = id(number);
        state.apply(&Record::Tombstone { client, ring });
    }
    for number in 1..=MOST_TOMBSTONES as u64 {
        let (client, ring) = (GREEDY, id(1_000 + number));
        state.apply(&Record::Tombstone { client, ring });
    }
    assert!(state.is_dead(id(1)) && !state.is_dead(id(1_001)));
    assert_floors(&state, 7);
}

#[test]
fn a_client_of_many_orders_pushes_out_its_own_ids_alone() {
    let mut state = State::default();
    state.apply(&beacon(7));
    for number in 1..=50 {
        state.apply(&accepted(number, 7));
        state.apply(&ended(number, number));
    }
    for number in 51..=MOST_COMMANDS as u64 + 100 {
        let Record::Accepted(order) = accepted(number, 7) else {
            unreachable!()
        };
        state.apply(&Record::Accepted(Accepted {
            client: GREEDY,
            ..order
        }));
        state.apply(&ended(number, number));
    }
    assert_eq!(state.commands().count(), MOST_COMMANDS);
    assert!((1..=50).all(|number| state.command(id(number)).is_some()));
    assert!(state.command(id(51)).is_none(), "the greedy one's oldest");
    assert_floors(&state, 7);
}

#[test]
fn a_session_stays_known_whatever_clients_of_many_sessions_do() {
    let mut state = State::default();
    state.apply(&beacon(7));
    let seen = |client: ClientId, session: u64| Record::Seen {
        client,
        session: SessionId(session.to_be_bytes()),
        seq: 1,
    };
    state.apply(&seen(OTHER, 1));
    for client in 2..=5 {
        for session in 1..=40 {
            state.apply(&seen(ClientId([client; 16]), session));
        }
    }
    assert!(state.space(OTHER, SessionId(1u64.to_be_bytes())).is_some());
    let kept = |client: u8| {
        let sessions = (1..=40u64).map(|session| SessionId(session.to_be_bytes()));
        let mut kept = sessions.filter(|s| state.space(ClientId([client; 16]), *s).is_some());
        kept.by_ref().count()
    };
    assert_eq!((1..=5).map(kept).sum::<usize>(), MOST_SPACES);
    assert_floors(&state, 7);
}

#[test]
fn the_one_floor_of_an_older_journal_is_every_clients() {
    let old = homing_protocol::cbor::Map::new().uint(0, 17).uint(1, 9);
    let mut state = State::default();
    state.apply(&codec::decode(&old.encode()).unwrap());
    assert_eq!(
        (state.least_beacon(GREEDY), state.least_beacon(OTHER)),
        (9, 9)
    );
    // A later one of a client's own stands above it, and one below it means nothing.
    for (client, beacon) in [(GREEDY, 12), (OTHER, 8)] {
        state.apply(&Record::ClientFloor { client, beacon });
    }
    assert_eq!(
        (state.least_beacon(GREEDY), state.least_beacon(OTHER)),
        (12, 9)
    );
    assert_facts(&state);
}

#[test]
fn of_too_many_floors_the_lowest_becomes_everybodys_and_none_is_lost() {
    let mut state = State::default();
    let clients = 0..=u8::try_from(MOST_FLOORS).unwrap();
    for client in clients.clone() {
        state.apply(&Record::ClientFloor {
            client: ClientId([client; 16]),
            beacon: 100 + u64::from(client),
        });
    }
    assert_eq!(state.floor, 100);
    for client in clients {
        let floor = state.floor_of(ClientId([client; 16]));
        assert_eq!(floor, 100 + u64::from(client));
    }
    assert_facts(&state);
}

#[test]
fn a_pace_of_schema_2_is_read_as_one_without_copies() {
    let old = homing_protocol::cbor::Map::new()
        .uint(0, 24)
        .bytes(1, &[5; 16])
        .bytes(2, &[6; 16])
        .uint(3, 1_000)
        .uint(4, 20_000)
        .uint(5, 3);
    let Ok(Record::Paced { pace, .. }) = codec::decode(&old.encode()) else {
        panic!("a pace")
    };
    assert_eq!((pace.debt_ms, pace.told, pace.copies_ms), (20_000, 3, 0));
}

#[test]
fn a_mark_of_schema_1_is_read_as_nobodys() {
    let old = homing_protocol::cbor::Map::new()
        .uint(0, 8)
        .bytes(1, &[5; 16])
        .encode();
    let expected = Record::Tombstone {
        client: ClientId([0; 16]),
        ring: CommandId([5; 16]),
    };
    assert_eq!(codec::decode(&old), Ok(expected));
}

#[test]
fn commands_that_are_open_are_never_forgotten() {
    let mut state = State::default();
    for number in 1..=MOST_COMMANDS as u64 + 50 {
        state.apply(&accepted(number, 0));
    }
    assert_eq!(state.open().count(), MOST_COMMANDS + 50);
    assert_facts(&state);
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (1..=600u16).prop_map(|search_s| Op::Locate { search_s }),
        (1..=3600u16).prop_map(|for_s| Op::Ring { for_s }),
        prop::collection::vec(any::<[u8; 16]>().prop_map(CommandId), 0..=15)
            .prop_map(|rings| Op::RingStop { rings }),
        Just(Op::Status),
        (0..=LARGEST, 0..=LARGEST).prop_map(|(first, last)| Op::ResendReports { first, last }),
        (0..=FURTHEST, 0..=FURTHEST, any::<[u8; 32]>(), 0..=FURTHEST).prop_map(
            |(beacon, receipts, head, reports)| Op::Resume {
                beacon,
                receipts,
                head,
                reports,
            }
        ),
        (
            "[^\\p{C}]{1,40}",
            prop::option::of("[0-9 +-]{1,24}"),
            prop::option::of(any::<[u8; 32]>())
        )
            .prop_map(|(message, contact, code)| Op::Lost {
                message,
                contact,
                code: code.map(CodeVerifier::from_bytes),
            }),
        prop::collection::vec(any::<[u8; 16]>().prop_map(CommandId), 0..=15)
            .prop_map(|episodes| Op::LostOff { episodes }),
        (0..=LARGEST).prop_map(|code| Op::Unknown { code }),
    ]
}

fn order_taken_on() -> impl Strategy<Value = Record> {
    (
        (
            any::<[u8; 16]>(),
            any::<[u8; 16]>(),
            any::<[u8; 8]>(),
            0..=LARGEST,
        ),
        op(),
        (prop::option::of(0..=LARGEST), 0..=LARGEST, 0..=LARGEST),
    )
        .prop_map(
            |((id, client, session, seq), op, (not_after, at_beacon, at_unix_s))| {
                Record::Accepted(Accepted {
                    id: CommandId(id),
                    client: ClientId(client),
                    session: SessionId(session),
                    seq,
                    op,
                    not_after,
                    at_beacon,
                    at_unix_s,
                })
            },
        )
}

fn place() -> impl Strategy<Value = Place> {
    let when = (any::<[u8; 16]>(), 0..=LARGEST);
    let what = (any::<i32>(), any::<i32>(), any::<u32>(), any::<bool>());
    (when, what).prop_map(
        |((boot, boottime_ms), (latitude_e7, longitude_e7, accuracy_dm, moving))| Place {
            boot: BootId(boot),
            boottime_ms,
            latitude_e7,
            longitude_e7,
            accuracy_dm,
            moving,
        },
    )
}

fn record() -> impl Strategy<Value = Record> {
    let number = || 0..=LARGEST;
    let blob = || prop::collection::vec(any::<u8>(), 0..200);
    let long = any::<[u8; 16]>;
    prop_oneof![
        (number(), blob()).prop_map(|(version, signed)| Record::Authority { version, signed }),
        (number(), blob()).prop_map(|(version, signed)| Record::KeySet { version, signed }),
        (number(), long(), long(), number()).prop_map(|(counter, nonce, boot, boottime_ms)| {
            Record::Beacon {
                maker: [NonceMaker::Agent, NonceMaker::Actor][usize::from(nonce[0] % 2)],
                counter,
                nonce: BeaconNonce(nonce),
                boot: BootId(boot),
                boottime_ms,
            }
        }),
        (long(), any::<[u8; 8]>(), number()).prop_map(|(client, session, seq)| Record::Seen {
            client: ClientId(client),
            session: SessionId(session),
            seq
        }),
        order_taken_on(),
        (number(), long(), 1..=8u64).prop_map(|(counter, command, state)| Record::Receipt {
            counter,
            command: CommandId(command),
            state: CommandState::from_code(state).unwrap(),
        }),
        (long(), any::<[u8; 8]>(), number()).prop_map(|(client, session, seq)| Record::StopMark {
            client: ClientId(client),
            session: SessionId(session),
            seq
        }),
        (long(), long()).prop_map(|(client, ring)| Record::Tombstone {
            client: ClientId(client),
            ring: CommandId(ring)
        }),
        any::<u32>().prop_map(|seconds| Record::RingLongest { seconds }),
        (long(), long(), number()).prop_map(|(command, boot, deadline_ms)| {
            Record::SearchOrdered {
                command: CommandId(command),
                boot: BootId(boot),
                deadline_ms,
            }
        }),
        (long(), long(), number(), number(), number(), number()).prop_map(
            |(client, boot, boottime_ms, debt_ms, told, copies_ms)| Record::Paced {
                client: ClientId(client),
                pace: Pace {
                    boot: BootId(boot),
                    boottime_ms,
                    debt_ms,
                    told,
                    copies_ms,
                },
            }
        ),
        (long(), long(), number()).prop_map(|(ring, boot, deadline_ms)| Record::SirenOrdered {
            ring: CommandId(ring),
            boot: BootId(boot),
            deadline_ms
        }),
        (long(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(command, signed)| {
            Record::Handed {
                command: CommandId(command),
                signed,
            }
        }),
        number().prop_map(|counter| Record::Report { counter }),
        number().prop_map(|through| Record::ReportsStored { through }),
        any::<[u8; 32]>().prop_map(|digest| Record::Told { digest }),
        number().prop_map(|through| Record::ReportsForgotten { through }),
        (long(), number()).prop_map(|(boot, boottime_ms)| Record::TrackSearch {
            boot: BootId(boot),
            boottime_ms
        }),
        place().prop_map(Record::TrackPlace),
        any::<bool>().prop_map(|spent| Record::LastGasp { spent }),
        number().prop_map(|beacon| Record::Floor { beacon }),
        (long(), number()).prop_map(|(client, beacon)| Record::ClientFloor {
            client: ClientId(client),
            beacon
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_record_is_read_back_as_it_was_written(record in record()) {
        prop_assert_eq!(codec::decode(&codec::encode(&record)), Ok(record));
    }

    #[test]
    fn a_damaged_row_is_an_error_and_never_a_panic(record in record(), at in any::<prop::sample::Index>(), bit in 0..8u8, cut in any::<prop::sample::Index>()) {
        let mut bytes = codec::encode(&record);
        let shorter = &bytes[..cut.index(bytes.len())];
        prop_assert!(codec::decode(shorter).is_err());
        let index = at.index(bytes.len());
        bytes[index] ^= 1 << bit;
        prop_assert_ne!(codec::decode(&bytes), Ok(record));
    }
}

#[test]
fn of_what_was_told_to_be_signed_again_the_newest_sixty_four_are_kept() {
    let mut state = State::default();
    for number in 0..70u8 {
        state.apply(&Record::Told {
            digest: [number; 32],
        });
    }
    let facts = state.facts();
    let told = facts.iter().filter_map(|fact| match fact {
        Record::Told { digest } => Some(digest[0]),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), (6..70).collect::<Vec<_>>());
}

#[test]
fn of_the_runs_of_numbers_that_were_passed_over_the_newest_sixty_four_are_kept() {
    let mut state = State::default();
    for _ in 0..70 {
        state.apply(&Record::Resumed {
            beacon: 1,
            receipts: 0,
            head: None,
            reports: state.reports + 9,
        });
        state.apply(&Record::Report {
            counter: state.reports + 1,
        });
    }
    let runs: Vec<_> = (6..70).map(|run| (run * 10 + 1, run * 10 + 9)).collect();
    assert_eq!(state.passed_over, runs);
}

#[test]
fn a_stop_that_a_client_repeats_pushes_out_nothing() {
    let mut state = State::default();
    let marks = (1..=10).chain(std::iter::repeat_n(5, MOST_TOMBSTONES + 10));
    for number in marks {
        state.apply(&Record::Tombstone {
            client: GREEDY,
            ring: id(number),
        });
    }
    assert!((1..=10).all(|number| state.is_dead(id(number))));
    assert_eq!(state.floor_of(GREEDY), 0);
}

#[test]
fn the_oldest_beacon_that_is_kept_may_begin_a_session() {
    let mut state = State::default();
    for number in 1..=MOST_BEACONS as u64 + 5 {
        state.apply(&beacon(number));
    }
    assert_eq!(state.least_beacon(OTHER), 5);
}
