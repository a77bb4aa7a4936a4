//! Strategies for random but valid messages of the sample phone. Checks nothing.

use crate::sample::{Draws, EPOCH, address, fixed, kem, secret, short, signing};
use homing_protocol::Refusal;
use homing_protocol::authority::{AuthorityList, Capabilities, ClientKind, Entry, MOST_ENTRIES};
use homing_protocol::beacon::{
    Beacon, ClockTrust, ListDigests, MOST_BITMAP, MOST_WINDOWS, Status, Window,
};
use homing_protocol::cbor::LARGEST;
use homing_protocol::certificate::DeviceKeys;
use homing_protocol::command::{
    BeaconReference, Command, FURTHEST, MOST_NAMED_EPISODES, MOST_NAMED_RINGS, MOST_RESENT, Op,
};
use homing_protocol::enrolment::{Bundle, Claim};
use homing_protocol::id::{BeaconNonce, BootId, ClientId, CommandId, DeviceId, SessionId};
use homing_protocol::keyring::{FindPart, FullPart, KnownClient, KnownDevice};
use homing_protocol::keys::{KemPublic, KemSecret, SigningKey, VerifyingKey};
use homing_protocol::lost::{Attestation, CodeVerifier, Outcome};
use homing_protocol::measure::{Battery, Charging, Metered, NetworkKind, Position, PositionSource};
use homing_protocol::readers::{KeySet, MOST_READERS, Reader, Reads};
use homing_protocol::receipt::{CommandState, Detail, Receipt};
use homing_protocol::report::{MOST_POSITIONS, Report};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

pub(crate) fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (1u16..=600).prop_map(|search_s| Op::Locate { search_s }),
        (1u16..=3600).prop_map(|for_s| Op::Ring { for_s }),
        vec(any::<[u8; 16]>().prop_map(CommandId), 0..=MOST_NAMED_RINGS)
            .prop_map(|rings| Op::RingStop { rings }),
        Just(Op::Status),
        (1..=LARGEST - 2000, 0..MOST_RESENT).prop_map(|(first, more)| Op::ResendReports {
            first,
            last: first + more,
        }),
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
            option::of("[0-9 +-]{1,24}"),
            option::of(any::<[u8; 32]>())
        )
            .prop_map(|(message, contact, code)| Op::Lost {
                message,
                contact,
                code: code.map(CodeVerifier::from_bytes),
            }),
        vec(
            any::<[u8; 16]>().prop_map(CommandId),
            0..=MOST_NAMED_EPISODES
        )
        .prop_map(|episodes| Op::LostOff { episodes }),
    ]
}

pub(crate) fn command() -> impl Strategy<Value = Command> {
    let beacon = (0..=LARGEST, any::<[u8; 16]>()).prop_map(|(counter, nonce)| BeaconReference {
        counter,
        nonce: BeaconNonce(nonce),
    });
    let ids = (any::<[u8; 8]>(), 1..=LARGEST - 2000, any::<[u8; 16]>());
    let times = (
        0..=LARGEST,
        option::of(0..=LARGEST),
        option::of(beacon),
        0..=LARGEST,
    );
    (
        ids,
        op(),
        times,
        option::of(any::<[u8; 32]>()),
        option::of(0..=LARGEST),
    )
        .prop_map(
            |(
                (session, seq, id),
                op,
                (issued_at, not_after, beacon, authority_version),
                binding,
                presence,
            )| Command {
                address: address(),
                epoch: EPOCH,
                client: signing("owner").public().client_id(),
                session: SessionId(session),
                seq,
                id: CommandId(id),
                op,
                issued_at,
                not_after,
                beacon,
                authority_version,
                binding,
                presence,
            },
        )
}

fn window() -> impl Strategy<Value = Window> {
    (
        any::<[u8; 16]>(),
        any::<[u8; 8]>(),
        0..=LARGEST,
        vec(any::<u8>(), 0..=MOST_BITMAP),
    )
        .prop_map(|(client, session, high, missing)| Window {
            client: ClientId(client),
            session: SessionId(session),
            high,
            missing,
        })
}

pub(crate) fn beacon() -> impl Strategy<Value = Beacon> {
    let numbers = (
        0..=LARGEST,
        0..=LARGEST,
        0..=LARGEST,
        0..=LARGEST,
        any::<u32>(),
    );
    (
        numbers,
        any::<[u8; 16]>(),
        any::<[u8; 16]>(),
        vec(window(), 0..=MOST_WINDOWS),
        any::<[u8; 32]>(),
    )
        .prop_map(
            |(
                (counter, authority_version, key_set_version, receipts, next_contact_s),
                nonce,
                boot,
                windows,
                receipt_chain,
            )| Beacon {
                address: address(),
                epoch: EPOCH,
                counter,
                nonce: BeaconNonce(nonce),
                boot: BootId(boot),
                windows,
                authority_version,
                key_set_version,
                receipts,
                receipt_chain,
                next_contact_s,
            },
        )
}

