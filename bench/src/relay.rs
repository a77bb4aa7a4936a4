//! Stands between the phone's drivers and `homing-sim` and notes when the hardware was first spoken to. It must not change or hold back a byte.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;

/// The parts of the simulated hardware that orders reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hardware {
    /// The receiver was powered: a search begins.
    Receiver,
    /// The loudspeaker was opened: the siren begins.
    Loudspeaker,
}

/// What was noted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Note {
    /// The first request of a connection to it.
    Touched(Hardware, Instant),
    /// The connection to it has ended; when the hardware's last answer passed.
    Released(Hardware, Instant),
}

/// The relay; its threads end with the process.
#[derive(Debug)]
pub(crate) struct Relay {
    socket: PathBuf,
    notes: Receiver<Note>,
}

impl Relay {
    /// Listens in `folder` and passes everything on to the simulator at `target`.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub(crate) fn start(folder: &Path, target: &Path) -> Result<Self, Error> {
        let socket = folder.join("relay.sock");
        let listener = UnixListener::bind(&socket).map_err(|source| Error::Write {
            path: socket.clone(),
            source,
        })?;
        let (sender, notes) = channel();
        let target = target.to_owned();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if let Ok(server) = UnixStream::connect(&target) {
                    carry(client, server, &sender);
                }
            }
        });
        Ok(Self { socket, notes })
    }

    /// The socket to configure in the simulator's place.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Forgets everything noted so far.
    pub(crate) fn forget(&self) {
        while self.notes.try_recv().is_ok() {}
    }

    /// When this hardware was first touched since [`Relay::forget`]; waits for it at most `within`.
    ///
    /// # Errors
    /// [`Error::Late`].
    pub(crate) fn touched(&self, wanted: Hardware, within: Duration) -> Result<Instant, Error> {
        self.find(within, |note| match note {
            Note::Touched(hardware, at) if hardware == wanted => Some(at),
            Note::Touched(..) | Note::Released(..) => None,
        })
    }

    /// When this hardware gave its last answer before it was released; waits for that at most `within`.
    ///
    /// # Errors
    /// [`Error::Late`].
    pub(crate) fn released(&self, wanted: Hardware, within: Duration) -> Result<Instant, Error> {
        self.find(within, |note| match note {
            Note::Released(hardware, at) if hardware == wanted => Some(at),
            Note::Touched(..) | Note::Released(..) => None,
        })
    }

    fn find(
        &self,
        within: Duration,
        wanted: impl Fn(Note) -> Option<Instant>,
    ) -> Result<Instant, Error> {
        let end = Instant::now() + within;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.notes.recv_timeout(left) {
                Ok(note) => {
                    if let Some(at) = wanted(note) {
                        return Ok(at);
                    }
                }
                Err(_) => {
                    return Err(Error::Late {
                        what: "the order to reach the hardware",
                        seconds: within.as_secs(),
                    });
                }
            }
        }
    }
}

/// Two threads for one connection.
fn carry(client: UnixStream, server: UnixStream, notes: &Sender<Note>) {
    let (Ok(client_out), Ok(server_out)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    let answered = Arc::new(Mutex::new(Instant::now()));
    let (for_requests, notes) = (Arc::clone(&answered), notes.clone());
    thread::spawn(move || {
        let mut hardware = None;
        pump(client, server_out, |first, bytes| {
            if first {
                hardware = recognise(bytes);
                if let Some(hardware) = hardware {
                    // Nobody may be listening between two orders.
                    let _ = notes.send(Note::Touched(hardware, Instant::now()));
                }
            }
        });
        if let Some(hardware) = hardware {
            let at = *for_requests.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = notes.send(Note::Released(hardware, at));
        }
    });
    thread::spawn(move || {
        pump(server, client_out, |_, _| {
            *answered.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        });
    });
}

fn pump(mut from: UnixStream, mut to: UnixStream, mut see: impl FnMut(bool, &[u8])) {
    let mut buffer = [0; 64 * 1024];
    let mut first = true;
    while let Ok(length) = from.read(&mut buffer) {
        let bytes = &buffer[..length];
        if length == 0 {
            break;
        }
        see(first, bytes);
        first = false;
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// What a connection's first request (docs/simulator.md) is for.
fn recognise(bytes: &[u8]) -> Option<Hardware> {
    let line = bytes.split(|byte| *byte == b'\n').next()?;
    let request: serde_json::Value = serde_json::from_slice(line).ok()?;
    if request["get"] == "reading" {
        Some(Hardware::Receiver)
    } else if request["do"] == "siren_open" {
        Some(Hardware::Loudspeaker)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use e2e::{PATIENCE, Scratch, Sim};
    use std::io::{BufRead, BufReader};

    #[test]
    fn a_search_through_the_relay_is_noted_and_answered_by_the_simulator() {
        let scratch = Scratch::new();
        let sim = Sim::start(&scratch.folder("sim"));
        let relay = Relay::start(scratch.path(), sim.socket()).unwrap();
        let mut stream = UnixStream::connect(relay.socket()).unwrap();
        let before = Instant::now();
        stream.write_all(b"{\"get\":\"reading\"}\n").unwrap();
        let mut answer = String::new();
        BufReader::new(&stream).read_line(&mut answer).unwrap();
        assert!(answer.contains("next_ms"), "{answer}");
        drop(stream);
        let touched = relay.touched(Hardware::Receiver, PATIENCE).unwrap();
        let released = relay.released(Hardware::Receiver, PATIENCE).unwrap();
        assert!(before <= touched && touched <= released);
    }

    #[test]
    fn a_question_about_the_battery_is_no_effect() {
        assert_eq!(recognise(b"{\"get\":\"battery\"}\n"), None);
        assert_eq!(
            recognise(b"{\"do\":\"siren_open\"}\n"),
            Some(Hardware::Loudspeaker)
        );
    }
}
