//! Threads for hardware: each search for a position and the watch on the network block on a thread of their own. They must not touch the state; they send inputs to the brain.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use homing_hal::capability::network::{Network, NetworkEvent};
use homing_hal::{Cancel, Fault, HalSettings, Roots};
use homing_protocol::actor::Answer;
use homing_protocol::id::CommandId;
use homing_protocol::measure::Position;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::mpsc::UnboundedSender;

use crate::boottime;
use crate::folder::FolderWatch;

/// What a worker tells the brain.
#[derive(Clone, Debug)]
pub enum Input {
    /// A search ended.
    SearchEnded {
        /// For which command.
        command: CommandId,
        /// The position, or a sentence.
        found: Result<Position, String>,
    },
    /// A search for the movement history ended.
    TrackEnded {
        /// The position, or a sentence.
        found: Result<Position, String>,
    },
    /// A link, an address or a route changes.
    NetworkStirred,
    /// What changed has come to rest.
    NetworkSettled,
    /// The broker's name stands for this address.
    BrokerAt(IpAddr),
    /// The privileged half has answered a hand-over.
    ActorAnswered {
        /// Of which command.
        command: CommandId,
        /// The answer, or why there is none.
        answer: Result<Answer, String>,
    },
    /// The privileged half has begun or ended an episode of lost mode.
    ActorStirred,
    /// The siren's folder changed: its process may have said something.
    SirenChanged,
}

/// Starts a worker's thread, or says why not.
pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), String> {
    // Small stacks, because the agent must stay small: only D-Bus messages are read by recursion, and to a bounded depth.
    // Beside this place only a search starts threads, one for each source, and leaves behind those that do not end.
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(256 * 1024)
        .spawn(work)
        .map(drop)
        .map_err(|error| {
            tracing::error!("cannot start the {name} thread: {error}");
            format!("the phone cannot start a {name} now: {error}")
        })
}

/// Switches off, beside the loop, what a search of an agent that was killed has left on.
pub fn put_back_receivers(settings: HalSettings) {
    if !homing_hal::owes_receivers(&settings) {
        return;
    }
    let _ = spawn("put-back", move || {
        match homing_hal::put_back_receivers(&settings, &Roots::default()) {
            Ok(()) => tracing::info!("a receiver that a search had left on is as it was before"),
            Err(fault) => tracing::warn!(%fault, "a receiver may still be on"),
        }
    });
}

/// How long after its time a search for the movement history is taken to hang: its driver looks neither at its deadline
/// nor at our wish to end it.
const GRACE: Duration = Duration::from_secs(60);
/// How many searches may hang beside each other, each on a thread; with so many none is begun any more.
const MOST_HANGING: usize = 8;

/// One search through the drivers, as [`homing_hal::locate`].
type Look = fn(&HalSettings, Duration, &Cancel) -> Result<Position, Fault>;

fn look(settings: &HalSettings, longest: Duration, cancel: &Cancel) -> Result<Position, Fault> {
    let body = crate::geolocation::open(settings, &Roots::default());
    body.locate(longest, cancel).map(|fix| fix.position)
}

/// The search that is on, and the way to end it.
#[derive(Debug)]
pub struct Searcher {
    settings: HalSettings,
    inputs: UnboundedSender<Input>,
    running: Option<Cancel>,
    limit: Duration,
    purpose: Purpose,
    look: Look,
    /// When the one that is on began, since boot.
    begun: Duration,
    /// A copy lives in each thread that searches.
    alive: Arc<()>,
}

/// Who searches for positions; a test searches without a thread.
pub trait Search {
    /// From the next search on, with these drivers and this limit.
    fn configure(&mut self, settings: HalSettings, limit: Duration);
    /// Looks up the broker's name; [`Input::BrokerAt`] brings the answer, if there is one.
    fn look_up(&mut self, broker: (String, u16));
    /// Begins a search for an order and ends the one before, whatever it was for.
    fn search(&mut self, command: CommandId, longest: Duration);
    /// Begins a search for the movement history, unless one is on. The judge asks for none while an order searches.
    fn track(&mut self);
    /// A search for the movement history has ended by itself.
    fn track_ended(&mut self);
}