pub(crate) fn status() -> impl Strategy<Value = Status> {
    let charging = (0u64..4).prop_map(|code| Charging::from_code(code).expect("known"));
    let network = (0u64..5).prop_map(|code| NetworkKind::from_code(code).expect("known"));
    let metered = (0u64..3).prop_map(|code| Metered::from_code(code).expect("known"));
    let clock = prop_oneof![Just(ClockTrust::Unset), Just(ClockTrust::Synchronised)];
    let ring = option::of(any::<[u8; 16]>().prop_map(CommandId));
    let numbers = (
        0..=LARGEST,
        0..=LARGEST,
        0..=LARGEST,
        any::<u32>(),
        any::<u32>(),
    );
    (
        numbers,
        clock,
        option::of(0u8..=100),
        charging,
        network,
        metered,
        (
            ring,
            option::of(0..=LARGEST),
            option::of(0..=LARGEST),
            option::of(any::<([u8; 16], [u8; 16])>()),
            option::of(any::<[u8; 16]>().prop_map(CommandId)),
        ),
    )
        .prop_map(
            |(
                (time_unix_s, reports, presence, free_mib, refused),
                clock,
                percent,
                charging,
                network,
                metered,
                (ring, set_back, left_at, lists, lost),
            )| Status {
                time_unix_s,
                clock,
                battery: Battery { percent, charging },
                network,
                metered,
                ring,
                reports,
                presence,
                free_mib,
                refused,
                set_back,
                left_at,
                lists: lists.map(|(authority, key_set)| ListDigests { authority, key_set }),
                lost,
            },
        )
}

pub(crate) fn detail() -> impl Strategy<Value = (CommandState, Detail)> {
    let state = (1u64..=8).prop_map(|code| CommandState::from_code(code).expect("known"));
    let refusal = option::of(proptest::sample::select(Refusal::ALL));
    let text = option::of("[a-zäß ]{0,60}");
    let attestation = option::of((1u8..=6, 0..=LARGEST).prop_map(|(outcome, counter)| {
        let outcome = Outcome::from_code(outcome).expect("known");
        let about = CommandId(short("an order"));
        Attestation::sign(
            &signing("actor"),
            (&address(), EPOCH),
            about,
            outcome,
            counter,
        )
    }));
    let report = option::of(0..=LARGEST);
    (state, 0..=LARGEST, refusal, text, report, attestation).prop_map(
        |(state, time_unix_s, refusal, text, report, attestation)| {
            (
                state,
                Detail {
                    time_unix_s,
                    refusal,
                    text,
                    report,
                    attestation,
                },
            )
        },
    )
}

pub(crate) fn receipt(state: CommandState, counter: u64, previous: [u8; 32]) -> Receipt {
    Receipt {
        address: address(),
        epoch: EPOCH,
        command: CommandId(short("an order")),
        session: SessionId(short("session")),
        seq: 17,
        state,
        counter,
        previous,
    }
}

fn position() -> impl Strategy<Value = Position> {
    let place = (
        -900_000_000i32..=900_000_000,
        -1_800_000_000i32..=1_800_000_000,
        any::<u32>(),
    );
    let motion = (
        option::of(any::<i32>()),
        option::of(any::<u32>()),
        option::of(0u16..36_000),
    );
    let source = (0u64..4).prop_map(|code| PositionSource::from_code(code).expect("known"));
    (
        option::of(-LARGEST.cast_signed()..=LARGEST.cast_signed()),
        place,
        motion,
        source,
        any::<u32>(),
    )
        .prop_map(
            |(
                time_unix_ms,
                (latitude_e7, longitude_e7, accuracy_dm),
                (altitude_dm, speed_cm_s, course_cdeg),
                source,
                age_s,
            )| Position {
                time_unix_ms,
                latitude_e7,
                longitude_e7,
                accuracy_dm,
                altitude_dm,
                speed_cm_s,
                course_cdeg,
                source,
                age_s,
            },
        )
}

pub(crate) fn report() -> impl Strategy<Value = Report> {
    (1..LARGEST - 100, vec(position(), 1..=MOST_POSITIONS)).prop_map(|(first, positions)| Report {
        address: address(),
        epoch: EPOCH,
        first,
        positions,
    })
}

