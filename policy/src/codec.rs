//! Records as journal bytes: the protocol's deterministic CBOR, `[kind, {fields}]` flattened into one map. Only this phone reads them.

use crate::event::NonceMaker;
use crate::record::{Accepted, Pace, Place, Record};
use homing_protocol::Malformed;
use homing_protocol::cbor::{self, Fields, Map, as_bytes};
use homing_protocol::command::{
    LONGEST_CONTACT, LONGEST_MESSAGE, MOST_NAMED_EPISODES, MOST_NAMED_RINGS, Op,
};
use homing_protocol::id::{BeaconNonce, BootId, ClientId, CommandId, SessionId};
use homing_protocol::lost::CodeVerifier;
use homing_protocol::receipt::CommandState;

/// The bytes of a record.
#[must_use]
pub fn encode(record: &Record) -> Vec<u8> {
    let map = |kind: u64| Map::new().uint(0, kind);
    match record {
        Record::Authority { version, signed } => map(1).uint(1, *version).bytes(2, signed),
        Record::KeySet { version, signed } => map(2).uint(1, *version).bytes(2, signed),
        Record::Beacon {
            counter,
            nonce,
            maker,
            boot,
            boottime_ms,
        } => map(3)
            .uint(1, *counter)
            .bytes(2, &nonce.0)
            .bytes(3, &boot.0)
            .uint(4, *boottime_ms)
            .maybe_uint(5, (*maker == NonceMaker::Actor).then_some(1)),
        Record::Seen {
            client,
            session,
            seq,
        } => map(4)
            .bytes(1, &client.0)
            .bytes(2, &session.0)
            .uint(3, *seq),
        Record::Accepted(accepted) => encode_accepted(map(5), accepted),
        Record::Receipt {
            counter,
            command,
            state,
        } => map(6)
            .uint(1, *counter)
            .bytes(2, &command.0)
            .uint(3, *state as u64),
        Record::StopMark {
            client,
            session,
            seq,
        } => map(7)
            .bytes(1, &client.0)
            .bytes(2, &session.0)
            .uint(3, *seq),
        Record::Tombstone { client, ring } => map(21).bytes(1, &ring.0).bytes(2, &client.0),
        Record::SirenOrdered {
            ring,
            boot,
            deadline_ms,
        } => map(9)
            .bytes(1, &ring.0)
            .bytes(2, &boot.0)
            .uint(3, *deadline_ms),
        Record::Report { counter } => map(10).uint(1, *counter),
        Record::ReportsStored { through } => map(11).uint(1, *through),
        Record::Told { digest } => map(12).bytes(1, digest),
        Record::ReportsForgotten { through } => map(13).uint(1, *through),
        Record::TrackSearch { boot, boottime_ms } => {
            map(14).bytes(1, &boot.0).uint(2, *boottime_ms)
        }
        Record::TrackPlace(place) => map(15)
            .bytes(1, &place.boot.0)
            .uint(2, place.boottime_ms)
            .int(3, place.latitude_e7.into())
            .int(4, place.longitude_e7.into())
            .uint(5, place.accuracy_dm.into())
            .uint(6, u64::from(place.moving)),
        Record::LastGasp { spent } => map(16).uint(1, u64::from(*spent)),
        Record::Floor { beacon } => map(17).uint(1, *beacon),
        Record::SetBack { quoted } => map(18).uint(1, *quoted),
        Record::Resumed {
            beacon,
            receipts,
            head,
            reports,
        } => encode_resumed(map(19), [*beacon, *receipts, *reports], head.as_ref()),
        Record::RingLongest { seconds } => map(22).uint(1, u64::from(*seconds)),
        Record::SearchOrdered {
            command,
            boot,
            deadline_ms,
        } => map(23)
            .bytes(1, &command.0)
            .bytes(2, &boot.0)
            .uint(3, *deadline_ms),
        Record::Paced { client, pace } => map(24)
            .bytes(1, &client.0)
            .bytes(2, &pace.boot.0)
            .uint(3, pace.boottime_ms)
            .uint(4, pace.debt_ms)
            .uint(5, pace.told)
            .uint(6, pace.copies_ms),
        Record::Handed { command, signed } => map(26).bytes(1, &command.0).bytes(2, signed),
        Record::ClientFloor { client, beacon } => map(25).bytes(1, &client.0).uint(2, *beacon),
    }
    .encode()
}

fn encode_resumed(map: Map, [beacon, receipts, reports]: [u64; 3], head: Option<&[u8; 32]>) -> Map {
    let map = map.uint(1, beacon).uint(2, receipts).uint(4, reports);
    match head {
        Some(head) => map.bytes(3, head),
        None => map,
    }
}