/// For whom the search is that is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// For an order, or for nobody: then none is on.
    Order(Option<CommandId>),
    /// For the movement history.
    Track,
}

impl Purpose {
    fn ended(self, found: Result<Position, String>) -> Input {
        match self {
            Self::Order(Some(command)) => Input::SearchEnded { command, found },
            Self::Order(None) | Self::Track => Input::TrackEnded { found },
        }
    }
}

impl Searcher {
    /// A searcher that is idle; no search takes longer than `limit`.
    #[must_use]
    pub fn new(settings: HalSettings, limit: Duration, inputs: UnboundedSender<Input>) -> Self {
        Self {
            settings,
            inputs,
            running: None,
            limit,
            purpose: Purpose::Order(None),
            look,
            begun: Duration::ZERO,
            alive: Arc::new(()),
        }
    }

    fn begin(&mut self, purpose: Purpose, longest: Duration) {
        self.cancel();
        self.purpose = purpose;
        if Arc::strong_count(&self.alive) > MOST_HANGING {
            let sentence = "the phone's receivers do not answer: too many searches hang";
            let _ = self.inputs.send(purpose.ended(Err(sentence.to_owned())));
            return;
        }
        let cancel = Cancel::new();
        self.running = Some(cancel.clone());
        let (look, alive) = (self.look, Arc::clone(&self.alive));
        let (settings, inputs, longest) = (
            self.settings.clone(),
            self.inputs.clone(),
            longest.min(self.limit),
        );
        let answers = inputs.clone();
        let started = spawn("search", move || {
            let found = match look(&settings, longest, &cancel) {
                Ok(position) => Ok(position),
                // Somebody newer took its place and answers.
                Err(Fault::Cancelled(_)) => return,
                Err(fault) => Err(fault.to_string()),
            };
            // The brain is gone only when the process ends.
            let _ = answers.send(purpose.ended(found));
            drop(alive);
        });
        if let Err(sentence) = started {
            // The order is answered all the same.
            let _ = inputs.send(purpose.ended(Err(sentence)));
        }
    }

    /// As [`Search::track`], at this time since boot. A search that hangs must not end the movement history for good.
    fn track_at(&mut self, now: Duration) {
        let hangs = now.saturating_sub(self.begun) > self.limit.saturating_add(GRACE);
        if self.purpose == Purpose::Track && !hangs {
            return;
        }
        if self.purpose == Purpose::Track {
            tracing::warn!("a search for the movement history hangs; another one is begun");
        }
        self.begun = now;
        self.begin(Purpose::Track, self.limit);
    }

    /// Ends the search that is on.
    fn cancel(&mut self) {
        if let Some(running) = self.running.take() {
            running.cancel();
        }
    }
}

impl Search for Searcher {
    fn configure(&mut self, settings: HalSettings, limit: Duration) {
        self.settings = settings;
        self.limit = limit;
    }

    fn look_up(&mut self, broker: (String, u16)) {
        look_up(broker, self.inputs.clone());
    }

    fn search(&mut self, command: CommandId, longest: Duration) {
        self.begin(Purpose::Order(Some(command)), longest);
    }

    fn track(&mut self) {
        self.track_at(boottime::now().unwrap_or_default());
    }

    fn track_ended(&mut self) {
        if self.purpose == Purpose::Track {
            self.purpose = Purpose::Order(None);
        }
    }
}

/// How long the network must be quiet to have come to rest: joining one is a link, an address, then routes.
const AT_REST: Duration = Duration::from_millis(500);
/// How many changes in a row are waited for: a network that never rests is looked at all the same.
const MOST_STIRS: usize = 16;

