//! The one loop in which an owner's machine and a broker talk: what is due goes out, what comes in is stored, then acknowledged. Prints nothing.

mod due;
mod echo;
mod incoming;
mod keyring;
mod missing;
mod set_back;
#[cfg(test)]
mod tests;

use crate::clock::{self, UnixMs};
use crate::error::Error;
use crate::store::{Account, Store};
use echo::Echo;
use homing_link::{
    Credentials, Endpoint, LinkEvent, LinkSettings, MqttLink, SessionKind, Token, Transport,
};
use homing_owner::account::Unlocked;
use homing_owner::delivery::State;
use homing_owner::resend::Connected;
use homing_protocol::id::{CommandId, DeviceId};
use homing_protocol::rand_core::UnwrapErr;
use homing_protocol::topic::Topic;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// How often the state is looked at for what other processes have queued.
const LOOK: Duration = Duration::from_millis(300);

/// Longest time until everything is looked at again whatever was due: a clock that was set back must not put it off.
const LOOK_ANYWAY: Duration = Duration::from_secs(60);

/// Publications under way at once; the link's own window.
const IN_FLIGHT: usize = 16;

/// Largest packet accepted from the broker, bytes: the keyring blob (the broker's own limit is the same).
const LARGEST_PACKET: u32 = 65_536;

/// How long the broker keeps messages for `homing watch` while it is away: as long as it keeps a phone's session.
const WATCH_SESSION: Duration = Duration::from_secs(365 * 86_400);

/// How often the resident client makes sure of its connection, and tries to get one: it runs on mains or a laptop's battery, and somebody may be looking for a phone.
const WATCH_KEEP_ALIVE: Duration = Duration::from_secs(30);
const WATCH_RETRIES: Duration = Duration::from_secs(60);

/// The system's random numbers in the form the protocol takes.
pub(crate) type Rng = UnwrapErr<getrandom::SysRng>;

/// See [`Rng`].
pub(crate) const fn rng() -> Rng {
    UnwrapErr(getrandom::SysRng)
}

/// Whether this is the resident client or a call that lasts seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stay {
    /// `homing watch`.
    Resident,
    /// Everything else.
    Call,
}

/// Whose claims may be answered while the account is unlocked.
#[derive(Debug)]
pub(crate) enum Acceptance {
    /// Nobody's: the account is locked.
    Locked,
    /// One phone's.
    Only(DeviceId, Box<Unlocked>),
    /// Every invited phone's.
    All(Box<Unlocked>),
}

/// One publication under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Item {
    Order(CommandId),
    Authority(DeviceId),
    KeySet(DeviceId),
    Answer(DeviceId),
    Acknowledgement(DeviceId, u64),
    /// What was confirmed before, once more: a phone that has learned that nobody listens goes on when somebody speaks.
    Listening(DeviceId),
    Keyring(Vec<u8>),
    /// What a delegate is told: topic and payload.
    Notice(String, Vec<u8>),
    /// Nothing, so that the broker forgets what it retained there.
    Clearing(String),
    /// A word to ourselves.
    Echo,
}

/// Whether the person was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Yes,
    No,
}

/// The loop's memory; everything that matters is in the store.
#[derive(Debug)]
pub(crate) struct Exchange<T> {
    /// The state, open.
    pub(crate) store: Store,
    link: T,
    account: Account,
    acceptance: Acceptance,
    stay: Stay,
    connected: Option<Connected>,
    in_flight: HashMap<Token, Item>,
    /// When and how often something other than an order was published on this connection.
    repeated: HashMap<Item, (UnixMs, u32)>,
    trouble: Option<String>,
    /// Phones under whose names something came that they did not sign.
    impostors: HashMap<DeviceId, Told>,
    foreign_writes: i64,
    /// Something may be due: look at once.
    restless: bool,
    look_at: UnixMs,
    /// When everything was last looked at, by a clock that nobody sets.
    looked: Instant,
    echo: Echo,
    /// Whether the broker has shown a keyring on this connection.
    keyring_shown: bool,
}

