//! The privileged half's own judge: which signed orders lock the phone and give it back, by its own memory alone. It trusts nothing that the agent says, and reads no clock.

mod codec;

use crate::tries::Tries;
use homing_protocol::Refusal;
use homing_protocol::command::{Command, Op, Verified};
use homing_protocol::id::{BootId, ClientId, CommandId, SessionId};
use homing_protocol::lost::{CodeVerifier, Outcome};
use std::collections::VecDeque;
use std::time::Duration;

/// Commands whose outcomes are remembered: hundreds of episodes of the most forgetful owner.
pub const MOST_SETTLED: usize = 1024;
/// Episodes that may not begin any more, kept; an end names 15 at most.
pub const MOST_DEAD: usize = 1024;
/// Sequence spaces whose highest number is kept, the newest first; as many as the agent keeps.
pub const MOST_SPACES: usize = 64;

/// One episode of lost mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Episode {
    /// The command that began it.
    pub command: CommandId,
    /// What a finder reads.
    pub message: String,
    /// How to reach the owner.
    pub contact: Option<String>,
    /// What proves its unlock code; without one it has none.
    pub code: Option<CodeVerifier>,
    /// The phone's clock when it began, seconds since 1970 UTC; for the screen alone.
    pub since_unix_s: u64,
    /// The same by the clock that nobody sets; `None` where the memory of it was lost.
    pub began: Option<(BootId, u64)>,
    /// Where its order stands among others; `None` where the memory of it was lost, or is of before there were places.
    pub place: Option<Place>,
    /// Wrong tries of its code.
    pub tries: Tries,
    /// How far the phone is locked, and the number of the attestation that says so; `None` before it was first locked.
    pub standing: Option<(Outcome, u64)>,
}

/// When an order was given, as its signer says: after which beacon of the phone's, then by the signer's clock, seconds since 1970. An
/// older one does not take a newer one's place; a wrong clock can keep a phone locked with older words, and never opens it.
pub type Place = (u64, u64);

fn place(command: &Command) -> Place {
    let beacon = command.beacon.map_or(0, |beacon| beacon.counter);
    (beacon, command.issued_at)
}

/// How a command came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Which.
    pub command: CommandId,
    /// How.
    pub outcome: Outcome,
    /// Number of the attestation that says so.
    pub counter: u64,
}

/// What the phone must be brought to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// It is its user's, and nothing is to be done.
    None,
    /// It is to be locked, and kept so.
    Lock,
    /// It is to be given back, which has not succeeded yet.
    GiveBack,
}

/// What is to be done about a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is settled: the answer is the same again.
    Settled(Settled),
    /// It is the open episode: the phone is to be locked, whether or not it is already.
    Stands,
    /// It is new: this state first, on the disk, then what its [`ActorState::duty`] says.
    New(Box<ActorState>),
}

/// Whether a command answers a challenge of ours that is still live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenged {
    /// It does.
    Live {
        /// When that challenge was made, milliseconds since the start of the phone.
        made_ms: u64,
    },
    /// It quotes none, or an old one, or somebody else's.
    No,
}

/// A moment, by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The start of the phone.
    pub boot: BootId,
    /// Milliseconds since it, sleep included.
    pub boottime_ms: u64,
    /// Seconds since 1970 UTC, by a clock that anybody may have set.
    pub unix_s: u64,
}

impl Episode {
    /// Whether it had begun when this challenge was made. An end is about what its signer could know of: one that was held back
    /// must not end what was begun after it.
    fn is_older_than(&self, made_ms: u64, now: &Moment) -> bool {
        self.began
            .is_none_or(|(boot, at_ms)| boot != now.boot || at_ms <= made_ms)
    }
}

/// All that the privileged half remembers; one file.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ActorState {
    /// Version and signed bytes of the newest authority list that it was shown; 0 and nothing before the first.
    pub authority: (u64, Vec<u8>),
    /// Number of the newest attestation.
    counter: u64,
    open: Option<Episode>,
    gives_back: bool,
    settled: VecDeque<Settled>,
    dead: VecDeque<CommandId>,
    highest: VecDeque<(ClientId, SessionId, u64)>,
}

impl ActorState {
    /// All that is left of a memory that was lost: an episode is open.
    #[must_use]
    pub fn of_episode(episode: Episode) -> Self {
        Self {
            open: Some(episode),
            ..Self::default()
        }
    }
    /// The open episode.
    #[must_use]
    pub const fn open(&self) -> Option<&Episode> {
        self.open.as_ref()
    }
    /// How a command came out, if it has.
    #[must_use]
    pub fn settled(&self, command: CommandId) -> Option<Settled> {
        let mut newest_first = self.settled.iter().rev();
        newest_first
            .find(|settled| settled.command == command)
            .copied()
    }
    /// What the phone must be brought to.
    #[must_use]
    pub const fn duty(&self) -> Duty {
        match (&self.open, self.gives_back) {
            (Some(_), _) => Duty::Lock,
            (None, true) => Duty::GiveBack,
            (None, false) => Duty::None,
        }
    }

