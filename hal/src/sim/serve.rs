//! The control socket of the simulated phone: one thread per connection, one world behind one lock. It belongs to the process `homing-sim` alone.

mod panel;

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};

use super::call::Call;
use super::card::{Mixer, Mute, Route};
use super::request::{Capability, Do, Get, How, Lock, PCM_LIMIT, Request};
use super::wire::{Inbox, to_samples};
use super::world::{Statement, World};
use crate::capability::attention::Pulse;

/// The simulated phone as its process shares it.
pub struct Simulator {
    world: Mutex<World>,
    /// Told whenever the world was changed from outside.
    changed: Condvar,
    /// The connection that holds the loudspeaker; 0 is nobody.
    holder: AtomicU64,
    connections: AtomicU64,
    began: Instant,
    began_unix_ms: i64,
}

impl Simulator {
    /// Takes a world that begins now.
    #[must_use]
    pub fn new(world: World, began: Instant) -> Arc<Self> {
        let unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Arc::new(Self {
            world: Mutex::new(world),
            changed: Condvar::new(),
            holder: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            began,
            began_unix_ms: i64::try_from(unix.as_millis()).unwrap_or(i64::MAX),
        })
    }

    /// The world, for one short look or change.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        // A thread that panicked left at worst an older world behind, which is still a world.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The wall-clock time of an epoch, milliseconds since 1970.
    pub(crate) fn unix_ms(&self, epoch: u64) -> i64 {
        self.began_unix_ms + i64::try_from(epoch).unwrap_or(0) * 1000
    }

    /// The receiver's epoch: whole seconds since the world began.
    pub(crate) fn epoch(&self, now: Instant) -> u64 {
        now.duration_since(self.began).as_secs()
    }

    /// How long until the receiver's next epoch.
    pub(crate) fn until_next_epoch(&self, now: Instant) -> Duration {
        let into = now.duration_since(self.began).subsec_nanos();
        Duration::from_nanos(1_000_000_000 - u64::from(into))
    }

    /// Binds the control socket, replacing a dead one, and serves it from a thread.
    ///
    /// # Errors
    /// The system's; `AddrInUse` when a living simulator answers there.
    pub fn serve(self: &Arc<Self>, path: &Path) -> io::Result<()> {
        if UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another simulator answers on this socket",
            ));
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        let simulator = Arc::clone(self);
        thread::Builder::new()
            .name("control".into())
            .spawn(move || {
                for stream in listener.incoming().flatten() {
                    let simulator = Arc::clone(&simulator);
                    let id = simulator.connections.fetch_add(1, Ordering::SeqCst) + 1;
                    let serve = move || Connection::new(simulator, id).run(stream);
                    if let Err(error) = thread::Builder::new().spawn(serve) {
                        tracing::warn!(%error, "no thread for a connection");
                    }
                }
            })?;
        Ok(())
    }
}

/// What went wrong, for the caller: a sentence, and the class for the drivers.
struct Trouble {
    sentence: String,
    how: Option<How>,
}

impl From<String> for Trouble {
    fn from(sentence: String) -> Self {
        Self {
            sentence,
            how: None,
        }
    }
}

fn trouble(how: How, sentence: &str) -> Trouble {
    Trouble {
        sentence: sentence.into(),
        how: Some(how),
    }
}

struct Connection {
    simulator: Arc<Simulator>,
    id: u64,
    inbox: Inbox,
    /// Since when this connection powers the receiver.
    receiver_on: Option<Instant>,
    /// The mixer as this connection found it when it took the loudspeaker.
    found: Option<Mixer>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.simulator.world().screen.forget(self.id);
        if self.found.is_some() {
            self.simulator.world().card.stop(Instant::now());
            self.simulator.holder.store(0, Ordering::SeqCst);
        }
    }
}

impl Connection {
    fn new(simulator: Arc<Simulator>, id: u64) -> Self {
        Self {
            simulator,
            id,
            inbox: Inbox::new(),
            receiver_on: None,
            found: None,
        }
    }

