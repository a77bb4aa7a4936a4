//! The privileged half's memory as bytes: the protocol's deterministic CBOR. Only the phone that wrote them reads them.

use super::{ActorState, Episode, MOST_DEAD, MOST_SETTLED, MOST_SPACES, Settled};
use crate::tries::Tries;
use homing_protocol::Malformed;
use homing_protocol::cbor::{self, Fields, Map, Value, as_bytes};
use homing_protocol::command::{LONGEST_CONTACT, LONGEST_MESSAGE};
use homing_protocol::id::{BootId, ClientId, CommandId, SessionId};
use homing_protocol::lost::{CodeVerifier, Outcome};

const MAGIC: &str = "homing actor 1";

impl ActorState {
    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let settled = self.settled.iter().map(|settled| {
            Map::new()
                .bytes(0, &settled.command.0)
                .uint(1, settled.outcome as u64)
                .uint(2, settled.counter)
                .value()
        });
        let dead = self.dead.iter().map(|id| Value::Bytes(id.0.to_vec()));
        let highest = self.highest.iter().map(|(client, session, seq)| {
            Map::new()
                .bytes(0, &client.0)
                .bytes(1, &session.0)
                .uint(2, *seq)
                .value()
        });
        let map = Map::new()
            .text(0, MAGIC)
            .uint(1, self.authority.0)
            .bytes(2, &self.authority.1)
            .uint(3, self.counter)
            .uint(5, u64::from(self.gives_back))
            .list(6, settled)
            .list(7, dead)
            .list(8, highest);
        match &self.open {
            Some(open) => map.with(4, encode_episode(open)),
            None => map,
        }
        .encode()
    }
    /// Reads them back.
    ///
    /// # Errors
    /// Any [`Malformed`]: the file is damaged or of a later version.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let value = cbor::decode(bytes)?;
        let mut fields = Fields::of(&value)?;
        if fields.text(0, 32)? != MAGIC {
            return Err(Malformed::Format);
        }
        let state = Self {
            authority: (fields.uint(1)?, fields.blob(2)?.to_vec()),
            counter: fields.uint(3)?,
            open: fields.maybe(4).map(decode_episode).transpose()?,
            gives_back: match fields.uint(5)? {
                0 => false,
                1 => true,
                _ => return Err(Malformed::Field(5)),
            },
            settled: fields
                .list(6, MOST_SETTLED)?
                .iter()
                .map(decode_settled)
                .collect::<Result<_, _>>()?,
            dead: fields
                .list(7, MOST_DEAD)?
                .iter()
                .map(|id| as_bytes(id).map(CommandId).ok_or(Malformed::Field(7)))
                .collect::<Result<_, _>>()?,
            highest: fields
                .list(8, MOST_SPACES)?
                .iter()
                .map(decode_space)
                .collect::<Result<_, _>>()?,
        };
        fields.end()?;
        Ok(state)
    }
}

fn encode_episode(open: &Episode) -> Value {
    let mut map = Map::new()
        .bytes(0, &open.command.0)
        .text(1, &open.message)
        .uint(4, open.since_unix_s)
        .uint(5, open.tries.wrong.into());
    if let Some(contact) = &open.contact {
        map = map.text(2, contact);
    }
    if let Some(code) = &open.code {
        map = map.bytes(3, &code.to_bytes());
    }
    if let Some((boot, at_ms)) = open.tries.last {
        map = map.bytes(6, &boot.0).uint(7, at_ms);
    }
    if let Some((outcome, counter)) = open.standing {
        map = map.uint(8, outcome as u64).uint(9, counter);
    }
    if let Some((boot, at_ms)) = open.began {
        map = map.bytes(10, &boot.0).uint(11, at_ms);
    }
    if let Some((beacon, issued_at)) = open.place {
        map = map.uint(12, beacon).uint(13, issued_at);
    }
    map.value()
}

fn decode_episode(value: &Value) -> Result<Episode, Malformed> {
    let mut fields = Fields::of(value)?;
    let episode = Episode {
        command: CommandId(fields.bytes(0)?),
        message: fields.text(1, LONGEST_MESSAGE)?.to_owned(),
        contact: match fields.maybe(2) {
            None => None,
            Some(Value::Text(text)) if text.len() <= LONGEST_CONTACT => Some(text.clone()),
            Some(_) => return Err(Malformed::Field(2)),
        },
        code: fields
            .maybe(3)
            .map(|code| as_bytes(code).map(CodeVerifier::from_bytes))
            .map(|code| code.ok_or(Malformed::Field(3)))
            .transpose()?,
        since_unix_s: fields.uint(4)?,
        tries: Tries {
            wrong: fields.narrow(5)?,
            last: decode_moment(&mut fields, 6)?,
        },
        standing: match fields.maybe_narrow(8)? {
            None => None,
            Some(outcome) => Some((
                Outcome::from_code(outcome).ok_or(Malformed::Field(8))?,
                fields.uint(9)?,
            )),
        },
        began: decode_moment(&mut fields, 10)?,
        place: match fields.maybe_uint(12)? {
            None => None,
            Some(beacon) => Some((beacon, fields.uint(13)?)),
        },
    };
    fields.end()?;
    Ok(episode)
}

/// A start of the phone and milliseconds since it, in two fields or in none.
fn decode_moment(fields: &mut Fields<'_>, first: i64) -> Result<Option<(BootId, u64)>, Malformed> {
    let Some(boot) = fields.maybe(first) else {
        return Ok(None);
    };
    let boot = as_bytes(boot).map(BootId).ok_or(Malformed::Field(first))?;
    Ok(Some((boot, fields.uint(first + 1)?)))
}

fn decode_settled(value: &Value) -> Result<Settled, Malformed> {
    let mut fields = Fields::of(value)?;
    let settled = Settled {
        command: CommandId(fields.bytes(0)?),
        outcome: Outcome::from_code(fields.narrow(1)?).ok_or(Malformed::Field(1))?,
        counter: fields.uint(2)?,
    };
    fields.end()?;
    Ok(settled)
}

fn decode_space(value: &Value) -> Result<(ClientId, SessionId, u64), Malformed> {
    let mut fields = Fields::of(value)?;
    let space = (
        ClientId(fields.bytes(0)?),
        SessionId(fields.bytes(1)?),
        fields.uint(2)?,
    );
    fields.end()?;
    Ok(space)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_episode_of_before_there_were_places_is_read_with_its_code() {
        let code = CodeVerifier::from_bytes([7; 32]);
        let old = Map::new()
            .bytes(0, &[1; 16])
            .text(1, "Please call")
            .bytes(3, &code.to_bytes())
            .uint(4, 1_790_000_000)
            .uint(5, 0)
            .value();
        let episode = decode_episode(&old).unwrap();
        assert_eq!((episode.code, episode.began), (Some(code), None));
        assert_eq!(episode.place, None);
        assert_eq!(encode_episode(&episode), old, "in its own form");
    }
}
