//! The things the tests talk to: a simulated phone, a real gpsd, a fake one. Each ends when it is dropped.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use homing_hal::conformance::eventually;
use serde_json::Value;
use tempfile::TempDir;

use crate::port::free_port;

/// How long a peer may be silent before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process that is killed and reaped on drop.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running `homing-sim`.
pub(crate) struct Phone {
    pub(crate) process: Process,
    pub(crate) socket: PathBuf,
    pub(crate) nmea: u16,
    control: BufReader<UnixStream>,
    _folder: TempDir,
}

impl Phone {
    /// Starts one at a place with its receiver served.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("sim.sock");
        let mut child = Command::new(env!("CARGO_BIN_EXE_homing-sim"))
            .arg("--socket")
            .arg(&socket)
            .args(["--nmea", "0", "--seed", "7", "--place", "52.5,13.4"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        Self {
            process: Process(child),
            nmea: u16::try_from(ready["nmea"].as_u64().unwrap()).unwrap(),
            control: connect(&socket),
            socket,
            _folder: folder,
        }
    }

    /// One request line and its answer.
    pub(crate) fn ask(&mut self, line: &str) -> Value {
        writeln!(self.control.get_mut(), "{line}").unwrap();
        let mut answer = String::new();
        self.control.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    /// A request that has to be done.
    pub(crate) fn order(&mut self, line: &str) {
        assert_eq!(self.ask(line)["ok"], true, "{line}");
    }
}

fn connect(socket: &Path) -> BufReader<UnixStream> {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

/// A real gpsd on a free port, or `None` (said aloud) where none is installed.
pub(crate) struct Gpsd {
    _process: Process,
    pub(crate) address: SocketAddr,
}

impl Gpsd {
    pub(crate) fn start(nmea: u16) -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = std::env::split_paths(&path)
            .chain(["/usr/sbin".into()])
            .map(|folder| folder.join("gpsd"))
            .find(|program| program.exists());
        let Some(program) = program else {
            eprintln!(
                "SKIPPED: no gpsd in PATH nor in /usr/sbin, nothing was tested against the real one"
            );
            return None;
        };
        let port = free_port();
        let child = Command::new(program)
            .args(["-N", "-n", "-S", &port.to_string()])
            .arg(format!("tcp://127.0.0.1:{nmea}"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let process = Process(child);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        eventually("gpsd listens", || TcpStream::connect(address).is_ok());
        Some(Self {
            _process: process,
            address,
        })
    }
}

/// A gpsd that does what a test says with each connection, and remembers what it was told.
pub(crate) struct FakeGpsd {
    pub(crate) address: SocketAddr,
    lines: Receiver<String>,
    heard: Vec<String>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FakeGpsd {
    /// `each` gets the stream and the connection's number, from 0 on.
    pub(crate) fn start(each: impl Fn(&mut TcpStream, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (log, lines) = channel();
        let ends = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&ends);
        let thread = thread::spawn(move || {
            let mut watchers = 0;
            for mut stream in listener.incoming().flatten() {
                if ending.load(Ordering::SeqCst) {
                    return;
                }
                // A client that went away at once is fine.
                let _ = writeln!(stream, r#"{{"class":"VERSION","release":"fake"}}"#);
                let mut requests = BufReader::new(stream.try_clone().unwrap());
                let mut first = String::new();
                // A probe sends nothing and hangs up.
                if requests.read_line(&mut first).unwrap_or(0) == 0 {
                    continue;
                }
                let _ = log.send(first);
                each(&mut stream, watchers);
                watchers += 1;
                let _ = stream.shutdown(std::net::Shutdown::Write);
                for line in requests.lines().map_while(Result::ok) {
                    let _ = log.send(line);
                }
            }
        });
        Self {
            address,
            lines,
            heard: Vec::new(),
            ends,
            thread: Some(thread),
        }
    }

    /// Every line that clients sent so far.
    pub(crate) fn heard(&mut self) -> &[String] {
        self.heard.extend(self.lines.try_iter());
        &self.heard
    }
}

impl Drop for FakeGpsd {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