    fn run(mut self, mut stream: UnixStream) {
        if let Err(error) = self.converse(&mut stream) {
            tracing::debug!(%error, "a connection ended");
        }
    }

    fn converse(&mut self, stream: &mut UnixStream) -> io::Result<()> {
        loop {
            let line = match self.inbox.line() {
                Ok(Some(line)) => line,
                Ok(None) => match self.inbox.fill(stream)? {
                    true => continue,
                    false => return Ok(()),
                },
                Err(error) => {
                    // What follows cannot be told apart any more: say so and hang up.
                    return writeln!(stream, "{}", json!({"error": error.to_string()}));
                }
            };
            let answer = match self.answer(&line, stream) {
                Ok(answer) => answer,
                Err(Trouble {
                    sentence,
                    how: None,
                }) => json!({"error": sentence}),
                Err(Trouble { sentence, how }) => json!({"error": sentence, "fault": how}),
            };
            writeln!(stream, "{answer}")?;
        }
    }

    fn answer(&mut self, line: &str, stream: &mut impl Read) -> Result<Value, Trouble> {
        match Request::parse(line)? {
            Request::Set(set) => {
                self.simulator.world().set(set, Instant::now())?;
                self.simulator.changed.notify_all();
                Ok(json!({"ok": true}))
            }
            Request::Fail(fail) => {
                self.simulator.world().fail(fail);
                self.simulator.changed.notify_all();
                Ok(json!({"ok": true}))
            }
            Request::Get(get) => self.get(get),
            Request::Listen { from_us } => Ok(self.listen(from_us)),
            Request::Do(Do::Pcm { samples }) => self.pcm(samples, stream),
            Request::Do(Do::SirenOpen) => self.siren_open(),
            Request::Do(Do::AssertLoud) => self.assert_loud(),
            Request::Do(Do::SirenTakeOver { mixer }) => self.siren_take_over(mixer),
            Request::Do(Do::SirenPutBack { mixer }) => self.siren_put_back(mixer),
            Request::Do(Do::SirenRelease) => self.siren_release(),
            Request::Do(Do::Pulse { by, on }) => {
                let pulse = if on { Pulse::On } else { Pulse::Off };
                self.simulator.world().pulse(by, pulse);
                Ok(json!({"ok": true}))
            }
            Request::Screen { seen } => self.screen(seen),
            Request::Do(Do::PanelTake) => self.panel_take(),
            Request::Do(Do::PanelShow {
                width_px,
                height_px,
                text,
            }) => self.panel_show((width_px, height_px), text, stream),
            Request::Do(Do::PanelLight { percent }) => self.panel_light(percent),
            Request::Do(Do::PanelRelease) => self.panel_release(),
            Request::Do(Do::AwaitInput { seen, ms }) => {
                self.may_use(Capability::Panel)?;
                Ok(self.await_input(seen, Duration::from_millis(ms)))
            }
            Request::Do(Do::Lock) => {
                self.may_use(Capability::Lockdown)?;
                self.simulator.world().lock();
                self.simulator.changed.notify_all();
                Ok(json!({"ok": true}))
            }
            Request::Do(Do::Unlock) => {
                self.may_use(Capability::Lockdown)?;
                self.simulator.world().unlock();
                self.simulator.changed.notify_all();
                Ok(json!({"ok": true}))
            }
            Request::Do(Do::Dial { number }) => self.call(|call| call.dial(number)),
            Request::Do(Do::HangUp) => self.call(Call::hang_up),
            Request::Do(Do::Answer) => self.call(Call::answer),
            Request::Do(Do::AwaitCall { seen, ms }) => {
                self.may_use(Capability::Calls)?;
                Ok(self.await_call(seen, Duration::from_millis(ms)))
            }
            Request::Do(Do::AwaitNetwork { seen, ms }) => {
                self.may_use(Capability::Network)?;
                Ok(self.await_network(seen, Duration::from_millis(ms)))
            }
        }
    }

