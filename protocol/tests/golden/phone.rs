//! The examples of what the phone itself says: beacons, receipts, reports. Checks nothing itself.

use crate::examples::{Example, authority, carried_steps, command, key_set, readers, with};
use crate::json::{Json, object};
use crate::sample::{Draws, EPOCH, address, short, signing};
use homing_protocol::Refusal;
use homing_protocol::beacon::{Beacon, ClockTrust, ListDigests, Status, Window};
use homing_protocol::command::Op;
use homing_protocol::envelope::MessageType;
use homing_protocol::id::{BeaconNonce, BootId, CommandId, SessionId};
use homing_protocol::lost::{Attestation, Outcome};
use homing_protocol::measure::{Battery, Charging, Metered, NetworkKind, Position, PositionSource};
use homing_protocol::readers::Reads;
use homing_protocol::receipt::{CommandState, Detail, Receipt};
use homing_protocol::report::Report;

/// The sample beacon's clear part.
pub(crate) fn clear() -> Beacon {
    let window = |name, session, high, missing: &[u8]| Window {
        client: signing(name).public().client_id(),
        session: SessionId(short(session)),
        high,
        missing: missing.to_vec(),
    };
    Beacon {
        address: address(),
        epoch: EPOCH,
        counter: 12,
        nonce: BeaconNonce(short("nonce")),
        boot: BootId(short("boot")),
        windows: vec![
            window("owner", "session", 40, &[0b0000_0101]),
            window("partner", "another session", 1, &[]),
        ],
        authority_version: 7,
        key_set_version: 4,
        receipts: 8,
        receipt_chain: short("receipt chain"),
        next_contact_s: 900,
    }
}

/// The sample beacon's part for readers.
pub(crate) fn status() -> Status {
    Status {
        time_unix_s: 1_790_000_005,
        clock: ClockTrust::Synchronised,
        battery: Battery {
            percent: Some(61),
            charging: Charging::Discharging,
        },
        network: NetworkKind::Wifi,
        metered: Metered::No,
        ring: Some(CommandId(short("command-ring"))),
        reports: 130,
        presence: 5,
        free_mib: 2048,
        refused: 3,
        set_back: None,
        left_at: None,
        lists: None,
        lost: None,
    }
}

/// A beacon; one of a phone whose state was set back; the last one of a phone that was taken out of the account; one that
/// says which lists it follows; one of a phone in lost mode.
pub(crate) fn beacons() -> Vec<Example> {
    vec![
        beacon("beacon", &status()),
        beacon("beacon-set-back", &status_set_back()),
        beacon("beacon-farewell", &status_left()),
        beacon("beacon-lists", &status_lists()),
        beacon("beacon-lost", &status_lost()),
    ]
}

/// The status of a phone whose state was set back.
pub(crate) fn status_set_back() -> Status {
    Status {
        set_back: Some(20),
        ..status()
    }
}

/// The last status of a phone that was taken out of the account.
pub(crate) fn status_left() -> Status {
    Status {
        left_at: Some(1_790_000_005),
        ring: None,
        ..status()
    }
}

/// The status of a phone that says which lists it follows, as all but the first builds do.
pub(crate) fn status_lists() -> Status {
    let root = signing("root");
    let authority = authority().sign(&root).expect("short enough");
    let key_set = key_set().sign(&root).expect("short enough");
    Status {
        lists: Some(ListDigests::of(&authority, &key_set)),
        ..status()
    }
}

/// The status of a phone in lost mode.
pub(crate) fn status_lost() -> Status {
    Status {
        lost: Some(CommandId(short("command-lost"))),
        ring: None,
        ..status_lists()
    }
}