fn encode_accepted(map: Map, accepted: &Accepted) -> Map {
    let map = map
        .bytes(1, &accepted.id.0)
        .bytes(2, &accepted.client.0)
        .bytes(3, &accepted.session.0)
        .uint(4, accepted.seq)
        .maybe_uint(5, accepted.not_after)
        .uint(6, accepted.at_beacon)
        .uint(7, accepted.at_unix_s);
    match &accepted.op {
        Op::Locate { search_s } => map.uint(8, 1).uint(9, u64::from(*search_s)),
        Op::Ring { for_s } => map.uint(8, 2).uint(9, u64::from(*for_s)),
        Op::RingStop { rings } => map
            .uint(8, 3)
            .list(10, rings.iter().map(|id| cbor_bytes(&id.0))),
        Op::Status => map.uint(8, 4),
        Op::ResendReports { first, last } => map.uint(8, 5).uint(9, *first).uint(11, *last),
        Op::Resume {
            beacon,
            receipts,
            head,
            reports,
        } => map
            .uint(8, 6)
            .uint(9, *beacon)
            .uint(11, *receipts)
            .bytes(12, head)
            .uint(13, *reports),
        Op::Lost {
            message,
            contact,
            code,
        } => {
            let mut map = map.uint(8, 7).text(14, message);
            if let Some(contact) = contact {
                map = map.text(15, contact);
            }
            if let Some(code) = code {
                map = map.bytes(16, &code.to_bytes());
            }
            map
        }
        Op::LostOff { episodes } => map
            .uint(8, 8)
            .list(10, episodes.iter().map(|id| cbor_bytes(&id.0))),
        Op::Unknown { code } => map.uint(8, 0).uint(9, *code),
    }
}

fn cbor_bytes(bytes: &[u8]) -> homing_protocol::cbor::Value {
    homing_protocol::cbor::Value::Bytes(bytes.to_vec())
}

/// Reads a record back.
///
/// # Errors
/// Any [`Malformed`]: the journal is damaged or of a later version.
pub fn decode(bytes: &[u8]) -> Result<Record, Malformed> {
    let value = cbor::decode(bytes)?;
    let mut fields = Fields::of(&value)?;
    let f = &mut fields;
    let record = match f.uint(0)? {
        1 => Record::Authority {
            version: f.uint(1)?,
            signed: f.blob(2)?.to_vec(),
        },
        2 => Record::KeySet {
            version: f.uint(1)?,
            signed: f.blob(2)?.to_vec(),
        },
        3 => Record::Beacon {
            counter: f.uint(1)?,
            nonce: BeaconNonce(f.bytes(2)?),
            boot: BootId(f.bytes(3)?),
            boottime_ms: f.uint(4)?,
            maker: match f.maybe_uint(5)? {
                None => NonceMaker::Agent,
                Some(1) => NonceMaker::Actor,
                Some(_) => return Err(Malformed::Field(5)),
            },
        },
        4 => Record::Seen {
            client: ClientId(f.bytes(1)?),
            session: SessionId(f.bytes(2)?),
            seq: f.uint(3)?,
        },
        5 => Record::Accepted(decode_accepted(f)?),
        6 => Record::Receipt {
            counter: f.uint(1)?,
            command: CommandId(f.bytes(2)?),
            state: CommandState::from_code(f.uint(3)?).ok_or(Malformed::Field(3))?,
        },
        7 => Record::StopMark {
            client: ClientId(f.bytes(1)?),
            session: SessionId(f.bytes(2)?),
            seq: f.uint(3)?,
        },
        // As schema 1 wrote it, without the client.
        8 => Record::Tombstone {
            client: ClientId([0; 16]),
            ring: CommandId(f.bytes(1)?),
        },
        9 => Record::SirenOrdered {
            ring: CommandId(f.bytes(1)?),
            boot: BootId(f.bytes(2)?),
            deadline_ms: f.uint(3)?,
        },
        10 => Record::Report {
            counter: f.uint(1)?,
        },
        11 => Record::ReportsStored {
            through: f.uint(1)?,
        },
        12 => Record::Told {
            digest: f.bytes(1)?,
        },
        13 => Record::ReportsForgotten {
            through: f.uint(1)?,
        },
        14 => Record::TrackSearch {
            boot: BootId(f.bytes(1)?),
            boottime_ms: f.uint(2)?,
        },
        15 => Record::TrackPlace(Place {
            boot: BootId(f.bytes(1)?),
            boottime_ms: f.uint(2)?,
            latitude_e7: f.int(3)?,
            longitude_e7: f.int(4)?,
            accuracy_dm: f.narrow(5)?,
            moving: decode_flag(f, 6)?,
        }),
        16 => Record::LastGasp {
            spent: decode_flag(f, 1)?,
        },
        17 => Record::Floor { beacon: f.uint(1)? },
        kind => decode_further(kind, f)?,
    };
    fields.end()?;
    Ok(record)
}

