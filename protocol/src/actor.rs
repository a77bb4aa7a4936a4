//! What the processes of one phone say to its privileged half, over a Unix socket: one deterministic CBOR map a packet. It crosses no network, and is trusted as little.

use crate::cbor::{self, Fields, Map};
use crate::id::{BeaconNonce, CommandId};
use crate::keys::VerifyingKey;
use crate::lost::{Attestation, CODE_DIGITS};
use crate::{Malformed, Refusal};
use zeroize::Zeroizing;

/// Longest packet, bytes: the largest authority list and the largest command, each as long as an envelope's content.
pub const LONGEST_PACKET: usize = 2 * crate::envelope::LONGEST_CONTENT + 64;

/// Longest sentence in an answer, bytes.
pub const LONGEST_SENTENCE: usize = 400;

/// What is asked of the privileged half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A challenge, to be the next beacon's nonce.
    Challenge,
    /// Carry out a command. It is checked again from its signature on.
    Order {
        /// The newest ROOT-signed authority list that the agent knows.
        authority: Vec<u8>,
        /// The command as its client signed it.
        command: Vec<u8>,
    },
    /// Somebody has typed these digits at the phone.
    Code {
        /// As they were typed.
        digits: Zeroizing<String>,
    },
    /// Where the privileged half stands.
    Standing,
}

/// What came of typed digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeAnswer {
    /// It is the code: the episode has ended.
    Right,
    /// It is not; so many seconds nobody may try again.
    Wrong {
        /// Seconds.
        wait_s: u32,
    },
    /// It was not looked at: so many seconds nobody may try.
    Wait {
        /// Seconds.
        wait_s: u32,
    },
    /// No episode is open, or none that has a code.
    NoEpisode,
}

/// What the privileged half answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A challenge.
    Challenge(BeaconNonce),
    /// The command was carried out before now or just now; the answer to the same command is the same.
    Outcome {
        /// What was done, provably.
        attestation: Attestation,
        /// What is still open of a phone that is locked in part; a sentence for the owner.
        text: Option<String>,
    },
    /// The command will not be carried out.
    Refused(Refusal),
    /// See [`CodeAnswer`].
    Code(CodeAnswer),
    /// It could not be carried out now; the order stands and may be given again. A sentence for the owner.
    Failed(String),
    /// Where it stands.
    Standing {
        /// The open episode, if there is one.
        open: Option<CommandId>,
        /// Its own key, ACT_SIG, which tells of which enrolment it is; `None` when it serves nobody, and no order can be checked.
        actor: Option<VerifyingKey>,
    },
}

impl Request {
    /// The packet.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Challenge => Map::new().uint(0, 1),
            Self::Order { authority, command } => {
                Map::new().uint(0, 2).bytes(1, authority).bytes(2, command)
            }
            Self::Code { digits } => Map::new().uint(0, 3).text(1, digits),
            Self::Standing => Map::new().uint(0, 4),
        }
        .encode()
    }
    /// Reads one.
    ///
    /// # Errors
    /// Any [`Malformed`] but those of seals and signatures.
    pub fn decode(packet: &[u8]) -> Result<Self, Malformed> {
        if packet.len() > LONGEST_PACKET {
            return Err(Malformed::Length);
        }
        let value = cbor::decode(packet)?;
        let mut fields = Fields::of(&value)?;
        let request = match fields.uint(0)? {
            1 => Self::Challenge,
            2 => Self::Order {
                authority: fields.blob(1)?.to_vec(),
                command: fields.blob(2)?.to_vec(),
            },
            3 => Self::Code {
                // Digits in any script and some spaces; whoever types more has typed no code.
                digits: Zeroizing::new(fields.text(1, 8 * CODE_DIGITS)?.to_owned()),
            },
            4 => Self::Standing,
            _ => return Err(Malformed::Field(0)),
        };
        fields.end()?;
        Ok(request)
    }
}

