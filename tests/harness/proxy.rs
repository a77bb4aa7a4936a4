//! A TCP proxy that makes a network bad on purpose: cut, stalled, slow. It must not look at or change the bytes.

use homing_protocol::enrolment::Bundle;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What the network is like now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    /// Bytes pass.
    Open,
    /// Connections stay, nothing passes: a phone in a lift.
    Stalled,
    /// Connections stay, what is sent is gone for good: each half believes in the other.
    HalfOpen,
    /// New connections are closed at once: no route.
    Closed,
}

struct State {
    weather: Weather,
    delay: Duration,
    /// Bytes that one write carries at most.
    piece: usize,
    /// The next connections end after so many bytes each, in the middle of whatever it is.
    fuses: VecDeque<u64>,
    connections: Vec<TcpStream>,
    ended: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    target: SocketAddr,
    up: AtomicU64,
    down: AtomicU64,
    accepted: AtomicU64,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// Blocks while nothing may pass; `false` when the proxy has ended.
    fn wait_open(&self) -> bool {
        let mut state = self.state();
        while state.weather == Weather::Stalled && !state.ended {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        !state.ended
    }
}

/// A proxy on a free port of 127.0.0.1 before another port of it.
pub struct TcpProxy {
    shared: Arc<Shared>,
    port: u16,
    acceptor: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for TcpProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "TcpProxy(127.0.0.1:{} to {})",
            self.port, self.shared.target
        )
    }
}

impl TcpProxy {
    /// Stands before `127.0.0.1:target` and lets everything pass.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn start(target: u16) -> Self {
        Self::start_on(0, target)
    }

    /// The same on a port that clients already know.
    ///
    /// # Panics
    /// When that port is taken.
    #[must_use]
    pub fn start_on(port: u16, target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port))
            .unwrap_or_else(|error| panic!("no port {port} for the proxy: {error}"));
        let port = listener.local_addr().map_or(port, |address| address.port());
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                weather: Weather::Open,
                delay: Duration::ZERO,
                piece: usize::MAX,
                fuses: VecDeque::new(),
                connections: Vec::new(),
                ended: false,
            }),
            changed: Condvar::new(),
            target: ([127, 0, 0, 1], target).into(),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
        });
        let for_acceptor = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || accept(&listener, &for_acceptor));
        Self {
            shared,
            port,
            acceptor: Some(acceptor),
        }
    }

    /// The port clients use.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Rewrites a phone's bundle, as if the broker were reached through this proxy: from another network.
    ///
    /// # Panics
    /// When there is no bundle, or it cannot be written.
    #[track_caller]
    pub fn lead(&self, bundle: &Path) {
        let written = std::fs::read(bundle)
            .map_err(|error| error.to_string())
            .and_then(|bytes| Bundle::decode(&bytes).map_err(|error| error.to_string()))
            .and_then(|mut content| {
                content.broker = format!("mqtts://127.0.0.1:{}", self.port);
                std::fs::write(bundle, content.encode().as_slice())
                    .map_err(|error| error.to_string())
            });
        if let Err(error) = written {
            panic!("the bundle {}: {error}", bundle.display());
        }
    }

    /// Everything passes again.
    pub fn open(&self) {
        self.shared.change(|state| state.weather = Weather::Open);
    }

    /// Connections stay, nothing passes any more.
    pub fn stall(&self) {
        self.shared.change(|state| state.weather = Weather::Stalled);
    }

    /// Connections stay, and what is sent from now on never arrives; a later [`TcpProxy::open`] does not bring it back.
    pub fn half_open(&self) {
        self.shared
            .change(|state| state.weather = Weather::HalfOpen);
    }

    /// From now on every byte goes alone, in a packet of its own.
    pub fn trickle(&self) {
        self.shared.change(|state| state.piece = 1);
    }

    /// From now on bytes go together again.
    pub fn flow(&self) {
        self.shared.change(|state| state.piece = usize::MAX);
    }

    /// Closes every connection; the next ones end after so many bytes each, counted in both directions: within the
    /// handshake or within a message.
    pub fn cut_after(&self, bytes: &[u64]) {
        self.shared.change(|state| state.fuses.extend(bytes));
        self.cut();
    }

    /// Connections that are still to be cut by [`TcpProxy::cut_after`].
    #[must_use]
    pub fn cuts_left(&self) -> usize {
        self.shared.state().fuses.len()
    }

    /// Closes every connection and refuses new ones until [`TcpProxy::open`].
    pub fn close(&self) {
        self.shared.change(|state| state.weather = Weather::Closed);
        self.cut();
    }

    /// Closes every connection; new ones may come at once.
    pub fn cut(&self) {
        self.shared.change(|state| {
            for connection in state.connections.drain(..) {
                let _ = connection.shutdown(Shutdown::Both);
            }
        });
    }

    /// From now on each byte arrives this much later, in each direction.
    pub fn delay(&self, one_way: Duration) {
        self.shared.change(|state| state.delay = one_way);
    }

    /// Bytes passed so far from clients.
    #[must_use]
    pub fn bytes_up(&self) -> u64 {
        self.shared.up.load(Ordering::SeqCst)
    }

    /// Bytes passed so far to clients.
    #[must_use]
    pub fn bytes_down(&self) -> u64 {
        self.shared.down.load(Ordering::SeqCst)
    }

    /// Connections that clients have opened so far, refused ones included.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.shared.change(|state| state.ended = true);
        self.cut();
        // Wakes the acceptor, which then sees the end.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming().flatten() {
        let weather = {
            let state = shared.state();
            if state.ended {
                return;
            }
            state.weather
        };
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        if weather == Weather::Closed {
            continue;
        }
        let Ok(server) = TcpStream::connect(shared.target) else {
            continue;
        };
        if connect(client, server, shared).is_none() {
            return;
        }
    }
}

