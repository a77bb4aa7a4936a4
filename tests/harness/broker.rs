//! A real mosquitto, run from the folder that `homing init` wrote. It replaces nothing in the shipped configuration but the port and the user it runs as.

use crate::wait::{PATIENCE, wait_until};
use crate::{Proc, foreign, free_port};
use nix::sys::signal::Signal;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A broker that can be killed, emptied and started again.
#[derive(Debug)]
pub struct Broker {
    folder: PathBuf,
    shipped: String,
    port: u16,
    tap: Option<u16>,
    process: Option<Proc>,
}

impl Broker {
    /// Starts a broker from a folder with `mosquitto.conf` (as `homing init` writes it), on the port it names.
    ///
    /// # Panics
    /// When there is no such file, it names no port, or the broker does not come up.
    #[track_caller]
    #[must_use]
    pub fn start(folder: &Path) -> Self {
        let shipped = read(&folder.join("mosquitto.conf"));
        let port = listener_port(&shipped)
            .unwrap_or_else(|| panic!("{} names no listener", folder.display()));
        Self::start_on(folder, port)
    }

    /// The same on another port, so that a proxy can stand on the one that clients know.
    ///
    /// # Panics
    /// As [`Broker::start`].
    #[track_caller]
    #[must_use]
    pub fn start_on(folder: &Path, port: u16) -> Self {
        let shipped = read(&folder.join("mosquitto.conf"));
        let mut broker = Self {
            folder: folder.to_path_buf(),
            shipped,
            port,
            tap: None,
            process: None,
        };
        broker.restart();
        broker
    }

    /// The port of its TLS listener.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// SIGKILL: what it had not written is lost.
    pub fn kill9(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill9();
        }
    }

    /// SIGTERM, and waits: it writes its database.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.terminate(PATIENCE);
        }
    }

    /// Deletes its database: sessions, queues and retained messages are gone.
    ///
    /// # Panics
    /// When it runs, or the files cannot be removed.
    #[track_caller]
    pub fn delete_database(&mut self) {
        assert!(
            self.process.is_none(),
            "a running broker would write its database again"
        );
        let data = self
            .setting("persistence_location")
            .unwrap_or_else(|| self.folder.clone());
        for entry in std::fs::read_dir(&data).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.to_string_lossy().starts_with("mosquitto.db") {
                std::fs::remove_file(entry.path())
                    .unwrap_or_else(|error| panic!("could not remove {name:?}: {error}"));
            }
        }
    }

    /// Starts it again (after [`Broker::kill9`] or [`Broker::stop`]) on the same port, and waits until it listens.
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn restart(&mut self) {
        self.stop();
        let configuration = self.folder.join("running.conf");
        std::fs::write(&configuration, self.configuration())
            .unwrap_or_else(|error| panic!("could not write {}: {error}", configuration.display()));
        let mut command = Command::new(foreign("mosquitto"));
        command.arg("-c").arg(&configuration).stdin(Stdio::null());
        let mut process = Proc::start("mosquitto", &self.folder, &mut command);
        for port in std::iter::once(self.port).chain(self.tap) {
            let what = format!("the broker to listen on port {port}");
            wait_until(PATIENCE, &what, || {
                assert!(
                    process.ended().is_none(),
                    "the broker ended at once:\n{}",
                    process.log()
                );
                TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), Duration::from_secs(1))
                    .ok()
            });
        }
        self.process = Some(process);
    }

    /// SIGHUP: it reads the ACL and the revocation list again, as after `homing device revoke`. Who comes afterwards is
    /// judged by them.
    ///
    /// # Panics
    /// When it does not say that it does.
    #[track_caller]
    pub fn reload(&self) {
        if let Some(process) = &self.process {
            // It says so and does it before it looks at any client again.
            let reloads = || process.log().matches("Reloading config.").count();
            let before = reloads();
            process.signal(Signal::SIGHUP);
            wait_until(PATIENCE, "the broker to read its files again", || {
                (reloads() > before).then_some(())
            });
        }
    }

    /// The broker falls into wrong hands: restarts it with a second listener on 127.0.0.1, plain and without any
    /// ACL, through which everything can be read and anything published. Returns its port.
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn turn_hostile(&mut self) -> u16 {
        let port = free_port();
        self.tap = Some(port);
        self.restart();
        port
    }

    /// What it has logged since the first start.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.as_ref().map(Proc::log).unwrap_or_default()
    }

    fn setting(&self, key: &str) -> Option<PathBuf> {
        setting(&self.shipped, key).map(PathBuf::from)
    }

    /// The shipped text with this port. As root, mosquitto would become the user `mosquitto`, who may not read a
    /// test's folder: it stays who it is.
    fn configuration(&self) -> String {
        let mut lines: Vec<String> = self
            .shipped
            .lines()
            .map(|line| match listener_port(line) {
                Some(port) => line.replacen(&port.to_string(), &self.port.to_string(), 1),
                None => line.to_owned(),
            })
            .collect();
        if nix::unistd::Uid::effective().is_root() && !lines.iter().any(|line| line == "user root")
        {
            lines.insert(0, "user root".to_owned());
        }
        if let Some(tap) = self.tap {
            // With settings per listener, those that stood above the first listener go below it: left there they
            // would open mosquitto's default listener on port 1883, which two tests at once cannot both have.
            lines.retain(|line| {
                !line.starts_with("per_listener_settings")
                    && !line.starts_with("allow_anonymous")
                    && !line.starts_with("allow_zero_length_clientid")
                    // Nobody keeps a hostile broker from holding as much as it likes for a phone that is slow.
                    && !line.starts_with("max_queued_")
            });
            lines.push("max_queued_messages 0\nmax_queued_bytes 0".to_owned());
            let first = lines.iter().position(|line| listener_port(line).is_some());
            lines.insert(
                first.map_or(lines.len(), |at| at + 1),
                "allow_anonymous false\nallow_zero_length_clientid false".to_owned(),
            );
            lines.insert(0, "per_listener_settings true".to_owned());
            lines.push(format!("listener {tap} 127.0.0.1\nallow_anonymous true"));
        }
        lines.join("\n") + "\n"
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("could not read {}: {error}", path.display()))
}