fn beacon(name: &'static str, status: &Status) -> Example {
    let clear = clear();
    let mut draws = Draws::new(name);
    let envelope = clear
        .sign(
            status,
            &signing("agent"),
            &readers(Reads::Status),
            &mut draws,
        )
        .expect("fits");
    let windows: Json = clear.windows.iter().map(|window| {
        object! { "client": window.client.0, "session": window.session.0, "high": window.high, "missing": window.missing.as_slice() }
    }).collect();
    let mut sealed = object! {
        "time_unix_s": status.time_unix_s, "clock": status.clock as u8, "battery_percent": status.battery.percent,
        "charging": status.battery.charging.code(), "network": status.network.code(), "metered": status.metered.code(),
        "ring": status.ring.map(|ring| ring.0), "reports": status.reports, "presence": status.presence,
        "free_mib": status.free_mib, "refused": status.refused,
        "set_back": status.set_back, "left_at": status.left_at,
    };
    if let (Json::Object(fields), Some(lists)) = (&mut sealed, status.lists) {
        fields.push(("authority_digest", lists.authority.into()));
        fields.push(("key_set_digest", lists.key_set.into()));
    }
    if let (Json::Object(fields), Some(lost)) = (&mut sealed, status.lost) {
        fields.push(("lost", lost.0.into()));
    }
    let inputs = with(
        vec![
            ("signer", "agent".into()),
            ("readers", ["owner", "partner"].into_iter().collect()),
        ],
        vec![
            ("counter", clear.counter.into()),
            ("nonce", clear.nonce.0.into()),
            ("boot", clear.boot.0.into()),
            ("windows", windows),
            ("authority_version", clear.authority_version.into()),
            ("key_set_version", clear.key_set_version.into()),
            ("receipts", clear.receipts.into()),
            ("receipt_chain", clear.receipt_chain.into()),
            ("next_contact_s", clear.next_contact_s.into()),
            ("status", sealed),
        ],
    );
    Example {
        name,
        inputs,
        steps: carried_steps(MessageType::Beacon, "agent", 13, envelope),
        random: draws.taken,
    }
}

fn details() -> [(&'static str, CommandState, &'static str, Detail); 9] {
    use CommandState as S;
    let plain = Detail {
        time_unix_s: 1_790_000_010,
        ..Detail::default()
    };
    let why = |refusal| Detail {
        refusal: Some(refusal),
        ..plain.clone()
    };
    let found = Detail {
        report: Some(130),
        ..plain.clone()
    };
    let text = Some("no satellite was heard for 60 s".into());
    let failed = Detail {
        text,
        ..plain.clone()
    };
    [
        (
            "receipt-delivered",
            S::Accepted,
            "command-locate",
            plain.clone(),
        ),
        (
            "receipt-running",
            S::Running,
            "command-locate",
            plain.clone(),
        ),
        ("receipt-done", S::Done, "command-locate", found),
        ("receipt-failed", S::Failed, "command-locate", failed),
        (
            "receipt-refused",
            S::Refused,
            "command-status",
            why(Refusal::NotAllowed),
        ),
        (
            "receipt-expired",
            S::Expired,
            "command-ring",
            why(Refusal::Expired),
        ),
        (
            "receipt-superseded",
            S::Superseded,
            "command-locate",
            plain.clone(),
        ),
        (
            "receipt-cancelled",
            S::Cancelled,
            "command-ring",
            plain.clone(),
        ),
        (
            "receipt-attested",
            S::Running,
            "command-lost",
            Detail {
                attestation: Some(attestation()),
                ..plain
            },
        ),
    ]
}

/// What the sample phone's privileged half says of the lost command.
pub(crate) fn attestation() -> Attestation {
    let about = CommandId(short("command-lost"));
    Attestation::sign(
        &signing("actor"),
        (&address(), EPOCH),
        about,
        Outcome::Locked,
        3,
    )
}

/// A receipt of each state, and one that carries an attestation; they follow each other in one chain that starts with 32 zero bytes.
pub(crate) fn receipts() -> Vec<Example> {
    let mut previous = [0; 32];
    let mut examples = Vec::new();
    for (counter, (name, state, about, detail)) in (1..).zip(details()) {
        let order = command(about, Op::Status);
        let receipt = Receipt {
            address: address(),
            epoch: EPOCH,
            command: order.id,
            session: order.session,
            seq: order.seq,
            state,
            counter,
            previous,
        };
        let (example, head) = receipt_example(name, &receipt, &detail);
        examples.push(example);
        previous = head;
    }
    examples
}

