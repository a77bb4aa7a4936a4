//! Somebody at the broker who should not be: mosquitto's own clients, with whatever papers they have got hold of. An implementation of MQTT and TLS that is not ours.

use crate::wait::{PATIENCE, wait_until};
use crate::{Proc, foreign};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A TLS identity as files: whose certificate it is decides what the broker allows.
#[derive(Clone, Debug)]
pub struct Papers {
    /// The authority that signed the broker's certificate, PEM.
    pub authority: PathBuf,
    /// The client's certificate and its key, PEM; `None` for an anonymous client.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// A message as the broker delivered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its topic.
    pub topic: String,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// A client with mosquitto's own tools.
#[derive(Clone, Debug)]
pub struct Intruder {
    logs: PathBuf,
    port: u16,
    papers: Option<Papers>,
    client_id: Option<String>,
}

impl Intruder {
    /// Without TLS, for the second listener of [`crate::Broker::turn_hostile`]. `logs` takes what its tools print.
    #[must_use]
    pub fn plain(logs: &Path, port: u16) -> Self {
        Self {
            logs: logs.to_path_buf(),
            port,
            papers: None,
            client_id: None,
        }
    }

    /// Over TLS with these papers.
    #[must_use]
    pub fn with_papers(logs: &Path, port: u16, papers: Papers) -> Self {
        Self {
            papers: Some(papers),
            ..Self::plain(logs, port)
        }
    }

    /// The same under this MQTT client id.
    #[must_use]
    pub fn named(self, client_id: &str) -> Self {
        Self {
            client_id: Some(client_id.to_owned()),
            ..self
        }
    }

    /// Publishes with QoS 1 and waits for the broker's answer.
    ///
    /// # Errors
    /// What mosquitto_pub said: refused at TLS, at CONNECT, or by the ACL.
    ///
    /// # Panics
    /// When the tool cannot be run.
    pub fn publish(&self, topic: &str, payload: &[u8]) -> Result<(), String> {
        self.send(topic, payload, &[])
    }

    /// The same, retained.
    ///
    /// # Errors
    /// As [`Intruder::publish`].
    ///
    /// # Panics
    /// When the tool cannot be run.
    pub fn publish_retained(&self, topic: &str, payload: &[u8]) -> Result<(), String> {
        self.send(topic, payload, &["--retain"])
    }

    /// The same message so many times over one connection.
    ///
    /// # Errors
    /// As [`Intruder::publish`].
    ///
    /// # Panics
    /// When the tool cannot be run.
    pub fn publish_times(&self, topic: &str, payload: &[u8], times: u32) -> Result<(), String> {
        self.send(topic, payload, &["--repeat", &times.to_string()])
    }

    fn send(&self, topic: &str, payload: &[u8], more: &[&str]) -> Result<(), String> {
        let mut command = self.tool("mosquitto_pub");
        command.args(["-t", topic, "-q", "1", "-s"]).args(more);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("could not start mosquitto_pub: {error}"));
        if let Some(mut input) = child.stdin.take() {
            // It closes its input early when the connection is refused; its exit status tells.
            let _ = input.write_all(payload);
        }
        let output = child
            .wait_with_output()
            .unwrap_or_else(|error| panic!("mosquitto_pub: {error}"));
        verdict(&output)
    }

    /// Subscribes with QoS 1 and waits until the broker has answered, also when it refused.
    ///
    /// # Panics
    /// When no connection comes about; see [`Intruder::try_connect`] for that question.
    #[track_caller]
    #[must_use]
    pub fn listen(&self, topics: &[&str]) -> Wiretap {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("mosquitto_sub-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        // Into a file it would keep its lines until it has many: stdbuf makes it print each at once.
        let mut command = Command::new(foreign("stdbuf"));
        command.arg("-oL").arg(foreign("mosquitto_sub"));
        self.introduce(&mut command);
        // -d prints the SUBACK, which tells when messages can no longer be missed. It also writes a line per
        // packet, which never starts with a slash.
        command
            .args(["-d", "-q", "1", "-F", "/%t %x"])
            .stdin(Stdio::null());
        for topic in topics {
            command.args(["-t", topic]);
        }
        let mut process = Proc::start(&name, &self.logs, &mut command);
        process.wait_for_output(PATIENCE, "Subscribed (mid: ");
        Wiretap { process }
    }

    /// Connects, and leaves again.
    ///
    /// # Errors
    /// What mosquitto_sub said: refused at TLS or at CONNECT.
    ///
    /// # Panics
    /// When the tool cannot be run.
    pub fn try_connect(&self) -> Result<(), String> {
        let output = self
            .tool("mosquitto_sub")
            .args(["-t", "nothing/to/be/heard", "-E", "-W", "10"])
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("could not start mosquitto_sub: {error}"));
        verdict(&output)
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(foreign(name));
        self.introduce(&mut command);
        command
    }

    /// Adds where the broker is and who this is.
    fn introduce(&self, command: &mut Command) {
        let port = self.port.to_string();
        command.args(["-h", "127.0.0.1", "-p", &port, "-V", "mqttv5"]);
        if let Some(client_id) = &self.client_id {
            command.args(["-i", client_id]);
        }
        if let Some(papers) = &self.papers {
            command.arg("--cafile").arg(&papers.authority);
            if let Some((certificate, key)) = &papers.certificate {
                command.arg("--cert").arg(certificate).arg("--key").arg(key);
            }
        }
    }
}

/// mosquitto_pub of Debian 12 ends well although the ACL refused (reason 135 in the PUBACK); only its words tell.
fn verdict(output: &Output) -> Result<(), String> {
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let refused = [
        "Not authorized",
        "not authorized",
        "refused",
        "failed",
        "Error",
        "error",
    ];
    if output.status.success() && !refused.iter().any(|word| words.contains(word)) {
        return Ok(());
    }
    Err(format!("{}: {words}", output.status))
}

/// A running subscription; it ends when dropped.
#[derive(Debug)]
pub struct Wiretap {
    process: Proc,
}

impl Wiretap {
    /// Everything heard so far, in order.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        self.process
            .log()
            .split_inclusive('\n')
            .filter_map(parse)
            .collect()
    }

    /// Waits for a message.
    ///
    /// # Panics
    /// After `deadline`, naming `what` was waited for.
    #[track_caller]
    pub fn wait_for(
        &mut self,
        deadline: Duration,
        what: &str,
        wanted: impl Fn(&Message) -> bool,
    ) -> Message {
        wait_until(deadline, what, || {
            self.messages().into_iter().find(|message| wanted(message))
        })
    }
}

/// `/TOPIC HEX` and a line feed; a line that is still being written has none.
fn parse(line: &str) -> Option<Message> {
    let (topic, hex) = line
        .strip_prefix('/')?
        .strip_suffix('\n')?
        .rsplit_once(' ')?;
    let payload = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok())
        .collect::<Option<Vec<u8>>>()?;
    Some(Message {
        topic: topic.to_owned(),
        payload,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_with_a_message_are_read() {
        let message = parse("/a/b 00ff\n").unwrap();
        assert_eq!(
            (message.topic.as_str(), message.payload),
            ("a/b", vec![0, 255])
        );
        assert_eq!(parse("/a/b \n").unwrap().payload, Vec::<u8>::new());
        for line in [
            "/a/b 00f",
            "/a/b 00f\n",
            "Client sending CONNECT\n",
            "/a/b zz\n",
        ] {
            assert_eq!(parse(line), None, "{line:?}");
        }
    }
}
