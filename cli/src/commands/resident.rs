//! How a client stays: turns the exchange for ever, prints news, tells a service manager the truth, outlasts a full disk and a machine that sleeps. Decides nothing about orders.
use super::device::tell_trouble;
use super::watch::Line;
use super::{Context, waiting};
use crate::clock::UnixMs;
use crate::error::Error;
use crate::exchange::{Acceptance, Exchange, Stay};
use crate::file::{self, Access};
use crate::slept::Sleep;
use crate::store::Store;
use crate::supervisor::{self, Ending, Told};
use homing_link::MqttLink;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

/// How often what is not urgent is done: old positions go, the state is looked for.
const CHORES: Duration = Duration::from_secs(60);

/// How long after a fault that may pass everything is begun anew; a broker that could not be answered brings it all again.
const PAUSE: Duration = Duration::from_secs(10);

/// Longest time until the manager is told that the work has begun, should the first attempt to connect hang.
const READY_AT_LAST: Duration = Duration::from_secs(40);

/// The file that one resident client of an account holds locked.
pub(crate) fn lock_path(home: &Path) -> PathBuf {
    home.join("watch.lock")
}

/// What the resident client says of itself, for `homing watch --status`. True as long as the lock is held.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Its process.
    pub(crate) process: u32,
    /// Since when it runs, milliseconds since 1970.
    pub(crate) since_ms: i64,
    /// Since when it is connected, if it is.
    pub(crate) connected_ms: Option<i64>,
    /// Why it is not, if it is known.
    pub(crate) trouble: Option<String>,
}

impl Report {
    fn path(home: &Path) -> PathBuf {
        home.join("watch.json")
    }

    /// What was said last; `None` when nobody has said anything that can be read.
    pub(crate) fn read(home: &Path) -> Option<Self> {
        let text = file::read_text(&Self::path(home)).ok()?;
        serde_json::from_str(&text).ok()
    }

    fn write(&self, home: &Path) {
        // It is only shown: a disk that is full must not end the watch.
        if let Ok(text) = serde_json::to_vec(self) {
            let _ = file::replace(&Self::path(home), &text, Access::Private);
        }
    }
}

/// A client that stays.
pub(crate) struct Resident<'a> {
    context: &'a Context,
    stay: Stay,
    /// The newest piece of news that was printed.
    from: i64,
    trouble: Option<String>,
    told: Told,
    report: Report,
    began: Instant,
    chores_at: Instant,
    alive_at: Instant,
}

/// Why a stay is over.
enum Left {
    /// Somebody asked for it.
    Asked,
    /// A fault that may pass.
    Paused(Error),
}

impl<'a> Resident<'a> {
    /// One that prints what is newer than `from`.
    pub(crate) fn new(context: &'a Context, stay: Stay, from: i64) -> Self {
        let now = Instant::now();
        Self {
            context,
            stay,
            from,
            trouble: None,
            told: Told::default(),
            report: Report {
                process: std::process::id(),
                since_ms: UnixMs::now().0,
                connected_ms: None,
                trouble: None,
            },
            began: now,
            chores_at: now,
            alive_at: now,
        }
    }

    /// Stays until a signal ends it.
    pub(crate) fn stay(
        mut self,
        store: Store,
        acceptance: Acceptance,
        wanted: impl Fn(&Line) -> bool,
    ) -> Result<(), Error> {
        waiting(async {
            let ending = Ending::install()?;
            self.show();
            let (mut store, mut acceptance) = (store, acceptance);
            loop {
                let mut exchange = Exchange::start(store, self.stay, acceptance)?;
                let left = self
                    .turn_until_left(&mut exchange, &ending, &wanted)
                    .await?;
                let Left::Paused(error) = left else {
                    self.told.ending();
                    return exchange.close().await;
                };
                let home = exchange.store.home().to_owned();
                let unlocked = exchange.into_unlocked().1;
                self.complain(&error);
                acceptance = unlocked.map_or(Acceptance::Locked, |account| {
                    Acceptance::All(Box::new(account))
                });
                let Some(opened) = self.open_again(&home, &ending).await? else {
                    self.told.ending();
                    return Ok(());
                };
                store = opened;
            }
        })
    }