/// The kinds that came later.
fn decode_further(kind: u64, f: &mut Fields<'_>) -> Result<Record, Malformed> {
    Ok(match kind {
        18 => Record::SetBack { quoted: f.uint(1)? },
        19 => Record::Resumed {
            beacon: f.uint(1)?,
            receipts: f.uint(2)?,
            head: f
                .maybe(3)
                .map(|head| as_bytes(head).ok_or(Malformed::Field(3)))
                .transpose()?,
            reports: f.uint(4)?,
        },
        21 => Record::Tombstone {
            ring: CommandId(f.bytes(1)?),
            client: ClientId(f.bytes(2)?),
        },
        22 => Record::RingLongest {
            seconds: f.narrow(1)?,
        },
        23 => Record::SearchOrdered {
            command: CommandId(f.bytes(1)?),
            boot: BootId(f.bytes(2)?),
            deadline_ms: f.uint(3)?,
        },
        24 => Record::Paced {
            client: ClientId(f.bytes(1)?),
            pace: Pace {
                boot: BootId(f.bytes(2)?),
                boottime_ms: f.uint(3)?,
                debt_ms: f.uint(4)?,
                told: f.uint(5)?,
                // Schema 2 did not count copies.
                copies_ms: f.maybe_uint(6)?.unwrap_or(0),
            },
        },
        25 => Record::ClientFloor {
            client: ClientId(f.bytes(1)?),
            beacon: f.uint(2)?,
        },
        26 => Record::Handed {
            command: CommandId(f.bytes(1)?),
            signed: f.blob(2)?.to_vec(),
        },
        _ => return Err(Malformed::Field(0)),
    })
}

/// A flag is 0 or 1; anything else is damage.
fn decode_flag(f: &mut Fields<'_>, key: i64) -> Result<bool, Malformed> {
    match f.uint(key)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed::Field(key)),
    }
}

fn decode_accepted(f: &mut Fields<'_>) -> Result<Accepted, Malformed> {
    Ok(Accepted {
        id: CommandId(f.bytes(1)?),
        client: ClientId(f.bytes(2)?),
        session: SessionId(f.bytes(3)?),
        seq: f.uint(4)?,
        not_after: f.maybe_uint(5)?,
        at_beacon: f.uint(6)?,
        at_unix_s: f.uint(7)?,
        op: match f.uint(8)? {
            0 => Op::Unknown { code: f.uint(9)? },
            1 => Op::Locate {
                search_s: f.narrow(9)?,
            },
            2 => Op::Ring {
                for_s: f.narrow(9)?,
            },
            3 => Op::RingStop {
                rings: decode_named(f, MOST_NAMED_RINGS)?,
            },
            4 => Op::Status,
            5 => Op::ResendReports {
                first: f.uint(9)?,
                last: f.uint(11)?,
            },
            6 => Op::Resume {
                beacon: f.uint(9)?,
                receipts: f.uint(11)?,
                head: f.bytes(12)?,
                reports: f.uint(13)?,
            },
            7 => Op::Lost {
                message: f.text(14, LONGEST_MESSAGE)?.to_owned(),
                contact: decode_contact(f)?,
                code: f
                    .maybe(16)
                    .map(|code| as_bytes(code).map(CodeVerifier::from_bytes))
                    .map(|code| code.ok_or(Malformed::Field(16)))
                    .transpose()?,
            },
            8 => Op::LostOff {
                episodes: decode_named(f, MOST_NAMED_EPISODES)?,
            },
            _ => return Err(Malformed::Field(8)),
        },
    })
}

fn decode_named(f: &mut Fields<'_>, most: usize) -> Result<Vec<CommandId>, Malformed> {
    f.list(10, most)?
        .iter()
        .map(|id| as_bytes(id).map(CommandId).ok_or(Malformed::Field(10)))
        .collect()
}

fn decode_contact(f: &mut Fields<'_>) -> Result<Option<String>, Malformed> {
    match f.maybe(15) {
        None => Ok(None),
        Some(cbor::Value::Text(text)) if text.len() <= LONGEST_CONTACT => Ok(Some(text.clone())),
        Some(_) => Err(Malformed::Field(15)),
    }
}
