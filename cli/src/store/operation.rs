//! The stored form of what is ordered, as rows of the outbox hold it. It must read whatever an older version wrote.
use homing_protocol::command::Op;
use homing_protocol::id::CommandId;
use homing_protocol::lost::CodeVerifier;

/// The stored form of an operation: its word and its numbers, as in `ring 300`.
pub(super) fn op_text(op: &Op) -> String {
    match op {
        Op::Locate { search_s } => format!("locate {search_s}"),
        Op::Ring { for_s } => format!("ring {for_s}"),
        Op::RingStop { rings } => format!("ring-stop {}", ids_text(rings)),
        Op::Status => "status".to_owned(),
        Op::ResendReports { first, last } => format!("resend-reports {first}-{last}"),
        Op::Resume {
            beacon,
            receipts,
            head,
            reports,
        } => {
            let head = hexadecimal(head);
            format!("resume {beacon},{receipts},{head},{reports}")
        }
        // No text that a phone shows holds a tab.
        Op::Lost {
            message,
            contact,
            code,
        } => {
            let code = code.map_or_else(String::new, |code| hexadecimal(&code.to_bytes()));
            let contact = contact.as_deref().unwrap_or_default();
            format!("lost {code}\t{contact}\t{message}")
        }
        Op::LostOff { episodes } => format!("lost-off {}", ids_text(episodes)),
        Op::Unknown { code } => format!("unknown {code}"),
    }
}

fn ids_text(ids: &[CommandId]) -> String {
    let ids: Vec<_> = ids.iter().map(CommandId::to_string).collect();
    ids.join(",")
}

fn ids_from_text(text: &str) -> Option<Vec<CommandId>> {
    let ids = text.split(',').filter(|id| !id.is_empty());
    ids.map(str::parse).collect::<Result<_, _>>().ok()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hexadecimal(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// The operation of a stored form; `None` for what no version of this program wrote.
pub(super) fn op_from_text(text: &str) -> Option<Op> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    Some(match word {
        "locate" => Op::Locate {
            search_s: rest.parse().ok()?,
        },
        "ring" => Op::Ring {
            for_s: rest.parse().ok()?,
        },
        "ring-stop" => Op::RingStop {
            rings: ids_from_text(rest)?,
        },
        "lost" => lost_from_text(rest)?,
        "lost-off" => Op::LostOff {
            episodes: ids_from_text(rest)?,
        },
        "status" => Op::Status,
        "resend-reports" => {
            let (first, last) = rest.split_once('-')?;
            Op::ResendReports {
                first: first.parse().ok()?,
                last: last.parse().ok()?,
            }
        }
        "resume" => resume_from_text(rest)?,
        "unknown" => Op::Unknown {
            code: rest.parse().ok()?,
        },
        _ => return None,
    })
}

fn resume_from_text(text: &str) -> Option<Op> {
    let mut parts = text.split(',');
    let mut part = || parts.next();
    let (beacon, receipts) = (part()?.parse().ok()?, part()?.parse().ok()?);
    let (digits, reports) = (part()?, part()?.parse().ok()?);
    Some(Op::Resume {
        beacon,
        receipts,
        head: from_hexadecimal(digits)?,
        reports,
    })
}

fn lost_from_text(text: &str) -> Option<Op> {
    let (code, shown) = text.split_once('\t')?;
    let (contact, message) = shown.split_once('\t')?;
    let code = match code {
        "" => None,
        digits => Some(CodeVerifier::from_bytes(from_hexadecimal(digits)?)),
    };
    Some(Op::Lost {
        message: message.to_owned(),
        contact: (!contact.is_empty()).then(|| contact.to_owned()),
        code,
    })
}
