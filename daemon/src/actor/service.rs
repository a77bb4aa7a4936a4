//! The privileged half at work: each request judged by its own memory, written down, then done. It must not talk to anybody but its socket.

use std::path::PathBuf;
use std::time::Duration;

use homing_hal::Fault;
use homing_hal::capability::lockdown::{Lockdown, Standing};
use homing_policy::actor::{ActorState, Challenged, Duty, Moment, Verdict};
use homing_protocol::Refusal;
use homing_protocol::actor::{Answer, CodeAnswer, Request};
use homing_protocol::authority::AuthorityList;
use homing_protocol::command::{self, Command, Rejected};
use homing_protocol::id::{BootId, CommandId};
use homing_protocol::lost::{Attestation, Challenger, Outcome, UnlockCode};

use crate::actor::bootcopy::BootCopy;
use crate::actor::identity::{self, ActorIdentity};
use crate::actor::{memory, notice};
use crate::error::Error;
use crate::{boottime, wallclock};

/// How often a phone in lost mode is looked at, whether something has been opened since; as often as it is in contact.
const LOOK_AFTER: Duration = Duration::from_secs(300);
/// How soon the next attempt follows one that failed.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// The privileged half.
pub(crate) struct Service {
    dir: PathBuf,
    identity: Option<ActorIdentity>,
    /// Why it is not known, where it should be: no order can be checked, a code can.
    lost_identity: Option<String>,
    /// Of which version of its file that is.
    of_version: Option<(u64, i64, i64)>,
    list: Option<AuthorityList>,
    state: ActorState,
    lockdown: Box<dyn Lockdown>,
    boot: BootId,
    /// What is shown before the disk's passphrase.
    copy: BootCopy,
    /// What is still open of a phone that is locked, or why it could not be given back.
    trouble: Option<String>,
    /// Whether the last attempt to lock came to nothing at all.
    at_large: bool,
    /// Attempts in a row that left something open.
    attempts: u32,
    /// Whether it was looked at the start of this process that nothing is taken from a phone that is not lost.
    looked: bool,
    /// When the next look is due, time since boot.
    due: Option<Duration>,
}

impl Service {
    /// Opens what it remembers.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Damaged`], [`Error::Replace`].
    pub(crate) fn open(
        dir: PathBuf,
        lockdown: Box<dyn Lockdown>,
        boot: BootId,
        copy: BootCopy,
    ) -> Result<Self, Error> {
        let mut service = Self {
            of_version: identity::version(&dir),
            identity: None,
            lost_identity: None,
            list: None,
            state: memory::load(&dir)?,
            dir,
            lockdown,
            boot,
            copy,
            trouble: None,
            at_large: false,
            attempts: 0,
            looked: false,
            due: None,
        };
        service.read_identity();
        service.read_list();
        Ok(service)
    }

    /// Brings the phone to what the memory says; harmless to repeat.
    ///
    /// # Errors
    /// [`Error::Replace`] when something cannot be written down. What cannot be done is kept as trouble and tried again.
    pub(crate) fn settle(&mut self) -> Result<(), Error> {
        self.trouble = None;
        self.at_large = false;
        let done = match self.state.duty() {
            Duty::Lock => self.lock(),
            Duty::GiveBack => self.give_back(),
            Duty::None => self.rest(),
        };
        if let Err(error) = &done {
            // What could not be written down is tried again soon.
            self.trouble = Some(error.to_string());
        }
        self.attempts = match &self.trouble {
            Some(_) => self.attempts.saturating_add(1),
            None => 0,
        };
        let now = boottime::now()?;
        self.due = self.patience().map(|patience| now + patience);
        done
    }

    /// When something is due by itself, time since boot.
    pub(crate) const fn due(&self) -> Option<Duration> {
        self.due
    }

    /// A phone that is not lost. A memory that was lost while the phone was being given back owes the rest.
    fn rest(&mut self) -> Result<(), Error> {
        notice::hide(&self.dir)?;
        self.copy.hide();
        if !self.looked {
            match self.lockdown.leave() {
                Ok(()) | Err(Fault::Absent(_)) => self.looked = true,
                Err(fault) => self.trouble = Some(fault.to_string()),
            }
        }
        Ok(())
    }

    /// How long nothing is due by itself; `None` when nothing will be. What cannot be closed is tried ever more rarely: a
    /// phone with one odd door must not empty its battery over it.
    fn patience(&self) -> Option<Duration> {
        match (self.state.duty(), &self.trouble) {
            (Duty::None, None) => None,
            (Duty::Lock, None) => Some(LOOK_AFTER),
            (Duty::GiveBack, None) => Some(TRY_AGAIN),
            (_, Some(_)) => {
                let doublings = self.attempts.saturating_sub(1).min(6);
                Some((TRY_AGAIN * 2_u32.pow(doublings)).min(LOOK_AFTER))
            }
        }
    }