    /// Fails as somebody asked for, or waits as long as they asked for.
    fn may_use(&self, capability: Capability) -> Result<(), Trouble> {
        let fault = self.simulator.world().fault(capability);
        match fault {
            None | Some((How::None, _)) => Ok(()),
            Some((How::Slow, late)) => {
                thread::sleep(late);
                Ok(())
            }
            Some((how, _)) => Err(trouble(how, "it was told to fail")),
        }
    }

    fn get(&mut self, get: Get) -> Result<Value, Trouble> {
        let now = Instant::now();
        match get {
            Get::World => Ok(self.simulator.world().everything(now)),
            Get::Vibrator => Ok(self.simulator.world().everything(now)["vibrator"].clone()),
            Get::Torch => Ok(self.simulator.world().everything(now)["torch"].clone()),
            Get::Siren => Ok(json!(self.simulator.world().card.heard(now))),
            Get::Battery => {
                self.may_use(Capability::Battery)?;
                Ok(self.simulator.world().battery(now))
            }
            Get::Network => {
                self.may_use(Capability::Network)?;
                Ok(self.simulator.world().network())
            }
            Get::Identity => {
                self.may_use(Capability::Identity)?;
                Ok(self.simulator.world().identity())
            }
            Get::Session => {
                self.may_use(Capability::Lockdown)?;
                Ok(self.simulator.world().session())
            }
            Get::Calls => {
                self.may_use(Capability::Calls)?;
                Ok(json!(self.simulator.world().call))
            }
            Get::Panel => {
                self.may_use(Capability::Panel)?;
                Ok(json!({"panel": true}))
            }
            Get::Reading => {
                self.may_use(Capability::Position)?;
                Ok(self.reading())
            }
        }
    }

    fn listen(&self, from_us: u64) -> Value {
        let (now, began) = (Instant::now(), self.simulator.began);
        let since = |instant: Instant| {
            u64::try_from(instant.saturating_duration_since(began).as_micros()).unwrap_or(u64::MAX)
        };
        // A moment that has not come has nothing after it.
        let from = began + Duration::from_micros(from_us.min(since(now)));
        let room = self.simulator.world().card.room(from, now);
        let sound: Vec<Value> = room
            .iter()
            .map(|stretch| {
                let samples = stretch.samples.iter();
                let bytes: Vec<u8> = samples.flat_map(|sample| sample.to_le_bytes()).collect();
                json!({"at_us": since(stretch.plays), "pcm": BASE64_STANDARD.encode(bytes)})
            })
            .collect();
        let to_us = room.last().map_or(from_us, |last| since(last.ends()));
        json!({
            "now_us": since(now),
            "to_us": to_us,
            "sample_rate": super::card::SAMPLE_RATE,
            "sound": sound,
        })
    }

    fn reading(&mut self) -> Value {
        let now = Instant::now();
        let on = *self.receiver_on.get_or_insert(now);
        let statement = self.simulator.world().statement(on, now);
        let next = self.simulator.until_next_epoch(now);
        let told = |statement: Statement| {
            json!({
                "time_unix_ms": self.simulator.unix_ms(statement.epoch),
                "lat": statement.motion.place.latitude_deg,
                "lon": statement.motion.place.longitude_deg,
                "radius_m": statement.radius_m,
                "hdop": statement.hdop,
                "satellites": statement.satellites,
                "speed_m_s": statement.motion.speed_m_s,
                "course_deg": statement.motion.course_deg,
            })
        };
        json!({"reading": statement.map(told), "next_ms": next.subsec_millis()})
    }

    fn siren_open(&mut self) -> Result<Value, Trouble> {
        self.may_use(Capability::Siren)?;
        let taken =
            self.simulator
                .holder
                .compare_exchange(0, self.id, Ordering::SeqCst, Ordering::SeqCst);
        if taken.is_err() {
            return Err(trouble(How::Busy, "another stream holds the loudspeaker"));
        }
        let found = self.simulator.world().card.mixer();
        self.found = Some(found);
        Ok(json!({"sample_rate": super::card::SAMPLE_RATE, "mixer": found}))
    }

