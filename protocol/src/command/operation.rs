//! What an order may say: the operations with their parameters, rights and classes. Whether one is fresh is judged elsewhere.

use crate::Malformed;
use crate::authority::Capability;
use crate::cbor::{Fields, Map, as_bytes};
use crate::id::CommandId;
use crate::lost::CodeVerifier;
use ciborium::Value;

/// Most rings that one stop may name; as many as fit the smallest bucket whatever the other fields hold, so that a stop looks like a ring.
pub const MOST_NAMED_RINGS: usize = 15;

/// Most episodes that one order to end lost mode may name, for the same reason.
pub const MOST_NAMED_EPISODES: usize = MOST_NAMED_RINGS;

/// Longest message that a lost phone shows, bytes of UTF-8: the order must not be longer on the wire than a ring.
pub const LONGEST_MESSAGE: usize = 160;

/// Longest way to reach the owner that a lost phone shows, bytes of UTF-8: an international telephone number (15 digits, ITU-T E.164) with separators.
pub const LONGEST_CONTACT: usize = 24;

/// Most positions that one order may ask for again: 32 full reports, so that no order keeps a phone busy for long.
pub const MOST_RESENT: u64 = 1024;

/// Highest number to which a resume may raise a counter: no phone gets there by counting, and there is as much room again behind it.
pub const FURTHEST: u64 = 1 << 53;

/// What makes an operation fresh, and what becomes of it while the phone's state is set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Repeating it hurts nobody: fresh when its number is.
    Harmless,
    /// Repeating it annoys: fresh when its number is; once the phone knows that its state was set back, only when it quotes a beacon made since.
    Nuisance,
    /// Quotes a beacon that the phone made within [`LIVE_MS`] in the same start; waits while the state is set back.
    Sensitive,
    /// As sensitive, or bound to an open lost episode.
    Destructive,
}

/// For how long a beacon answers as a challenge for what is sensitive, milliseconds since it was made.
pub const LIVE_MS: u64 = 15 * 60_000;

/// What is ordered, with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Say where you are.
    Locate {
        /// How long to search at most, seconds, 1..=600.
        search_s: u16,
    },
    /// Sound the siren.
    Ring {
        /// How long it sounds at most, seconds, 1..=3600.
        for_s: u16,
    },
    /// End the named rings, whether or not they arrived, and whatever sounds now.
    RingStop {
        /// The commands that started them.
        rings: Vec<CommandId>,
    },
    /// Send a beacon with your state.
    Status,
    /// Publish positions again that a reader has not got.
    ResendReports {
        /// Number of the first one, from 1.
        first: u64,
        /// Number of the last one; at most [`MOST_RESENT`] in all.
        last: u64,
    },
    /// Count on from what the owner knows: the phone's state was set back to an older one.
    Resume {
        /// The next beacon has a higher number than this.
        beacon: u64,
        /// The next receipt has a higher number than this …
        receipts: u64,
        /// … and follows this head of the chain.
        head: [u8; 32],
        /// The next report has a higher number than this.
        reports: u64,
    },
    /// Lost mode: lock yourself and show this, until you are told otherwise. The command's id names the episode.
    Lost {
        /// What whoever finds the phone reads, 1..=[`LONGEST_MESSAGE`] bytes without control characters.
        message: String,
        /// How to reach the owner, at most [`LONGEST_CONTACT`] bytes.
        contact: Option<String>,
        /// What proves the episode's unlock code when it is typed in.
        code: Option<CodeVerifier>,
    },
    /// End the named episodes of lost mode, whether or not they arrived, and the one that is open.
    LostOff {
        /// The commands that started them.
        episodes: Vec<CommandId>,
    },
    /// An operation of a later version, or one of this version whose parameters are out of range or of a later version.
    Unknown {
        /// Its code.
        code: u64,
    },
}