impl Answer {
    /// The packet. A sentence that is too long is cut.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Challenge(nonce) => Map::new().uint(0, 1).bytes(1, &nonce.0),
            Self::Outcome { attestation, text } => {
                let map = Map::new().uint(0, 2).bytes(1, &attestation.to_bytes());
                match text {
                    Some(text) => map.text(2, cut(text)),
                    None => map,
                }
            }
            Self::Refused(refusal) => Map::new().uint(0, 3).uint(1, refusal.code()),
            Self::Code(answer) => {
                let (code, wait_s) = match answer {
                    CodeAnswer::Right => (1, None),
                    CodeAnswer::Wrong { wait_s } => (2, Some(*wait_s)),
                    CodeAnswer::Wait { wait_s } => (3, Some(*wait_s)),
                    CodeAnswer::NoEpisode => (4, None),
                };
                Map::new()
                    .uint(0, 4)
                    .uint(1, code)
                    .maybe_uint(2, wait_s.map(u64::from))
            }
            Self::Failed(why) => Map::new().uint(0, 5).text(1, cut(why)),
            Self::Standing { open, actor } => {
                let mut map = Map::new().uint(0, 6);
                if let Some(actor) = actor {
                    map = map.bytes(1, &actor.0);
                }
                if let Some(open) = open {
                    map = map.bytes(2, &open.0);
                }
                map
            }
        }
        .encode()
    }
    /// Reads one.
    ///
    /// # Errors
    /// Any [`Malformed`] but those of seals; nobody has checked the attestation's signature.
    pub fn decode(packet: &[u8]) -> Result<Self, Malformed> {
        let value = cbor::decode(packet)?;
        let mut fields = Fields::of(&value)?;
        let answer = match fields.uint(0)? {
            1 => Self::Challenge(BeaconNonce(fields.bytes(1)?)),
            2 => Self::Outcome {
                attestation: Attestation::from_bytes(fields.blob(1)?)?,
                text: match fields.maybe(2) {
                    None => None,
                    Some(cbor::Value::Text(text)) => Some(cut(text).to_owned()),
                    Some(_) => return Err(Malformed::Field(2)),
                },
            },
            3 => Self::Refused(Refusal::from_code(fields.uint(1)?).ok_or(Malformed::Field(1))?),
            4 => Self::Code(read_code_answer(&mut fields)?),
            5 => Self::Failed(fields.text(1, LONGEST_SENTENCE)?.to_owned()),
            6 => Self::Standing {
                actor: fields
                    .maybe(1)
                    .map(|key| cbor::as_bytes(key).map(VerifyingKey))
                    .map(|key| key.ok_or(Malformed::Field(1)))
                    .transpose()?,
                open: fields
                    .maybe(2)
                    .map(|id| cbor::as_bytes(id).map(CommandId).ok_or(Malformed::Field(2)))
                    .transpose()?,
            },
            _ => return Err(Malformed::Field(0)),
        };
        fields.end()?;
        Ok(answer)
    }
}

fn read_code_answer(fields: &mut Fields<'_>) -> Result<CodeAnswer, Malformed> {
    Ok(match fields.uint(1)? {
        1 => CodeAnswer::Right,
        2 => CodeAnswer::Wrong {
            wait_s: fields.narrow(2)?,
        },
        3 => CodeAnswer::Wait {
            wait_s: fields.narrow(2)?,
        },
        4 => CodeAnswer::NoEpisode,
        _ => return Err(Malformed::Field(1)),
    })
}

/// At most [`LONGEST_SENTENCE`] bytes, cut between two characters.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_SENTENCE)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Address;
    use crate::id::{AccountId, DeviceId};
    use crate::keys::SigningKey;
    use crate::lost::Outcome;

    fn requests() -> Vec<Request> {
        vec![
            Request::Challenge,
            Request::Order {
                authority: vec![1; crate::envelope::LONGEST_CONTENT],
                command: vec![2; crate::envelope::LONGEST_CONTENT],
            },
            Request::Code {
                digits: Zeroizing::new("1234 5678".into()),
            },
            Request::Standing,
        ]
    }

    fn answers() -> Vec<Answer> {
        let address = Address {
            account: AccountId([1; 16]),
            device: DeviceId([2; 16]),
        };
        let outcome = |text| Answer::Outcome {
            attestation: Attestation::sign(
                &SigningKey::from_bytes(&[1; 32]),
                (&address, 1),
                CommandId([3; 16]),
                Outcome::LockedInPart,
                7,
            ),
            text,
        };
        vec![
            Answer::Challenge(BeaconNonce([9; 16])),
            outcome(None),
            outcome(Some("ssh answers".into())),
            Answer::Refused(Refusal::UnknownBeacon),
            Answer::Code(CodeAnswer::Right),
            Answer::Code(CodeAnswer::Wrong { wait_s: 0 }),
            Answer::Code(CodeAnswer::Wait { wait_s: 3600 }),
            Answer::Code(CodeAnswer::NoEpisode),
            Answer::Failed("the disk is full".into()),
            Answer::Standing {
                open: None,
                actor: None,
            },
            Answer::Standing {
                open: Some(CommandId([3; 16])),
                actor: Some(VerifyingKey([9; 32])),
            },
        ]
    }

    #[test]
    fn every_request_and_answer_is_read_back_as_it_was_written() {
        for request in requests() {
            let packet = request.encode();
            assert!(packet.len() <= LONGEST_PACKET);
            assert_eq!(Request::decode(&packet), Ok(request));
        }
        for answer in answers() {
            assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
        }
    }

    #[test]
    fn what_is_cut_short_or_longer_than_allowed_is_no_request() {
        for packet in requests().iter().map(Request::encode) {
            for end in [0, 1, packet.len() / 2, packet.len() - 1] {
                assert!(Request::decode(&packet[..end]).is_err());
            }
            let longer = [packet.as_slice(), &[0]].concat();
            assert!(Request::decode(&longer).is_err());
        }
        let endless = Request::Order {
            authority: vec![0; LONGEST_PACKET],
            command: Vec::new(),
        };
        assert_eq!(Request::decode(&endless.encode()), Err(Malformed::Length));
        let typed = Request::Code {
            digits: Zeroizing::new("1".repeat(65)),
        };
        assert!(Request::decode(&typed.encode()).is_err());
    }

    #[test]
    fn a_sentence_that_is_too_long_is_cut_between_characters() {
        let long = Answer::Failed("ß".repeat(LONGEST_SENTENCE));
        let read = Answer::decode(&long.encode()).expect("read");
        assert_eq!(read, Answer::Failed("ß".repeat(LONGEST_SENTENCE / 2)));
    }
}