/// The settings with which this account meets its broker.
pub(crate) fn settings(account: &Account, stay: Stay) -> Result<LinkSettings, Error> {
    let endpoint: Endpoint = account.broker.parse()?;
    let credentials = Credentials {
        ca_pem: account.ca.clone(),
        certificate_pem: account.tls_certificate.clone(),
        key_pem: account.tls_key.clone(),
    };
    let own = format!("owner-{}", account.client.id());
    let client_id = match stay {
        Stay::Resident => own,
        Stay::Call => format!("{own}-{:08x}", u32::from_be_bytes(crate::random::octets()?)),
    };
    let mut settings = LinkSettings::new(endpoint, credentials, client_id);
    settings.incoming_packet_limit = LARGEST_PACKET;
    settings.system_clock = clock::system;
    settings.subscriptions = subscriptions(account);
    if stay == Stay::Resident {
        settings.keep_alive = WATCH_KEEP_ALIVE;
        settings.backoff.ceiling = WATCH_RETRIES;
        settings.session = SessionKind::Persistent {
            expiry: WATCH_SESSION,
        };
    }
    Ok(settings)
}

/// What an owner's client listens to: all phones with two filters, so that their number does not matter.
fn subscriptions(account: &Account) -> Vec<String> {
    if account.kit.is_none() {
        // A delegate has no business with claims and keyring, and the broker lets it have none.
        return vec![
            "homing/v1/+/+/up/+".to_owned(),
            Topic::Notice(account.id, account.client.id()).to_string(),
        ];
    }
    vec![
        "homing/v1/+/+/up/+".to_owned(),
        "homing/v1/+/+/enrol".to_owned(),
        Topic::Keyring(account.id).to_string(),
    ]
}

impl Exchange<MqttLink> {
    /// Starts to connect; must be called inside a tokio runtime.
    pub(crate) fn start(store: Store, stay: Stay, acceptance: Acceptance) -> Result<Self, Error> {
        let account = store.account()?;
        let echo = Echo::for_call(&account, stay)?;
        let mut settings = settings(&account, stay)?;
        settings
            .subscriptions
            .extend(echo.filter().map(str::to_owned));
        let link = MqttLink::start(settings)?;
        let mut exchange = Self::over(link, store, acceptance)?;
        exchange.stay = stay;
        exchange.echo = echo;
        Ok(exchange)
    }
}

impl<T: Transport> Exchange<T> {
    /// Over any transport, as a call.
    pub(crate) fn over(link: T, store: Store, acceptance: Acceptance) -> Result<Self, Error> {
        Ok(Self {
            account: store.account()?,
            foreign_writes: store.foreign_writes()?,
            store,
            link,
            acceptance,
            stay: Stay::Call,
            connected: None,
            in_flight: HashMap::new(),
            repeated: HashMap::new(),
            trouble: None,
            impostors: HashMap::new(),
            restless: true,
            look_at: UnixMs(i64::MAX),
            looked: Instant::now(),
            echo: Echo::default(),
            keyring_shown: false,
        })
    }

    /// The account as it was when this was started.
    pub(crate) const fn account(&self) -> &Account {
        &self.account
    }

    /// Whether the broker has let us in.
    pub(crate) const fn is_connected(&self) -> bool {
        self.connected.is_some()
    }

    /// Why there is no connection, or what the broker refused; one sentence.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Phones under whose names something came that they did not sign, each once: whoever sent it has the phone's certificate, or the broker.
    pub(crate) fn new_impostors(&mut self) -> Vec<DeviceId> {
        let new = self
            .impostors
            .iter_mut()
            .filter(|(_, told)| **told == Told::No);
        new.map(|(device, told)| {
            *told = Told::Yes;
            *device
        })
        .collect()
    }

    /// Connects anew at once: whatever seems to stand leads nowhere any more.
    pub(crate) fn reconnect(&mut self) {
        self.link.network_changed();
    }

    /// Whether everything that was handed to the broker is answered and nothing is due at once.
    pub(crate) fn is_quiet(&self) -> bool {
        self.is_connected() && self.in_flight.is_empty() && !self.restless
    }

    /// The unlocked account, taken back when it was handed in.
    pub(crate) fn into_unlocked(self) -> (Store, Option<Unlocked>) {
        let unlocked = match self.acceptance {
            Acceptance::Locked => None,
            Acceptance::Only(_, account) | Acceptance::All(account) => Some(*account),
        };
        (self.store, unlocked)
    }