pub(crate) fn authority_list() -> impl Strategy<Value = AuthorityList> {
    let kind = proptest::sample::select(vec![
        ClientKind::CommandLine,
        ClientKind::Browser,
        ClientKind::Find,
    ]);
    let entry = (any::<[u8; 32]>(), kind, any::<u32>()).prop_map(|(key, kind, bits)| Entry {
        key: VerifyingKey(key),
        kind,
        capabilities: Capabilities::from_bits(bits),
    });
    (0..=LARGEST, vec(entry, 0..=MOST_ENTRIES)).prop_map(|(version, entries)| AuthorityList {
        account: address().account,
        version,
        entries,
    })
}

pub(crate) fn key_set() -> impl Strategy<Value = KeySet> {
    let reads = proptest::sample::select(vec![Reads::Status, Reads::Positions]);
    let reader =
        (any::<[u8; 16]>(), any::<[u8; 32]>(), reads).prop_map(|(client, key, reads)| Reader {
            client: ClientId(client),
            key: KemPublic(key),
            reads,
        });
    (0..=LARGEST, vec(reader, 0..=MOST_READERS)).prop_map(|(version, readers)| KeySet {
        address: address(),
        version,
        readers,
    })
}

pub(crate) fn device_keys() -> impl Strategy<Value = DeviceKeys> {
    (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(|(agent, kem, actor)| {
        DeviceKeys {
            agent: VerifyingKey(agent),
            kem: KemPublic(kem),
            actor: VerifyingKey(actor),
        }
    })
}

pub(crate) fn claim() -> impl Strategy<Value = Claim> {
    (0..=LARGEST, any::<u16>(), "[ -~]{0,100}").prop_map(|(consent_at, retention_days, model)| {
        Claim {
            address: address(),
            epoch: EPOCH,
            keys: DeviceKeys {
                agent: signing("agent").public(),
                kem: kem("device").public(),
                actor: signing("actor").public(),
            },
            consent_at,
            retention_days,
            model,
        }
    })
}

pub(crate) fn bundle() -> impl Strategy<Value = Bundle> {
    (
        authority_list(),
        "[ -~]{0,64}",
        any::<u32>(),
        any::<u16>(),
        "[ -~\n]{0,2000}",
    )
        .prop_map(|(list, name, epoch, retention_days, pem)| Bundle {
            address: address(),
            epoch,
            name,
            broker: "mqtts://[::1]:8883".into(),
            ca_pem: pem.clone(),
            tls_certificate_pem: pem.clone(),
            tls_key_pem: pem.into(),
            root: signing("root").public(),
            authority: list.sign(&signing("root")).expect("short enough"),
            owner: kem("owner").public(),
            secret: secret(),
            retention_days,
        })
}

fn known_device() -> impl Strategy<Value = KnownDevice> {
    let blob = || vec(any::<u8>(), 0..700);
    (
        any::<[u8; 16]>(),
        "[ -~]{0,64}",
        blob(),
        blob(),
        vec(any::<u8>(), 0..20),
    )
        .prop_map(
            |(device, name, certificate, key_set, tls_serial)| KnownDevice {
                device: DeviceId(device),
                name,
                certificate,
                key_set,
                tls_serial,
            },
        )
}

pub(crate) fn find_part() -> impl Strategy<Value = FindPart> {
    (
        any::<[u8; 32]>(),
        vec(any::<u8>(), 0..3000),
        vec(known_device(), 0..6),
    )
        .prop_map(|(seed, authority, devices)| FindPart {
            account: address().account,
            root: VerifyingKey(seed),
            signing: SigningKey::from_bytes(&seed),
            reading: KemSecret::generate(&mut Draws::new("reading")),
            broker: "mqtts://broker.example:8883".into(),
            ca_pem: "CA".into(),
            authority,
            devices,
        })
}

fn known_client() -> impl Strategy<Value = KnownClient> {
    (
        any::<[u8; 16]>(),
        "[ -~]{0,64}",
        any::<[u8; 32]>(),
        vec(any::<u8>(), 0..20),
        option::of(vec(any::<[u8; 16]>(), 0..4)),
        option::of(any::<[u8; 16]>()),
    )
        .prop_map(
            |(client, name, reading, tls_serial, phones, added_by)| KnownClient {
                client: ClientId(client),
                name,
                reading: KemPublic(reading),
                tls_serial,
                phones: phones.map(|ids| ids.into_iter().map(DeviceId).collect()),
                added_by: added_by.map(ClientId),
            },
        )
}

pub(crate) fn full_part() -> impl Strategy<Value = FullPart> {
    let put_out = vec(any::<[u8; 16]>(), 0..=256);
    ("[ -~\n]{0,3000}", vec(known_client(), 0..=64), put_out).prop_map(
        |(crl_pem, clients, put_out)| FullPart {
            root: SigningKey::from_bytes(&fixed("root")),
            ca_key_pem: String::from("KEY").into(),
            crl_pem,
            clients,
            put_out: put_out.into_iter().map(ClientId).collect(),
        },
    )
}