impl Op {
    /// The codes of this version.
    pub const KNOWN_CODES: core::ops::RangeInclusive<u64> = 1..=8;
    /// The stable word.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Locate { .. } => "locate",
            Self::Ring { .. } => "ring",
            Self::RingStop { .. } => "ring-stop",
            Self::Status => "status",
            Self::ResendReports { .. } => "resend-reports",
            Self::Resume { .. } => "resume",
            Self::Lost { .. } => "lost",
            Self::LostOff { .. } => "lost-off",
            Self::Unknown { .. } => "unknown",
        }
    }
    /// The right it needs; an unknown operation needs none because it is never done.
    #[must_use]
    pub const fn capability(&self) -> Option<Capability> {
        match self {
            Self::Locate { .. } | Self::Status => Some(Capability::Locate),
            Self::Ring { .. } | Self::RingStop { .. } => Some(Capability::Ring),
            Self::ResendReports { .. } => Some(Capability::ReadLocation),
            Self::Resume { .. } => Some(Capability::Settings),
            Self::Lost { code: None, .. } => Some(Capability::Lost),
            // Whoever chooses the code can open the phone with it.
            Self::Lost { code: Some(_), .. } => Some(Capability::Unlock),
            Self::LostOff { .. } => Some(Capability::Unlock),
            Self::Unknown { .. } => None,
        }
    }
    /// What makes it fresh, and whether it waits while the phone's state is set back; an unknown operation has none because it is never done.
    #[must_use]
    pub const fn class(&self) -> Option<Class> {
        match self {
            Self::Locate { .. } | Self::Status | Self::ResendReports { .. } => {
                Some(Class::Harmless)
            }
            Self::Ring { .. } | Self::RingStop { .. } | Self::Lost { .. } => Some(Class::Nuisance),
            Self::Resume { .. } | Self::LostOff { .. } => Some(Class::Sensitive),
            Self::Unknown { .. } => None,
        }
    }
    pub(super) fn code(&self) -> u64 {
        match self {
            Self::Locate { .. } => 1,
            Self::Ring { .. } => 2,
            Self::RingStop { .. } => 3,
            Self::Status => 4,
            Self::ResendReports { .. } => 5,
            Self::Resume { .. } => 6,
            Self::Lost { .. } => 7,
            Self::LostOff { .. } => 8,
            Self::Unknown { code } => *code,
        }
    }
    pub(super) fn params(&self) -> Value {
        match self {
            Self::Locate { search_s } => Map::new().uint(0, u64::from(*search_s)).value(),
            Self::Ring { for_s } => Map::new().uint(0, u64::from(*for_s)).value(),
            Self::RingStop { rings } => Map::new()
                .list(0, rings.iter().map(|id| Value::Bytes(id.0.to_vec())))
                .value(),
            Self::ResendReports { first, last } => {
                Map::new().uint(0, *first).uint(1, *last).value()
            }
            Self::Resume {
                beacon,
                receipts,
                head,
                reports,
            } => Map::new()
                .uint(0, *beacon)
                .uint(1, *receipts)
                .bytes(2, head)
                .uint(3, *reports)
                .value(),
            Self::Lost {
                message,
                contact,
                code,
            } => {
                let mut map = Map::new().text(0, message);
                if let Some(contact) = contact {
                    map = map.text(1, contact);
                }
                if let Some(code) = code {
                    map = map.bytes(2, &code.to_bytes());
                }
                map.value()
            }
            Self::LostOff { episodes } => Map::new()
                .list(0, episodes.iter().map(|id| Value::Bytes(id.0.to_vec())))
                .value(),
            Self::Status | Self::Unknown { .. } => Map::new().value(),
        }
    }
    /// What was ordered. Parameters that this version cannot read do not make the message malformed: its sender is to be told.
    pub(super) fn read(code: u64, params: &Value) -> Self {
        Self::read_known(code, params).unwrap_or(Self::Unknown { code })
    }
    pub(super) fn read_known(code: u64, params: &Value) -> Result<Self, Malformed> {
        let mut fields = Fields::of(params)?;
        let op = match code {
            1 => Self::Locate {
                search_s: within(fields.narrow(0)?, 1, 600)?,
            },
            2 => Self::Ring {
                for_s: within(fields.narrow(0)?, 1, 3600)?,
            },
            3 => Self::RingStop {
                rings: named(&mut fields, MOST_NAMED_RINGS)?,
            },
            4 => Self::Status,
            5 => {
                let (first, last) = (fields.uint(0)?, fields.uint(1)?);
                if first == 0 {
                    return Err(Malformed::Field(0));
                }
                if last < first || last - first >= MOST_RESENT {
                    return Err(Malformed::Field(1));
                }
                Self::ResendReports { first, last }
            }
            6 => Self::Resume {
                beacon: counted(&mut fields, 0)?,
                receipts: counted(&mut fields, 1)?,
                head: fields.bytes(2)?,
                reports: counted(&mut fields, 3)?,
            },
            7 => Self::Lost {
                message: shown(fields.must(0)?, 0, LONGEST_MESSAGE)?,
                contact: fields
                    .maybe(1)
                    .map(|text| shown(text, 1, LONGEST_CONTACT))
                    .transpose()?,
                code: fields
                    .maybe(2)
                    .map(|bytes| as_bytes(bytes).map(CodeVerifier::from_bytes))
                    .map(|code| code.ok_or(Malformed::Field(2)))
                    .transpose()?,
            },
            8 => Self::LostOff {
                episodes: named(&mut fields, MOST_NAMED_EPISODES)?,
            },
            // Its parameters are of a later version; they stay unread.
            code => return Ok(Self::Unknown { code }),
        };
        fields.end()?;
        Ok(op)
    }
}

/// The commands that an order names.
fn named(fields: &mut Fields<'_>, most: usize) -> Result<Vec<CommandId>, Malformed> {
    fields
        .list(0, most)?
        .iter()
        .map(|id| as_bytes(id).map(CommandId).ok_or(Malformed::Field(0)))
        .collect()
}

/// A text for whoever holds the phone: one line, not empty. Control characters could hide what stands beside them.
fn shown(value: &Value, key: i64, longest: usize) -> Result<String, Malformed> {
    match value {
        Value::Text(text)
            if (1..=longest).contains(&text.len()) && !text.chars().any(char::is_control) =>
        {
            Ok(text.clone())
        }
        _ => Err(Malformed::Field(key)),
    }
}

/// A number from which a phone goes on to count; it must not come near the end of all numbers.
fn counted(fields: &mut Fields<'_>, key: i64) -> Result<u64, Malformed> {
    let number = fields.uint(key)?;
    if number <= FURTHEST {
        Ok(number)
    } else {
        Err(Malformed::Field(key))
    }
}

fn within(number: u16, least: u16, most: u16) -> Result<u16, Malformed> {
    if (least..=most).contains(&number) {
        Ok(number)
    } else {
        Err(Malformed::Field(0))
    }
}
