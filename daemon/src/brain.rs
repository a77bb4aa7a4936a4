//! The one loop that owns the agent's state: it hears events, asks the judge, commits, acknowledges, then acts. It must not judge by itself.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use homing_hal::capability::network::{Network, NetworkPath};
use homing_hal::capability::power::Power;
use homing_link::{LinkEvent, SessionPresence, Transport};
use homing_policy::{Event, NonceMaker, Now, SearchOutcome, State, decide};
use homing_protocol::Refusal;
use homing_protocol::authority::AuthorityList;
use homing_protocol::envelope::Address;
use homing_protocol::id::{BeaconNonce, BootId, CommandId};
use homing_protocol::keys::{KemSecret, VerifyingKey};

use crate::actor::ask::Privileged;
use crate::config::Settings;
use crate::error::Error;
use crate::journal::Journal;
use crate::keystore::randomness;
use crate::outbox::Outbox;
use crate::perform;
use crate::roaming::{Roaming, Standing, Verdict};
use crate::status::{Connection, Refusals, StatusFile};
use crate::worker::{Input, Search};
use crate::{boottime, history, notify, wallclock};

/// How long a beacon that was asked for waits for others to join it.
const BEACON_DELAY: Duration = Duration::from_millis(50);
/// Who ordered something so short a time ago may well order more.
const ASKED_LATELY: Duration = Duration::from_secs(3600);
/// How long after an order could not be written down the broker is asked for it again. It brings what was not
/// acknowledged only on a new connection, and sends nothing at all once its window is full of such orders.
pub(crate) const PUT_OFF: Duration = Duration::from_secs(30);

/// How long after so many answers that were none the privileged half is asked again: 5 s, then twice as long each time, at
/// most five minutes. It may not be there at all.
pub(crate) fn ask_again_after(times: u32) -> Duration {
    let doublings = times.saturating_sub(1).min(6);
    Duration::from_secs(5 << doublings).min(Duration::from_secs(300))
}

/// What the agent is made of.
pub(crate) struct Brain<T> {
    pub(crate) address: Address,
    pub(crate) epoch: u32,
    pub(crate) boot: BootId,
    pub(crate) boot_text: String,
    /// The broker's host and port, for the route look-up.
    pub(crate) broker: (String, u16),
    /// What that name stood for when it was last looked up, at each connect.
    pub(crate) broker_at: Option<IpAddr>,
    pub(crate) roaming: Roaming,
    pub(crate) root: VerifyingKey,
    pub(crate) kem: KemSecret,
    pub(crate) authority: AuthorityList,
    pub(crate) state: State,
    pub(crate) journal: Journal,
    pub(crate) transport: T,
    pub(crate) outbox: Outbox,
    pub(crate) searcher: Box<dyn Search>,
    pub(crate) privileged: Box<dyn Privileged>,
    pub(crate) power: Box<dyn Power>,
    pub(crate) network: Box<dyn Network>,
    pub(crate) settings: Settings,
    pub(crate) siren_folder: PathBuf,
    /// Not before this, time since boot, is the siren ordered again after an order that could not be written.
    pub(crate) siren_again: Option<Duration>,
    /// The newest fault of that folder that was complained about.
    pub(crate) siren_fault: Option<String>,
    pub(crate) refusals: Refusals,
    pub(crate) status: StatusFile,
    pub(crate) parked: Vec<Vec<u8>>,
    /// The retention consented to, days.
    pub(crate) retention_days: u16,
    /// When the movement history is looked at next.
    pub(crate) looks: history::Looks,
    /// When the next beacon is due, time since boot.
    pub(crate) beacon_at: Duration,
    /// When what the broker refused is offered again, time since boot.
    pub(crate) refused_again_at: Duration,
    /// When somebody of the account last ordered anything, time since boot.
    pub(crate) asked_at: Option<Duration>,
    /// Over what this phone was reached at its last beacon.
    pub(crate) shown: Option<NetworkPath>,
    pub(crate) connected: Connection,
    /// When orders that could not be written down are asked for again, time since boot.
    pub(crate) put_off: Option<Duration>,
    /// When the privileged half is asked again that could not answer, time since boot, and after how many times.
    pub(crate) ask_again: Option<(Duration, u32)>,
    /// What it could not carry out, and why: each reason is told once.
    pub(crate) failing: BTreeMap<CommandId, String>,
    /// Answers that could not be written down; they are taken in again at the same time.
    pub(crate) answers: Vec<Input>,
}

impl<T: Transport> Brain<T> {
    pub(crate) fn now(&self) -> Result<Now, Error> {
        Ok(Now {
            boot: self.boot,
            boottime_ms: boottime::now_ms()?,
            wall_unix_s: wallclock::unix_s(),
            clock: wallclock::trust(),
        })
    }

