//! The simulated phone: a `homing-sim` process and its control socket. It must not know how the phone's own programs work.

use crate::wait::{PATIENCE, wait_until};
use crate::{Proc, ours};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A running `homing-sim`.
#[derive(Debug)]
pub struct Sim {
    _process: Proc,
    socket: PathBuf,
    nmea: u16,
}

impl Sim {
    /// Starts it with its socket and its log in `folder`, and its receiver on a free NMEA port.
    ///
    /// # Panics
    /// When it does not get ready.
    #[track_caller]
    #[must_use]
    pub fn start(folder: &Path) -> Self {
        let socket = folder.join("sim.sock");
        let mut command = Command::new(ours("homing-sim"));
        command
            .arg("--socket")
            .arg(&socket)
            .args(["--nmea", "0"])
            .stdin(Stdio::null());
        let mut process = Proc::start("homing-sim", folder, &mut command);
        process.wait_ready(PATIENCE, "its line {\"ready\":true,…}", |log| {
            ready_line(log).is_some()
        });
        let nmea = ready_line(&process.log())
            .and_then(|line| u16::try_from(line["nmea"].as_u64()?).ok())
            .unwrap_or_else(|| panic!("homing-sim named no NMEA port: {}", process.log()));
        Self {
            _process: process,
            socket,
            nmea,
        }
    }

    /// Its control socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The TCP port of 127.0.0.1 on which its receiver speaks NMEA 0183.
    #[must_use]
    pub fn nmea(&self) -> u16 {
        self.nmea
    }

    /// Sends one request (docs/simulator.md) and returns the answer.
    ///
    /// # Panics
    /// When the simulator refuses it or does not answer.
    #[track_caller]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers write the request in place"
    )]
    #[expect(
        clippy::must_use_candidate,
        reason = "most scenarios only need it to succeed"
    )]
    pub fn ask(&self, request: Value) -> Value {
        let answer = self
            .exchange(&request)
            .unwrap_or_else(|error| panic!("homing-sim did not answer {request}: {error}"));
        assert!(
            answer.get("error").is_none(),
            "homing-sim to {request}: {answer}"
        );
        answer
    }

    /// What is heard beside the phone now.
    ///
    /// # Panics
    /// As [`Sim::ask`].
    #[track_caller]
    #[must_use]
    pub fn siren(&self) -> Value {
        self.ask(json!({"get": "siren"}))
    }

    /// Waits until the siren is heard beside the phone, and returns what the simulator computed.
    ///
    /// # Panics
    /// When it stays silent for `deadline`.
    #[track_caller]
    #[expect(
        clippy::must_use_candidate,
        reason = "most scenarios only need it to succeed"
    )]
    pub fn wait_heard(&self, deadline: Duration) -> Value {
        wait_until(deadline, "the siren to be heard", || {
            Some(self.siren()).filter(|siren| siren["heard"] == true)
        })
    }

    /// Waits until nothing is heard.
    ///
    /// # Panics
    /// When it still sounds after `deadline`.
    #[track_caller]
    pub fn wait_silent(&self, deadline: Duration) {
        wait_until(deadline, "silence", || {
            (self.siren()["heard"] == false).then_some(())
        });
    }

    fn exchange(&self, request: &Value) -> std::io::Result<Value> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        writeln!(stream, "{request}")?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        serde_json::from_str(&line).map_err(std::io::Error::other)
    }
}

fn ready_line(log: &str) -> Option<Value> {
    log.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|line| line["ready"] == true)
}