    /// Judges a verified command.
    ///
    /// # Errors
    /// [`Refusal::Unsupported`] for what is not ours to do, [`Refusal::Replayed`] for one that is older than another of
    /// its session, [`Refusal::UnknownBeacon`] for an end that answers no live challenge, or one that is older than the open episode,
    /// which it does not name, [`Refusal::Expired`] for an episode that was ended before it came.
    pub fn judge(
        &self,
        verified: &Verified,
        challenged: Challenged,
        now: &Moment,
    ) -> Result<Verdict, Refusal> {
        let command = verified.command();
        if let Some(settled) = self.settled(command.id) {
            return Ok(Verdict::Settled(settled));
        }
        let is_open = self
            .open
            .as_ref()
            .is_some_and(|it| it.command == command.id);
        if is_open {
            return Ok(Verdict::Stands);
        }
        let mut next = self.clone();
        match &command.op {
            Op::Lost {
                message,
                contact,
                code,
            } => {
                if self.dead.contains(&command.id) {
                    return Err(Refusal::Expired);
                }
                next.use_number(command.client, command.session, command.seq)?;
                let place = place(command);
                let held = next.open.as_ref().and_then(|open| open.place);
                if held.is_some_and(|held| held > place) {
                    next.settle(command.id, Outcome::Superseded);
                    return Ok(Verdict::New(Box::new(next)));
                }
                if let Some(older) = next.open.take() {
                    next.settle(older.command, Outcome::Superseded);
                }
                next.open = Some(Episode {
                    command: command.id,
                    message: message.clone(),
                    contact: contact.clone(),
                    code: *code,
                    since_unix_s: now.unix_s,
                    began: Some((now.boot, now.boottime_ms)),
                    place: Some(place),
                    tries: Tries::default(),
                    standing: None,
                });
            }
            Op::LostOff { episodes } => {
                let Challenged::Live { made_ms } = challenged else {
                    return Err(Refusal::UnknownBeacon);
                };
                let is_meant = |open: &Episode| {
                    episodes.contains(&open.command) || open.is_older_than(made_ms, now)
                };
                if !self.open.as_ref().is_none_or(is_meant) {
                    return Err(Refusal::UnknownBeacon);
                }
                next.use_number(command.client, command.session, command.seq)?;
                for episode in episodes {
                    next.bury(*episode);
                }
                let outcome = match next.open.take() {
                    Some(open) => {
                        next.end(&open, Outcome::EndedByOrder);
                        Outcome::EndedByOrder
                    }
                    None => Outcome::NothingToEnd,
                };
                next.settle(command.id, outcome);
            }
            _ => return Err(Refusal::Unsupported),
        }
        Ok(Verdict::New(Box::new(next)))
    }

    /// The phone is locked as far as this says; the same again changes nothing. The state is to reach the disk before
    /// anybody is told.
    #[must_use]
    pub fn locked(&self, outcome: Outcome) -> Self {
        let mut next = self.clone();
        if let Some(open) = &mut next.open
            && open.standing.is_none_or(|(known, _)| known != outcome)
        {
            next.counter += 1;
            open.standing = Some((outcome, next.counter));
        }
        next
    }
    /// The phone has been given back.
    #[must_use]
    pub fn given_back(&self) -> Self {
        Self {
            gives_back: false,
            ..self.clone()
        }
    }

    /// How long nobody may try the code; `None` when no episode is open, or it has no code.
    #[must_use]
    pub fn wait(&self, boot: BootId, boottime_ms: u64) -> Option<Duration> {
        let open = self.open.as_ref().filter(|open| open.code.is_some())?;
        Some(open.tries.wait(&boot, boottime_ms))
    }
    /// One try of the code more, to reach the disk before it is looked at.
    #[must_use]
    pub fn tried(&self, boot: BootId, boottime_ms: u64) -> Self {
        let mut next = self.clone();
        if let Some(open) = &mut next.open {
            open.tries = open.tries.one_more(boot, boottime_ms);
        }
        next
    }
    /// The code was right: the episode has ended.
    #[must_use]
    pub fn ended_by_code(&self) -> Self {
        let mut next = self.clone();
        if let Some(open) = next.open.take() {
            next.end(&open, Outcome::EndedByCode);
        }
        next
    }

    /// In one session only rising numbers: what somebody held back is older than what came.
    fn use_number(
        &mut self,
        client: ClientId,
        session: SessionId,
        seq: u64,
    ) -> Result<(), Refusal> {
        let same = |space: &(ClientId, SessionId, u64)| (space.0, space.1) == (client, session);
        let found = self.highest.iter().position(same);
        if let Some(index) = found {
            if self.highest[index].2 >= seq {
                return Err(Refusal::Replayed);
            }
            self.highest.remove(index);
        }
        self.highest.push_front((client, session, seq));
        self.highest.truncate(MOST_SPACES);
        Ok(())
    }
    fn end(&mut self, open: &Episode, outcome: Outcome) {
        self.settle(open.command, outcome);
        self.bury(open.command);
        self.gives_back = true;
    }
    fn settle(&mut self, command: CommandId, outcome: Outcome) {
        self.counter += 1;
        self.settled.push_back(Settled {
            command,
            outcome,
            counter: self.counter,
        });
        while self.settled.len() > MOST_SETTLED {
            self.settled.pop_front();
        }
    }
    fn bury(&mut self, episode: CommandId) {
        if !self.dead.contains(&episode) {
            self.dead.push_back(episode);
        }
        while self.dead.len() > MOST_DEAD {
            self.dead.pop_front();
        }
    }
}
