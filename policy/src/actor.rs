//! The privileged half's own judge: which signed orders lock the phone and give it back, by its own memory alone. It trusts nothing that the agent says, and reads no clock.

mod codec;

use crate::tries::Tries;
use homing_protocol::Refusal;
use homing_protocol::command::{Op, Verified};
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
    /// Wrong tries of its code.
    pub tries: Tries,
    /// How far the phone is locked, and the number of the attestation that says so; `None` before it was first locked.
    pub standing: Option<(Outcome, u64)>,
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
    Live,
    /// It quotes none, or an old one, or somebody else's.
    No,
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
    /// its session, [`Refusal::UnknownBeacon`] for an end that answers no live challenge, [`Refusal::Expired`] for an
    /// episode that was ended before it came.
    pub fn judge(
        &self,
        verified: &Verified,
        challenged: Challenged,
        now_unix_s: u64,
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
                if let Some(older) = next.open.take() {
                    next.settle(older.command, Outcome::Superseded);
                }
                next.open = Some(Episode {
                    command: command.id,
                    message: message.clone(),
                    contact: contact.clone(),
                    code: *code,
                    since_unix_s: now_unix_s,
                    tries: Tries::default(),
                    standing: None,
                });
            }
            Op::LostOff { episodes } => {
                if challenged == Challenged::No {
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