    /// Judges one event, commits, and acts.
    ///
    /// # Errors
    /// The journal's; then nothing was done.
    pub(crate) fn handle(&mut self, event: &Event<'_>) -> Result<(), Error> {
        if let Event::Command(_) | Event::Refused(..) | Event::ReportsStored { .. } = event {
            self.outbox.somebody_listens();
        }
        if let Event::Command(_) = event {
            self.asked_at = boottime::now().ok();
        }
        let now = self.now()?;
        let decision = decide(&self.state, &now, event);
        if let Some(refusal) = decision.refusal() {
            self.count(refusal);
        }
        self.journal.moment = Some(now);
        let effects = decision.commit(&mut self.state, &mut self.journal)?;
        for effect in effects {
            perform::perform(self, effect)?;
        }
        Ok(())
    }

    /// Begins: takes up what was unfinished.
    ///
    /// # Errors
    /// The journal's.
    pub(crate) fn start(&mut self) -> Result<(), Error> {
        // A ring that ended while nobody listened must not begin anew.
        perform::settle_siren(self)?;
        // Not worth a start that fails on a full disk: what was allowed before is known.
        crate::agent::outlast(self.configured())?;
        self.handle(&Event::Started)?;
        perform::look_at_siren(self)?;
        self.report_status();
        notify::ready();
        Ok(())
    }

    /// Tells the judge what the configuration allows.
    ///
    /// # Errors
    /// The journal's.
    pub(crate) fn configured(&mut self) -> Result<(), Error> {
        let longest = self.settings.ring.longest.as_secs();
        self.handle(&Event::Configured {
            ring_longest_s: u32::try_from(longest).unwrap_or(u32::MAX),
        })
    }

    /// Takes in what the link says.
    ///
    /// # Errors
    /// The journal's.
    pub(crate) fn hear(&mut self, event: LinkEvent) -> Result<(), Error> {
        self.outbox.note(&event, &mut self.journal);
        match event {
            LinkEvent::Connected { session_present } => {
                let kept = session_present == SessionPresence::Resumed;
                tracing::info!(
                    "connected to the broker ({})",
                    if kept { "session kept" } else { "new session" }
                );
                self.connected = Connection::Connected;
                notify::status("connected to the broker");
                self.beacon_at = Duration::ZERO;
                let path = self.path();
                self.roaming.connected(path.as_ref());
                self.searcher.look_up(self.broker.clone());
            }
            LinkEvent::Disconnected { reason, retry_in } => {
                tracing::info!(
                    "not connected: {reason}; next attempt in {} s",
                    retry_in.as_secs()
                );
                notify::status(&format!("not connected: {reason}"));
                self.connected = Connection::Waiting {
                    reason: reason.to_string(),
                };
            }
            LinkEvent::SubscriptionRefused { filter, reason } => {
                tracing::error!("the broker refused {filter}: {reason}")
            }
            LinkEvent::Message(delivery) => return self.receive(delivery),
            LinkEvent::Published(_) | LinkEvent::Unheard(_) => {}
            LinkEvent::PublishRefused { reason, .. } => {
                tracing::warn!("the broker refused a message: {reason}")
            }
        }
        self.report_status();
        self.drain()
    }

    /// Sends what waits.
    ///
    /// # Errors
    /// The journal's.
    pub(crate) fn drain(&mut self) -> Result<(), Error> {
        self.outbox.fill(
            &mut self.transport,
            &self.journal,
            &self.address,
            &self.state,
        )
    }

    /// Takes in what a worker says.
    ///
    /// # Errors
    /// The journal's.
    pub(crate) fn take_in(&mut self, input: Input) -> Result<(), Error> {
        match input {
            Input::SearchEnded { command, found } => {
                let outcome = match &found {
                    Ok(position) => SearchOutcome::Found(*position),
                    Err(why) => SearchOutcome::Failed(why),
                };
                match self.handle(&Event::SearchEnded { command, outcome }) {
                    Err(error) if error.may_pass() => {
                        tracing::error!("an answer is put off: {error}");
                        self.put_off = Some(boottime::now()? + PUT_OFF);
                        self.answers.push(Input::SearchEnded { command, found });
                        Ok(())
                    }
                    done => done.and_then(|()| self.drain()),
                }
            }
            Input::TrackEnded { found } => {
                self.searcher.track_ended();
                let outcome = match &found {
                    Ok(position) => SearchOutcome::Found(*position),
                    Err(why) => SearchOutcome::Failed(why),
                };
                self.handle(&Event::TrackEnded { outcome })?;
                self.drain()
            }
            Input::ActorAnswered { command, answer } => {
                perform::take_answer(self, command, answer)?;
                self.drain()
            }
            Input::ActorStirred => {
                self.handle(&Event::ActorStirred)?;
                self.drain()
            }
            Input::SirenChanged => perform::look_at_siren(self),
            Input::BrokerAt(address) => {
                self.broker_at = Some(address);
                if self.standing() == Standing::Connected {
                    let path = self.path();
                    self.roaming.connected(path.as_ref());
                }
                Ok(())
            }
            Input::NetworkStirred => {
                let verdict = self.roaming.stirred(boottime::now()?, self.standing());
                self.move_on(verdict);
                Ok(())
            }
            Input::NetworkSettled => {
                let (path, standing) = (self.path(), self.standing());
                let verdict = self
                    .roaming
                    .settled(boottime::now()?, standing, path.as_ref());
                self.move_on(verdict);
                Ok(())
            }
        }
    }

