//! The simulated phone's control socket (docs/simulator.md), one question at a time. It passes on what people may do with their hands, and nothing that only drivers do.

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// Longest answer that is read, bytes: two seconds of sound are 256 KiB in base64, a panel's worst picture 1.4 MiB.
const LONGEST: u64 = 2 << 20;

/// The simulator answers at once; one that has hung is said to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// What hands can do to a phone, as the simulator's `set` requests name it.
const BY_HAND: [&str; 7] = [
    "position", "battery", "network", "mixer", "route", "touch", "key",
];

/// The simulated body.
#[derive(Clone, Debug)]
pub struct Body {
    socket: PathBuf,
}

impl Body {
    /// The body behind the control socket of a running `homing-sim`.
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Everything there is to see: the answer to `{"get":"world"}`.
    ///
    /// # Errors
    /// The system's; what the simulator objects to as [`io::ErrorKind::InvalidInput`].
    pub fn world(&self) -> io::Result<Value> {
        self.ask(&json!({"get": "world"}))
    }

    /// What sounded in the room from this many microseconds of the simulator's life on: the answer to `{"get":"sound"}`.
    ///
    /// # Errors
    /// As [`Self::world`].
    pub fn sound(&self, from_us: u64) -> io::Result<Value> {
        self.ask(&json!({"get": "sound", "from_us": from_us}))
    }

    /// What is seen on the panel now, as a PNG.
    ///
    /// # Errors
    /// As [`Self::world`].
    pub fn screen(&self) -> io::Result<Vec<u8>> {
        let told = self.ask(&json!({"get": "screen"}))?;
        let png = told["png"].as_str().unwrap_or_default();
        BASE64_STANDARD.decode(png).map_err(io::Error::other)
    }

    /// Changes the body as a person would.
    ///
    /// # Errors
    /// As [`Self::world`]; [`io::ErrorKind::PermissionDenied`] for anything that is not done by hand.
    pub fn set(&self, request: &Value) -> io::Result<Value> {
        let is_by_hand = request["set"]
            .as_str()
            .is_some_and(|set| BY_HAND.contains(&set));
        if is_by_hand {
            self.ask(request)
        } else {
            let sentence = format!("only these are done by hand: {}", BY_HAND.join(", "));
            Err(io::Error::new(io::ErrorKind::PermissionDenied, sentence))
        }
    }

    fn ask(&self, request: &Value) -> io::Result<Value> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        writeln!(stream, "{request}")?;
        let mut line = String::new();
        BufReader::new(stream.take(LONGEST)).read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line).map_err(io::Error::other)?;
        match answer["error"].as_str() {
            Some(sentence) => Err(io::Error::new(io::ErrorKind::InvalidInput, sentence)),
            None => Ok(answer),
        }
    }
}