fn setting<'a>(configuration: &'a str, key: &str) -> Option<&'a str> {
    configuration
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
        .map(str::trim)
}

fn listener_port(configuration: &str) -> Option<u16> {
    setting(configuration, "listener")?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Intruder, Scratch};

    fn plain(scratch: &Scratch) -> Broker {
        let folder = scratch.folder("broker");
        let text = format!(
            "per_listener_settings false\nallow_anonymous true\nlistener {} 127.0.0.1\n\
             persistence true\npersistence_location {}/\nautosave_interval 1\n",
            free_port(),
            folder.display()
        );
        std::fs::write(folder.join("mosquitto.conf"), text).unwrap();
        Broker::start(&folder)
    }

    #[test]
    fn a_broker_stopped_in_order_remembers_and_one_without_database_does_not() {
        let scratch = Scratch::new();
        let mut broker = plain(&scratch);
        let client = Intruder::plain(scratch.path(), broker.port());
        client.publish_retained("a/b", b"kept").unwrap();
        broker.stop();
        broker.restart();
        let mut tap = client.listen(&["a/#"]);
        tap.wait_for(PATIENCE, "the retained message", |message| {
            message.payload == b"kept"
        });
        drop(tap);
        broker.kill9();
        broker.delete_database();
        broker.restart();
        let mut tap = client.listen(&["a/#"]);
        client.publish("a/marker", b"later").unwrap();
        tap.wait_for(PATIENCE, "the marker", |message| {
            message.topic == "a/marker"
        });
        assert!(
            tap.messages()
                .iter()
                .all(|message| message.payload != b"kept")
        );
    }

    #[test]
    fn a_hostile_broker_shows_and_takes_everything_on_its_second_listener() {
        let scratch = Scratch::new();
        let mut broker = plain(&scratch);
        let port = broker.turn_hostile();
        assert_ne!(port, broker.port());
        let thief = Intruder::plain(scratch.path(), port);
        let mut tap = thief.listen(&["#"]);
        thief
            .publish("homing/v1/00/x/cmd", &[0, 255, 10, 13])
            .unwrap();
        let seen = tap.wait_for(PATIENCE, "its own message", |_| true);
        assert_eq!(
            (seen.topic.as_str(), seen.payload.as_slice()),
            ("homing/v1/00/x/cmd", &[0, 255, 10, 13][..])
        );
    }
}