    fn lock(&mut self) -> Result<(), Error> {
        let Some(open) = self.state.open() else {
            return Ok(());
        };
        // A full disk does not keep the phone open.
        let shown = notice::show(&self.dir, open);
        let entered = self.lockdown.enter();
        self.copy.show(open);
        let standing = self.lockdown.standing();
        let outcome = match (&entered, standing) {
            (Ok(()), Ok(Standing::Locked)) => Outcome::Locked,
            (_, Ok(Standing::Partly(what))) => {
                self.trouble = Some(what);
                Outcome::LockedInPart
            }
            (Err(fault), Ok(Standing::Locked)) => {
                self.trouble = Some(fault.to_string());
                Outcome::LockedInPart
            }
            (entered, standing) => {
                // Neither says that anybody is locked out.
                let fault = entered.as_ref().err().map(ToString::to_string);
                let asked = standing.err().map(|fault| fault.to_string());
                let why = fault.or(asked);
                self.trouble = Some(why.unwrap_or_else(|| "the phone is still open".into()));
                tracing::error!(
                    "not locked: {}",
                    self.trouble.as_deref().unwrap_or_default()
                );
                self.at_large = true;
                return shown;
            }
        };
        if let Some(what) = &self.trouble {
            tracing::warn!("locked in part: {what}");
        }
        self.keep(self.state.locked(outcome))?;
        shown
    }

    fn give_back(&mut self) -> Result<(), Error> {
        notice::hide(&self.dir)?;
        self.copy.hide();
        match self.lockdown.leave() {
            Ok(()) => self.keep(self.state.given_back()),
            Err(fault) => {
                tracing::error!("not given back yet: {fault}");
                self.trouble = Some(fault.to_string());
                Ok(())
            }
        }
    }

    fn keep(&mut self, next: ActorState) -> Result<(), Error> {
        if next != self.state {
            memory::keep(&self.dir, &next)?;
            self.state = next;
        }
        Ok(())
    }

    /// Answers one request. What fails is an answer too: who asked may ask again.
    pub(crate) fn answer(&mut self, request: &Request) -> Answer {
        let answered = self.learn_owner().and_then(|()| self.carry_out(request));
        answered.unwrap_or_else(|error| {
            tracing::error!("{error}");
            Answer::Failed(error.to_string())
        })
    }

    /// The phone may have joined, left or changed hands since this process began.
    fn learn_owner(&mut self) -> Result<(), Error> {
        let version = identity::version(&self.dir);
        if version != self.of_version {
            self.read_identity();
            self.state = memory::load(&self.dir)?;
            self.list = None;
            self.read_list();
            self.of_version = version;
        }
        Ok(())
    }

    fn carry_out(&mut self, request: &Request) -> Result<Answer, Error> {
        match request {
            Request::Challenge => self.challenge(),
            Request::Order { authority, command } => self.order(authority, command),
            Request::Code { digits } => self.code(digits),
            Request::Standing => Ok(Answer::Standing {
                open: self.state.open().map(|open| open.command),
                actor: self.identity.as_ref().map(|identity| identity.key.public()),
            }),
        }
    }

    /// Without an identity this half still shows the notice, keeps the doors closed and takes the code: it must not end.
    fn read_identity(&mut self) {
        (self.identity, self.lost_identity) = match ActorIdentity::load(&self.dir) {
            Ok(identity) => (identity, None),
            Err(error) => {
                tracing::error!("no order can be checked: {error}");
                (None, Some(error.to_string()))
            }
        };
    }

    fn nobody(&self) -> Answer {
        Answer::Failed(match &self.lost_identity {
            Some(why) => {
                format!("{why}: the phone has to join again, once it is not lost any more")
            }
            None => "this phone's privileged half serves no owner: enrol the phone as root".into(),
        })
    }

    fn challenge(&self) -> Result<Answer, Error> {
        let now_ms = boottime::now_ms()?;
        Ok(match self.challenger() {
            Some(challenger) => Answer::Challenge(challenger.challenge(now_ms)),
            None => self.nobody(),
        })
    }

    fn challenger(&self) -> Option<Challenger> {
        let identity = self.identity.as_ref()?;
        Some(Challenger::new(&identity.key, self.boot))
    }

    fn order(&mut self, authority: &[u8], signed: &[u8]) -> Result<Answer, Error> {
        self.take_list(authority)?;
        let Some(identity) = &self.identity else {
            return Ok(self.nobody());
        };
        let Some(list) = &self.list else {
            return Ok(Answer::Refused(Refusal::NeedAuthority));
        };
        // What stands is answered whoever may order today: taking a client's rights away does not open what it locked.
        if let Ok(id) = command::claimed_id(signed)
            && self.knows(id)
        {
            self.settle_if_due()?;
            return Ok(self.outcome(id));
        }
        let verified = match command::verify(signed, &identity.address, identity.epoch, list) {
            Ok(verified) => verified,
            Err(Rejected::Stranger(refusal) | Rejected::Client(refusal, _)) => {
                return Ok(Answer::Refused(refusal));
            }
        };
        let command = verified.command();
        let challenged = self.challenged(command)?;
        let now = Moment {
            boot: self.boot,
            boottime_ms: boottime::now_ms()?,
            unix_s: wallclock::unix_s(),
        };
        match self.state.judge(&verified, challenged, &now) {
            Err(refusal) => return Ok(Answer::Refused(refusal)),
            Ok(Verdict::New(next)) => {
                tracing::info!("{} {} is carried out", command.op.word(), command.id);
                self.keep(*next)?;
            }
            Ok(Verdict::Stands | Verdict::Settled(_)) => {}
        }
        self.settle()?;
        Ok(self.outcome(command.id))
    }