    fn siren_take_over(&mut self, mixer: Mixer) -> Result<Value, Trouble> {
        self.held()?;
        self.may_use(Capability::Siren)?;
        self.found = Some(mixer);
        Ok(json!({"ok": true}))
    }

    fn siren_put_back(&mut self, mixer: Mixer) -> Result<Value, Trouble> {
        // The mixer is nobody's but a siren's: a stream that plays is not in its way.
        let fault = self.simulator.world().fault(Capability::Siren);
        if !matches!(fault, Some((How::Busy, _))) {
            self.may_use(Capability::Siren)?;
        }
        if self.simulator.holder.load(Ordering::SeqCst) != 0 {
            return Err(trouble(How::Busy, "another siren has the card"));
        }
        self.simulator.world().card.set(Instant::now(), mixer);
        Ok(json!({"ok": true}))
    }

    fn held(&self) -> Result<Mixer, Trouble> {
        self.found.ok_or_else(|| {
            trouble(
                How::Broken,
                "this connection does not hold the loudspeaker: siren_open comes first",
            )
        })
    }

    fn pcm(&mut self, samples: u32, stream: &mut impl Read) -> Result<Value, Trouble> {
        if samples > PCM_LIMIT {
            return Err(Trouble::from(format!(
                "at most {PCM_LIMIT} samples at once"
            )));
        }
        let bytes = self.raw_bytes(samples as usize * 2, stream)?;
        self.held()?;
        self.may_use(Capability::Siren)?;
        let go_on = self
            .simulator
            .world()
            .card
            .write(Instant::now(), &to_samples(&bytes));
        thread::sleep(go_on.saturating_duration_since(Instant::now()));
        Ok(json!({"ok": true}))
    }

    /// So many raw bytes behind a line.
    fn raw_bytes(&mut self, length: usize, stream: &mut impl Read) -> Result<Vec<u8>, Trouble> {
        loop {
            if let Some(bytes) = self.inbox.raw(length) {
                return Ok(bytes);
            }
            match self.inbox.fill(stream) {
                Ok(true) => {}
                Ok(false) | Err(_) => {
                    return Err(trouble(How::Broken, "the raw bytes ended early"));
                }
            }
        }
    }

    fn assert_loud(&mut self) -> Result<Value, Trouble> {
        self.held()?;
        self.may_use(Capability::Siren)?;
        let loud = Mixer {
            volume: 100,
            mute: Mute::Off,
            route: Route::Speaker,
        };
        let mut world = self.simulator.world();
        world.card.set(Instant::now(), loud);
        Ok(match world.lock {
            Lock::Granted => json!({"unlocked": []}),
            Lock::Refused => json!({"unlocked": ["Speaker"]}),
        })
    }

    fn siren_release(&mut self) -> Result<Value, Trouble> {
        let found = self.held()?;
        self.found = None;
        let mut world = self.simulator.world();
        let now = Instant::now();
        world.card.stop(now);
        world.card.set(now, found);
        self.simulator.holder.store(0, Ordering::SeqCst);
        Ok(json!({"ok": true}))
    }

    /// A driver does something with the modem's call.
    fn call(&self, what: impl FnOnce(&mut Call)) -> Result<Value, Trouble> {
        self.may_use(Capability::Calls)?;
        what(&mut self.simulator.world().call);
        self.simulator.changed.notify_all();
        Ok(json!({"ok": true}))
    }

    fn await_call(&self, seen: u64, longest: Duration) -> Value {
        let world = self.simulator.world();
        let waited = self
            .simulator
            .changed
            .wait_timeout_while(world, longest, |world| world.call.version == seen);
        let (world, _) = waited.unwrap_or_else(PoisonError::into_inner);
        json!(world.call)
    }

    fn await_network(&self, seen: u64, longest: Duration) -> Value {
        let world = self.simulator.world();
        let waited = self
            .simulator
            .changed
            .wait_timeout_while(world, longest, |world| world.network_version() == seen);
        let (world, _) = waited.unwrap_or_else(PoisonError::into_inner);
        json!({"version": world.network_version()})
    }
}