    /// Sends what is due, then waits for one event, for another process's order, or until `deadline`.
    pub(crate) async fn turn(&mut self, deadline: Instant) -> Result<(), Error> {
        self.look()?;
        let until = deadline.min(Instant::now() + LOOK);
        match tokio::time::timeout_at(until, self.link.next()).await {
            Ok(event) => self.take_in(event),
            Err(_) => Ok(()),
        }
    }

    /// Sends what is due now.
    fn look(&mut self) -> Result<(), Error> {
        let writes = self.store.foreign_writes()?;
        if writes != self.foreign_writes {
            self.foreign_writes = writes;
            self.account = self.store.account()?;
            self.restless = true;
        }
        let overdue = UnixMs::now() >= self.look_at || self.looked.elapsed() >= LOOK_ANYWAY;
        if self.restless || overdue {
            self.restless = false;
            self.looked = Instant::now();
            self.meet_other_machines()?;
            self.accept_claims()?;
            if self.is_connected() {
                self.send_due()?;
            }
        }
        Ok(())
    }

    /// Turns until `done` says so or `within` has passed; gives what it said.
    pub(crate) async fn until<R>(
        &mut self,
        within: Duration,
        mut done: impl FnMut(&mut Self) -> Result<Option<R>, Error>,
    ) -> Result<Option<R>, Error> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(result) = done(self)? {
                return Ok(Some(result));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            self.turn(deadline).await?;
        }
    }

    /// Says goodbye once what was handed over is answered, at most two seconds.
    pub(crate) async fn close(&mut self) -> Result<(), Error> {
        self.link.close(Duration::from_secs(2)).await;
        // What was answered while closing is still worth knowing.
        while let Ok(event) = tokio::time::timeout(Duration::ZERO, self.link.next()).await {
            self.take_in(event)?;
        }
        Ok(())
    }

    fn take_in(&mut self, event: LinkEvent) -> Result<(), Error> {
        match event {
            LinkEvent::Connected { .. } => {
                self.connected = Some(Connected::new(UnixMs::now().0));
                self.trouble = None;
                self.repeated.clear();
                self.keyring_shown = false;
                self.restless = true;
            }
            LinkEvent::Disconnected { reason, .. } => {
                self.connected = None;
                self.in_flight.clear();
                self.echo.awaited = None;
                self.trouble = Some(reason.to_string());
            }
            LinkEvent::Message(delivery) => {
                self.echo.hear(&delivery);
                self.store_message(&delivery)?;
                self.link.acknowledge(delivery.acknowledgement);
                self.restless = true;
            }
            // A phone whose session the broker has lost gets it when its beacon shows that it is back.
            LinkEvent::Published(token) | LinkEvent::Unheard(token) => {
                if let Some(item) = self.in_flight.remove(&token) {
                    self.sent(item)?;
                }
                self.restless = true;
            }
            LinkEvent::PublishRefused { token, reason } => {
                if self.in_flight.remove(&token) == Some(Item::Echo) {
                    self.echo = Echo::default();
                    return Ok(());
                }
                self.trouble = Some(reason.to_string());
            }
            LinkEvent::SubscriptionRefused { filter, .. }
                if self.echo.filter() == Some(filter.as_str()) =>
            {
                self.echo = Echo::default();
            }
            LinkEvent::SubscriptionRefused { filter, reason } => {
                self.trouble = Some(format!("{reason} ({filter})"));
            }
        }
        Ok(())
    }

    fn sent(&mut self, item: Item) -> Result<(), Error> {
        match item {
            Item::Order(id) => self.store.conclude(id, State::Sent, ""),
            Item::Keyring(blob) => self.store.keyring_published(&blob),
            Item::Notice(topic, payload) => self.store.notice_published(&topic, &payload),
            Item::Acknowledgement(device, through) => self.store.acknowledged(device, through),
            Item::Clearing(topic) => self.store.cleared(&topic),
            Item::Authority(_)
            | Item::KeySet(_)
            | Item::Answer(_)
            | Item::Listening(_)
            | Item::Echo => Ok(()),
        }
    }
}