/// Two pumps for one connection; `None` when the sockets cannot be shared between threads.
fn connect(client: TcpStream, server: TcpStream, shared: &Arc<Shared>) -> Option<()> {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let copies = (client.try_clone().ok()?, server.try_clone().ok()?);
    let mut fuse = u64::MAX;
    shared.change(|state| {
        fuse = state.fuses.pop_front().unwrap_or(u64::MAX);
        // The weather may have turned since this connection was accepted: one that slipped through would outlive it.
        if state.weather == Weather::Closed || state.ended {
            let _ = (
                copies.0.shutdown(Shutdown::Both),
                copies.1.shutdown(Shutdown::Both),
            );
        } else {
            state.connections.extend([copies.0, copies.1]);
        }
    });
    let (client_out, server_out) = (client.try_clone().ok()?, server.try_clone().ok()?);
    let fuse = Arc::new(AtomicU64::new(fuse));
    let ends = (client.try_clone().ok()?, server.try_clone().ok()?);
    let up = Course {
        counter: |shared| &shared.up,
        fuse: Arc::clone(&fuse),
        source: ends.0,
    };
    let down = Course {
        counter: |shared| &shared.down,
        fuse,
        source: ends.1,
    };
    pump(client, server_out, shared, up);
    pump(server, client_out, shared, down);
    Some(())
}

/// What one direction of one connection needs to know besides its two ends.
struct Course {
    counter: fn(&Shared) -> &AtomicU64,
    /// Bytes that may still pass, in both directions together.
    fuse: Arc<AtomicU64>,
    /// Where the bytes come from: to be told when the fuse has blown.
    source: TcpStream,
}

/// One direction: a thread that reads and stamps, and one that writes when the time has come, so that a delay
/// does not lower the throughput.
fn pump(from: TcpStream, to: TcpStream, shared: &Arc<Shared>, course: Course) {
    let (sender, receiver) = channel();
    let (reading, writing) = (Arc::clone(shared), Arc::clone(shared));
    std::thread::spawn(move || read(from, &sender, &reading));
    std::thread::spawn(move || write(to, &receiver, &writing, &course));
}

fn read(mut from: TcpStream, into: &Sender<(Instant, Vec<u8>)>, shared: &Shared) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length) = from.read(&mut buffer) {
        let due = Instant::now() + shared.state().delay;
        if length == 0 || into.send((due, buffer[..length].to_vec())).is_err() {
            return;
        }
    }
}