/// Watches the network until the process ends.
pub fn watch_network(mut network: Box<dyn Network>, inputs: UnboundedSender<Input>) {
    let _ = spawn("network", move || {
        let mut changed = |patience| {
            network
                .wait_for_change(patience, &Cancel::new())
                .map(|event| event == NetworkEvent::Changed)
        };
        loop {
            let stirred = changed(Duration::from_secs(24 * 3600)).and_then(|stirred| {
                if stirred && inputs.send(Input::NetworkStirred).is_ok() {
                    let mut stirs = 0;
                    while stirs < MOST_STIRS && changed(AT_REST)? {
                        stirs += 1;
                    }
                }
                Ok(stirred)
            });
            match stirred {
                Ok(false) => {}
                Ok(true) => {
                    if inputs.send(Input::NetworkSettled).is_err() {
                        return;
                    }
                }
                Err(fault) => {
                    tracing::warn!("changes of the network are not noticed: {fault}");
                    return;
                }
            }
        }
    });
}

/// Looks up the broker's name, beside the loop: a resolver that does not answer must not stop an order.
pub fn look_up(broker: (String, u16), inputs: UnboundedSender<Input>) {
    if let Ok(address) = broker.0.parse() {
        // The brain is gone only when the process ends.
        let _ = inputs.send(Input::BrokerAt(address));
        return;
    }
    tokio::spawn(async move {
        if let Ok(mut found) = tokio::net::lookup_host(broker).await
            && let Some(address) = found.next()
        {
            let _ = inputs.send(Input::BrokerAt(address.ip()));
        }
    });
}

/// Watches the siren's folder until the process ends.
pub fn watch_siren(watch: FolderWatch, inputs: UnboundedSender<Input>) {
    watch_folder("siren", watch, inputs, || Input::SirenChanged);
}

/// Watches what the privileged half shows of an episode until the process ends.
pub fn watch_notice(watch: FolderWatch, inputs: UnboundedSender<Input>) {
    watch_folder("privileged half", watch, inputs, || Input::ActorStirred);
}

fn watch_folder(
    whose: &'static str,
    watch: FolderWatch,
    inputs: UnboundedSender<Input>,
    changed: fn() -> Input,
) {
    let _ = spawn("folder-watch", move || {
        loop {
            let mut wanted = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
            match poll(&mut wanted, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return tracing::error!("the {whose} is not heard any more: {errno}"),
            }
            if let Err(error) = watch.drain() {
                return tracing::error!("the {whose} is not heard any more: {error}");
            }
            if inputs.send(changed()).is_err() {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A driver that looks neither at its deadline nor at our wish to end it.
    fn hang(_: &HalSettings, _: Duration, _: &Cancel) -> Result<Position, Fault> {
        loop {
            thread::park();
        }
    }

    #[test]
    fn a_search_for_the_movement_history_that_hangs_is_followed_by_others_up_to_a_bound() {
        let (inputs, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let limit = Duration::from_secs(90);
        let mut searcher = Searcher::new(HalSettings::default(), limit, inputs);
        searcher.look = hang;
        let threads = |searcher: &Searcher| Arc::strong_count(&searcher.alive) - 1;
        let mut now = Duration::from_secs(1_000);
        for _ in 0..3 {
            searcher.track_at(now);
        }
        assert_eq!(threads(&searcher), 1, "one at a time");
        searcher.track_at(now + limit);
        assert_eq!(threads(&searcher), 1, "it may still answer");
        for hanging in 2..=MOST_HANGING {
            now += limit + GRACE + Duration::from_secs(1);
            searcher.track_at(now);
            assert_eq!(threads(&searcher), hanging);
        }
        assert!(receiver.try_recv().is_err());
        now += limit + GRACE + Duration::from_secs(1);
        searcher.track_at(now);
        assert_eq!(threads(&searcher), MOST_HANGING);
        let refused = receiver.try_recv().unwrap();
        assert!(
            matches!(&refused, Input::TrackEnded { found: Err(why) } if why.contains("hang")),
            "{refused:?}"
        );
        // An order is answered too.
        searcher.search(CommandId([1; 16]), limit);
        let answered = receiver.try_recv().unwrap();
        assert!(matches!(answered, Input::SearchEnded { found: Err(_), .. }));
    }
}