    fn knows(&self, command: CommandId) -> bool {
        let open = self.state.open();
        open.is_some_and(|open| open.command == command) || self.state.settled(command).is_some()
    }

    /// What was begun and not finished is finished first, as often as time allows: whoever asks again and again must not
    /// keep everybody else waiting.
    fn settle_if_due(&mut self) -> Result<(), Error> {
        let now = boottime::now()?;
        if self.due.is_some_and(|due| now >= due) {
            self.settle()?;
        }
        Ok(())
    }

    fn challenged(&self, command: &Command) -> Result<Challenged, Error> {
        let now_ms = boottime::now_ms()?;
        let challenger = self.challenger();
        let quoted = command.beacon.zip(challenger);
        let made_ms = quoted.and_then(|(beacon, ours)| ours.made_ms(beacon.nonce, now_ms));
        Ok(made_ms.map_or(Challenged::No, |made_ms| Challenged::Live { made_ms }))
    }

    /// How a command stands after everything that could be done was.
    fn outcome(&self, command: CommandId) -> Answer {
        let trouble = self.trouble.clone();
        if self.state.duty() == Duty::GiveBack {
            let why = trouble.unwrap_or_default();
            return Answer::Failed(format!("the phone is not given back yet: {why}"));
        }
        let open = self.state.open().filter(|open| open.command == command);
        let found = match open {
            Some(open) => open.standing.filter(|_| !self.at_large),
            None => {
                let settled = self.state.settled(command);
                settled.map(|settled| (settled.outcome, settled.counter))
            }
        };
        let (Some((outcome, counter)), Some(identity)) = (found, &self.identity) else {
            let why = trouble.unwrap_or_default();
            return Answer::Failed(format!("the phone is not locked yet: {why}"));
        };
        let whose = (&identity.address, identity.epoch);
        Answer::Outcome {
            attestation: Attestation::sign(&identity.key, whose, command, outcome, counter),
            text: trouble.filter(|_| outcome == Outcome::LockedInPart),
        }
    }

    fn code(&mut self, digits: &str) -> Result<Answer, Error> {
        let now_ms = boottime::now_ms()?;
        let Some(wait) = self.state.wait(self.boot, now_ms) else {
            return Ok(Answer::Code(CodeAnswer::NoEpisode));
        };
        if !wait.is_zero() {
            let wait_s = whole_seconds(wait);
            return Ok(Answer::Code(CodeAnswer::Wait { wait_s }));
        }
        // Too few digits are no try.
        let Some(code) = UnlockCode::read(digits) else {
            return Ok(Answer::Code(CodeAnswer::Wrong { wait_s: 0 }));
        };
        self.keep(self.state.tried(self.boot, now_ms))?;
        let open = self.state.open();
        let right = open
            .and_then(|open| open.code)
            .is_some_and(|verifier| verifier.matches(&code));
        if !right {
            tracing::warn!("a wrong unlock code was typed");
            let wait = self.state.wait(self.boot, now_ms);
            let wait_s = whole_seconds(wait.unwrap_or_default());
            return Ok(Answer::Code(CodeAnswer::Wrong { wait_s }));
        }
        tracing::info!("the unlock code was typed: lost mode ends");
        self.keep(self.state.ended_by_code())?;
        self.settle()?;
        Ok(Answer::Code(CodeAnswer::Right))
    }

    /// Takes a newer list of the same owner; an older one, another's or a second one of the same number changes nothing.
    fn take_list(&mut self, signed: &[u8]) -> Result<(), Error> {
        let Some(identity) = &self.identity else {
            return Ok(());
        };
        let account = identity.address.account;
        let Ok(list) = AuthorityList::verify(signed, &identity.root, account) else {
            return Ok(());
        };
        if self.list.is_some() && list.version <= self.state.authority.0 {
            return Ok(());
        }
        let mut next = self.state.clone();
        next.authority = (list.version, signed.to_vec());
        self.keep(next)?;
        self.list = Some(list);
        Ok(())
    }

    fn read_list(&mut self) {
        if let Some(identity) = &self.identity {
            let (account, signed) = (identity.address.account, &self.state.authority.1);
            self.list = AuthorityList::verify(signed, &identity.root, account).ok();
        }
    }
}

/// Whoever waits for less than he is told tries once more for nothing.
fn whole_seconds(wait: Duration) -> u32 {
    let seconds = wait.as_millis().div_ceil(1000);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}