fn receipt_example(name: &'static str, receipt: &Receipt, detail: &Detail) -> (Example, [u8; 32]) {
    let mut draws = Draws::new(name);
    let signed = receipt
        .sign(
            detail,
            &signing("agent"),
            &readers(Reads::Status),
            &mut draws,
        )
        .expect("fits");
    let mut sealed = object! {
        "time_unix_s": detail.time_unix_s, "refusal": detail.refusal.map(Refusal::code),
        "text": detail.text.clone(), "report": detail.report,
    };
    if let (Json::Object(fields), Some(attestation)) = (&mut sealed, detail.attestation) {
        fields.push(("outcome", (attestation.outcome as u8).into()));
        fields.push(("outcome_counter", attestation.counter.into()));
        fields.push(("attestation", attestation.to_bytes().as_slice().into()));
    }
    let inputs = with(
        vec![
            ("signer", "agent".into()),
            ("readers", ["owner", "partner"].into_iter().collect()),
        ],
        vec![
            ("command", receipt.command.0.into()),
            ("session", receipt.session.0.into()),
            ("seq", receipt.seq.into()),
            ("state", (receipt.state as u8).into()),
            ("word", receipt.state.word().into()),
            ("counter", receipt.counter.into()),
            ("previous", receipt.previous.into()),
            ("head_after", signed.head.into()),
            ("detail", sealed),
        ],
    );
    let steps = carried_steps(MessageType::Receipt, "agent", 10, signed.envelope);
    (
        Example {
            name,
            inputs,
            steps,
            random: draws.taken,
        },
        signed.head,
    )
}

/// A full fix, one with every optional field absent, and one south-west of the origin.
pub(crate) fn positions() -> Vec<Position> {
    let fix = Position {
        time_unix_ms: Some(1_790_000_009_250),
        latitude_e7: 525_200_066,
        longitude_e7: 134_049_540,
        accuracy_dm: 58,
        altitude_dm: Some(345),
        speed_cm_s: Some(140),
        course_cdeg: Some(35_999),
        source: PositionSource::Gnss,
        age_s: 1,
    };
    let bare = Position {
        time_unix_ms: None,
        altitude_dm: None,
        speed_cm_s: None,
        course_cdeg: None,
        source: PositionSource::LastKnown,
        age_s: 3600,
        ..fix
    };
    let south_west = Position {
        latitude_e7: -338_567_844,
        longitude_e7: -1_512_152_967,
        altitude_dm: Some(-12),
        ..fix
    };
    vec![fix, bare, south_west]
}

/// A report.
pub(crate) fn report() -> Example {
    let report = Report {
        address: address(),
        epoch: EPOCH,
        first: 128,
        positions: positions(),
    };
    let mut draws = Draws::new("report");
    let envelope = report
        .sign(&signing("agent"), &readers(Reads::Positions), &mut draws)
        .expect("fits");
    let listed: Json = report.positions.iter().map(|position| {
        object! {
            "time_unix_ms": position.time_unix_ms, "latitude_e7": position.latitude_e7, "longitude_e7": position.longitude_e7,
            "accuracy_dm": position.accuracy_dm, "altitude_dm": position.altitude_dm, "speed_cm_s": position.speed_cm_s,
            "course_cdeg": position.course_cdeg, "source": position.source.code(), "age_s": position.age_s,
        }
    }).collect();
    let inputs = with(
        vec![
            ("signer", "agent".into()),
            ("readers", ["owner"].into_iter().collect()),
        ],
        vec![("first", report.first.into()), ("positions", listed)],
    );
    Example {
        name: "report",
        inputs,
        steps: carried_steps(MessageType::Report, "agent", 6, envelope),
        random: draws.taken,
    }
}