    async fn turn_until_left(
        &mut self,
        exchange: &mut Exchange<MqttLink>,
        ending: &Ending,
        wanted: &impl Fn(&Line) -> bool,
    ) -> Result<Left, Error> {
        let mut sleep = Sleep::watch()?;
        loop {
            let until = Instant::now() + Duration::from_secs(1);
            let turned = tokio::select! {
                asked = ending.asked() => return asked.map(|()| Left::Asked),
                turned = exchange.turn(until) => turned,
            };
            let done = turned
                .and_then(|()| self.tell_news(exchange, wanted))
                .and_then(|()| self.do_chores(exchange));
            match done {
                Err(error) if error.may_pass() => return Ok(Left::Paused(error)),
                other => other?,
            }
            if sleep.is_over()? {
                exchange.reconnect();
                self.chores_at = Instant::now();
            }
            self.tell_standing(exchange);
            self.beat();
        }
    }

    fn tell_news(
        &mut self,
        exchange: &Exchange<MqttLink>,
        wanted: &impl Fn(&Line) -> bool,
    ) -> Result<(), Error> {
        for news in exchange.store.news_after(self.from)? {
            self.from = news.id;
            let at = news.at;
            let line = Line::of(&exchange.store, news)?;
            if wanted(&line) {
                self.context.out.both(&line.text(at), &line)?;
            }
        }
        Ok(())
    }

    fn do_chores(&mut self, exchange: &Exchange<MqttLink>) -> Result<(), Error> {
        if Instant::now() < self.chores_at {
            return Ok(());
        }
        self.chores_at = Instant::now() + CHORES;
        exchange.store.still_in_place()?;
        exchange.store.forget_old_positions(UnixMs::now())
    }

    /// Tells person and manager how it stands with the broker, each change once.
    fn tell_standing(&mut self, exchange: &mut Exchange<MqttLink>) {
        tell_trouble(self.context, exchange, &mut self.trouble);
        let connected = exchange.is_connected();
        let trouble = exchange.trouble().map(str::to_owned);
        if connected != self.report.connected_ms.is_some() || trouble != self.report.trouble {
            let since = self.report.connected_ms.unwrap_or(UnixMs::now().0);
            let is_new = self.report.connected_ms.is_none();
            self.report.connected_ms = connected.then_some(since);
            self.report.trouble.clone_from(&trouble);
            if connected && is_new {
                let broker = &exchange.account().broker;
                self.context.out.progress(&format!("connected to {broker}"));
            }
            self.show();
        }
        match (&trouble, connected) {
            (_, true) => self
                .told
                .doing(&format!("connected to {}", exchange.account().broker)),
            (Some(trouble), false) => self.told.doing(&format!("not connected: {trouble}")),
            (None, false) => self.told.doing("connecting"),
        }
        if connected || trouble.is_some() || self.began.elapsed() >= READY_AT_LAST {
            self.told.ready();
        }
    }

    fn show(&self) {
        if self.stay == Stay::Resident {
            self.report.write(&self.context.home);
        }
    }

    /// The heartbeat comes from here alone: a loop that hangs is restarted.
    fn beat(&mut self) {
        if Instant::now() >= self.alive_at {
            supervisor::alive();
            self.alive_at = Instant::now() + supervisor::watchdog().unwrap_or(CHORES);
        }
    }

    fn complain(&mut self, error: &Error) {
        let sentence = format!("{error}; trying again");
        if self.trouble.as_ref() != Some(&sentence) {
            self.context.out.warn(&sentence);
        }
        self.told.doing(&sentence);
        self.told.ready();
        self.report.connected_ms = None;
        self.report.trouble = Some(sentence.clone());
        self.trouble = Some(sentence);
        self.show();
    }

    /// Opens the state again after a pause, as often as it takes; `None` when somebody asks for the end.
    async fn open_again(&mut self, home: &Path, ending: &Ending) -> Result<Option<Store>, Error> {
        loop {
            let until = Instant::now() + PAUSE;
            while Instant::now() < until {
                let second = Instant::now() + Duration::from_secs(1);
                if tokio::time::timeout_at(second, ending.asked())
                    .await
                    .is_ok()
                {
                    return Ok(None);
                }
                self.beat();
            }
            match Store::open(home) {
                Err(error) if error.may_pass() => self.complain(&error),
                other => return other.map(Some),
            }
        }
    }
}
