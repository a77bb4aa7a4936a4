//! The bare peers of an order: a message to a device and back with nothing done in between, and one fsync. It must not use homingd.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use homing_link::{Credentials, LinkEvent, MqttLink, Transport};
use homing_owner::account::Unlocked;
use homing_protocol::topic::{Channel, Topic, device_filters};

use crate::error::Error;
use crate::house::{Line, local};
use crate::owner::{connect, cut, publish, within};

/// A device that sends each message straight back, and the owner's connection that talks to it: the same broker, TLS,
/// access list, topics, message size and MQTT client as an order and its receipt have.
pub(crate) struct Echo {
    link: MqttLink,
    topic: String,
    payload: Vec<u8>,
}

impl Echo {
    /// Starts both ends; the device's end is a thread of its own, which ends with the process.
    ///
    /// # Errors
    /// No connection in time.
    pub(crate) async fn start(
        line: &Line,
        account: &Unlocked,
        owner: Credentials,
        broker: u16,
        payload: Vec<u8>,
    ) -> Result<Self, Error> {
        let channel = |channel| Topic::Device(line.device, channel).to_string();
        let (endpoint, papers) = (line.endpoint(), line.credentials.clone());
        let (id, filters) = (line.device.to_string(), device_filters(line.device));
        let back = channel(Channel::Receipt);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            // An echo that ends makes the next exchange late, which ends the benchmark with that sentence.
            let ended = runtime.block_on(async {
                let link = connect(endpoint, papers, id, filters).await?;
                send_back(link, &back).await
            });
            if let Err(error) = ended {
                eprintln!("the echo ended: {error}");
            }
            Ok::<(), std::io::Error>(())
        });
        let id = format!("owner-{}-echo", account.find.account);
        let filters = vec![channel(Channel::Receipt)];
        let mut echo = Self {
            link: connect(local(broker), owner, id, filters).await?,
            topic: channel(Channel::Command),
            payload,
        };
        echo.wait_for_both_ends().await?;
        Ok(echo)
    }

    /// The other end may connect later than this one: what was sent before is lost.
    async fn wait_for_both_ends(&mut self) -> Result<(), Error> {
        for _ in 0..30 {
            match self.exchange(Duration::from_secs(1)).await {
                Ok(_) => return Ok(()),
                Err(Error::Late { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        self.exchange(Duration::from_secs(1)).await.map(|_| ())
    }

    /// One message there and back.
    ///
    /// # Errors
    /// It does not come back in time.
    pub(crate) async fn exchange(&mut self, patience: Duration) -> Result<Duration, Error> {
        let before = Instant::now();
        publish(&mut self.link, self.topic.clone(), self.payload.clone())?;
        let link = &mut self.link;
        let back = async {
            loop {
                match link.next().await {
                    LinkEvent::Message(delivery) => {
                        let at = Instant::now();
                        link.acknowledge(delivery.acknowledgement);
                        return Ok(at);
                    }
                    LinkEvent::Disconnected { reason, .. } => return Err(cut("the echo", &reason)),
                    _ => {}
                }
            }
        };
        let at = within("the echo", patience, back).await?;
        // The broker's answer to the publish comes around the same time; it must not wait for the next exchange.
        self.settle().await?;
        Ok(at - before)
    }

    async fn settle(&mut self) -> Result<(), Error> {
        match tokio::time::timeout(Duration::from_millis(20), self.link.next()).await {
            Ok(LinkEvent::Disconnected { reason, .. }) => Err(cut("the echo", &reason)),
            _ => Ok(()),
        }
    }
}

async fn send_back(mut link: MqttLink, back: &str) -> Result<(), Error> {
    loop {
        match link.next().await {
            LinkEvent::Message(delivery) => {
                link.acknowledge(delivery.acknowledgement);
                publish(&mut link, back.to_owned(), delivery.payload)?;
            }
            LinkEvent::Disconnected { reason, .. } => return Err(cut("the echo", &reason)),
            _ => {}
        }
    }
}

/// What one commit costs on a disk: some pages written over old ones and an fsync, as SQLite does in its log.
#[derive(Debug)]
pub(crate) struct Disk {
    file: File,
    next: u64,
}

/// What a commit of the journal writes at least: four pages of 4 KiB (record, receipt, outbox, chain).
const COMMIT: usize = 4 * 4096;
/// The log's length before it is written over from its start (`wal_autocheckpoint` of 64 pages).
const LOG: usize = 64 * 4096;

impl Disk {
    /// Prepares a file in this folder.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn new(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("fsync.bin");
        let made = File::create(&path).and_then(|file| {
            file.write_all_at(&[1; LOG], 0)?;
            file.sync_all()?;
            Ok(file)
        });
        made.map(|file| Self { file, next: 0 })
            .map_err(|source| Error::Write { path, source })
    }

    /// One write and one fsync.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn commit(&mut self) -> Result<Duration, Error> {
        let page = vec![self.next.to_le_bytes()[1]; COMMIT];
        let before = Instant::now();
        let done = self
            .file
            .write_all_at(&page, self.next)
            .and_then(|()| self.file.sync_all());
        let took = before.elapsed();
        self.next = (self.next + COMMIT as u64) % LOG as u64;
        done.map(|()| took).map_err(|source| Error::Write {
            path: "the file for fsync".into(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use e2e::Scratch;

    #[test]
    fn a_commit_on_the_disk_takes_time_and_stays_within_the_file() {
        let scratch = Scratch::new();
        let mut disk = Disk::new(scratch.path()).unwrap();
        for _ in 0..40 {
            assert!(disk.commit().unwrap() > Duration::ZERO);
        }
        let length = std::fs::metadata(scratch.path().join("fsync.bin"))
            .unwrap()
            .len();
        assert_eq!(length, LOG as u64);
    }
}