    fn standing(&self) -> Standing {
        match self.connected {
            Connection::Connected => Standing::Connected,
            Connection::Waiting { .. } => Standing::Waiting,
        }
    }

    /// The way to the broker now, if the kernel knows one.
    pub(crate) fn path(&mut self) -> Option<NetworkPath> {
        self.network.path_to(self.broker_at?).ok()
    }

    fn move_on(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Stay => {}
            // Who waits for this phone sees over what it is reached now.
            Verdict::Show => self.beacon_soon(),
            Verdict::Reconnect => {
                tracing::debug!("the network changed");
                self.transport.network_changed();
            }
        }
    }

    pub(crate) fn beacon_soon(&mut self) {
        if let Ok(now) = boottime::now() {
            self.beacon_at = self.beacon_at.min(now + BEACON_DELAY);
        }
    }

    /// Does what is due.
    ///
    /// # Errors
    /// The journal's.
    pub(crate) fn tick(&mut self) -> Result<(), Error> {
        let now = boottime::now()?;
        self.journal.hold_reserve();
        if self.connected == Connection::Connected && now >= self.beacon_at {
            self.beacon_at = now + self.until_next_beacon(now);
            if now >= self.refused_again_at {
                // An interval from here, however often somebody asks for a beacon before.
                self.refused_again_at = self.beacon_at;
                self.outbox.try_again();
            }
            let (nonce, maker) = match self.privileged.challenge() {
                Some(challenge) => (challenge, NonceMaker::Actor),
                None => (BeaconNonce::random(&mut randomness()), NonceMaker::Agent),
            };
            self.handle(&Event::BeaconDue { nonce, maker })?;
            self.journal.compact(&self.state)?;
        }
        let verdict = self.roaming.due(now);
        self.move_on(verdict);
        if self.put_off.is_some_and(|at| now >= at) {
            self.put_off = None;
            self.transport.network_changed();
            for answer in std::mem::take(&mut self.answers) {
                self.take_in(answer)?;
            }
        }
        if let Some((_, times)) = self.ask_again.filter(|(at, _)| now >= *at) {
            // Until an answer says otherwise.
            self.ask_again = Some((now + ask_again_after(times), times));
            let open = &self.state;
            self.failing
                .retain(|command, _| open.handed(*command).is_some());
            self.handle(&Event::ActorStirred)?;
        }
        if self.state.is_busy() {
            // What the siren says comes first: an order that it has put away is not given again.
            perform::look_at_siren(self)?;
            self.handle(&Event::Tick)?;
        }
        history::look(self)?;
        self.report_status();
        self.drain()
    }

    /// A phone that lies still, and that nobody has asked anything for an hour, shows itself half as often, and says so:
    /// each beacon tells when the next one comes.
    fn until_next_beacon(&mut self, now: Duration) -> Duration {
        let path = self.path();
        let moved_on = path != self.shown;
        self.shown = path;
        let is_asked = self
            .asked_at
            .is_some_and(|at| now.saturating_sub(at) < ASKED_LATELY);
        let moves = self.state.place.is_some_and(|place| place.moving);
        let interval = self.settings.beacon.interval;
        if is_asked || moves || moved_on || self.state.open().next().is_some() {
            interval
        } else {
            interval.saturating_mul(2)
        }
    }

    /// How long nothing is due.
    pub(crate) fn patience(&self) -> Duration {
        let mut next = Duration::from_secs(3600);
        if let Ok(now) = boottime::now() {
            if self.connected == Connection::Connected {
                next = next.min(self.beacon_at.saturating_sub(now));
            }
            next = next.min(self.roaming.patience(now).unwrap_or(next));
            if let Some(at) = self.put_off {
                next = next.min(at.saturating_sub(now));
            }
            if let Some((at, _)) = self.ask_again {
                next = next.min(at.saturating_sub(now));
            }
        }
        next = next.min(history::patience(self));
        // While an order is open its siren and its deadline are looked after each second.
        if self.state.is_busy() {
            next.min(Duration::from_secs(1))
        } else {
            next
        }
    }

    pub(crate) fn count(&mut self, refusal: Refusal) {
        self.refusals.count(refusal);
    }

    pub(crate) fn report_status(&mut self) {
        self.status
            .write(&self.connected, &self.refusals, &self.state);
    }
}