fn write(mut to: TcpStream, from: &Receiver<(Instant, Vec<u8>)>, shared: &Shared, course: &Course) {
    while let Ok((due, bytes)) = from.recv() {
        while let Some(left) = due
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
        {
            std::thread::park_timeout(left);
        }
        if !shared.wait_open() || pass(&mut to, &bytes, shared, course).is_none() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// Writes what may pass; `None` when the connection is over.
fn pass(to: &mut TcpStream, bytes: &[u8], shared: &Shared, course: &Course) -> Option<()> {
    let (weather, piece) = {
        let state = shared.state();
        (state.weather, state.piece)
    };
    if weather == Weather::HalfOpen {
        return Some(());
    }
    let length = bytes.len() as u64;
    let spend = |left: u64| Some(left.saturating_sub(length));
    let left = course
        .fuse
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend)
        .unwrap_or(0);
    let passing = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    for piece in bytes[..passing].chunks(piece) {
        to.write_all(piece).ok()?;
    }
    (course.counter)(shared).fetch_add(passing as u64, Ordering::SeqCst);
    if left <= length {
        let _ = course.source.shutdown(Shutdown::Both);
        return None;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PATIENCE, wait_until};

    /// A server that sends back what it gets.
    fn echo() -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut reader = stream.try_clone().unwrap();
                    let _ = std::io::copy(&mut reader, &mut stream);
                });
            }
        });
        port
    }

    fn client(proxy: &TcpProxy) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn exchange(stream: &mut TcpStream) -> std::io::Result<[u8; 4]> {
        stream.write_all(b"ping")?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).map(|()| answer)
    }

    #[test]
    fn bytes_pass_and_are_counted() {
        let proxy = TcpProxy::start(echo());
        let mut stream = client(&proxy);
        assert_eq!(exchange(&mut stream).unwrap(), *b"ping");
        wait_until(PATIENCE, "the counters", || {
            ((proxy.bytes_up(), proxy.bytes_down()) == (4, 4)).then_some(())
        });
        assert_eq!(proxy.connections(), 1);
    }

    #[test]
    fn a_stalled_connection_stays_and_delivers_later() {
        let proxy = TcpProxy::start(echo());
        let mut stream = client(&proxy);
        exchange(&mut stream).unwrap();
        proxy.stall();
        stream
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let kind = exchange(&mut stream).unwrap_err().kind();
        assert!(matches!(
            kind,
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
        ));
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        proxy.open();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"ping");
    }

    #[test]
    fn a_closed_proxy_ends_connections_and_takes_none_until_opened() {
        let proxy = TcpProxy::start(echo());
        let mut stream = client(&proxy);
        exchange(&mut stream).unwrap();
        proxy.close();
        assert!(exchange(&mut stream).is_err());
        assert!(exchange(&mut client(&proxy)).is_err());
        proxy.open();
        assert!(exchange(&mut client(&proxy)).is_ok());
    }

    #[test]
    fn a_connection_is_cut_after_its_bytes_and_the_one_after_it_is_not() {
        let proxy = TcpProxy::start(echo());
        proxy.cut_after(&[6]);
        let mut stream = client(&proxy);
        assert!(
            exchange(&mut stream).is_err(),
            "two of four bytes came back"
        );
        assert_eq!(proxy.cuts_left(), 0);
        // Bytes are counted after they have passed: the answer may be back before the question is counted.
        wait_until(PATIENCE, "the counters", || {
            (proxy.bytes_up() + proxy.bytes_down() == 6).then_some(())
        });
        assert!(exchange(&mut client(&proxy)).is_ok());
    }

    #[test]
    fn what_is_sent_into_a_half_open_connection_never_arrives() {
        let proxy = TcpProxy::start(echo());
        let mut stream = client(&proxy);
        exchange(&mut stream).unwrap();
        proxy.half_open();
        stream.write_all(b"ping").unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        assert!(exchange(&mut stream).is_err());
        proxy.open();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(exchange(&mut stream).unwrap(), *b"ping");
        proxy.trickle();
        assert_eq!(exchange(&mut stream).unwrap(), *b"ping");
    }

    #[test]
    fn a_delay_counts_in_both_directions() {
        let proxy = TcpProxy::start(echo());
        let mut stream = client(&proxy);
        proxy.delay(Duration::from_millis(100));
        let before = Instant::now();
        exchange(&mut stream).unwrap();
        assert!(before.elapsed() >= Duration::from_millis(200));
    }
}
