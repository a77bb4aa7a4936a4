//! MQTT topics, printed and parsed in this one place. Knows nothing of payloads.

use crate::id::{AccountId, ClientId, DeviceId};
use core::fmt;

/// What a topic of one device is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Commands, enrolment answers and report acknowledgements; the device reads.
    Command,
    /// The authority list and key sets, retained; the device reads.
    Authority,
    /// Enrolment claims; the device writes.
    Enrol,
    /// Beacons, retained; the device writes.
    Beacon,
    /// Receipts; the device writes.
    Receipt,
    /// Reports; the device writes.
    Report,
}

impl Channel {
    const ALL: [Self; 6] = [
        Self::Command,
        Self::Authority,
        Self::Enrol,
        Self::Beacon,
        Self::Receipt,
        Self::Report,
    ];
    const fn suffix(self) -> &'static str {
        match self {
            Self::Command => "cmd",
            Self::Authority => "authority",
            Self::Enrol => "enrol",
            Self::Beacon => "up/beacon",
            Self::Receipt => "up/receipt",
            Self::Report => "up/report",
        }
    }
}

/// A topic of protocol v1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// One of a device's channels: `homing/v1/{shard}/{device}/…`; the shard is the first two digits of the device id.
    Device(DeviceId, Channel),
    /// The account's keyring blob, retained, for households without a server: `homing/v1/account/{account}/keyring`.
    Keyring(AccountId),
    /// What the owner tells one delegate, retained: `homing/v1/account/{account}/client/{client}`.
    Notice(AccountId, ClientId),
}

impl Topic {
    /// The topic named by a text, if it is one of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("homing/v1/")?;
        if let Some(rest) = rest.strip_prefix("account/") {
            if let Some((account, client)) = rest.split_once("/client/") {
                return Some(Self::Notice(account.parse().ok()?, client.parse().ok()?));
            }
            return rest
                .strip_suffix("/keyring")?
                .parse()
                .ok()
                .map(Self::Keyring);
        }
        let (shard, rest) = rest.split_once('/')?;
        let (device, suffix) = rest.split_once('/')?;
        let channel = Channel::ALL
            .into_iter()
            .find(|channel| channel.suffix() == suffix)?;
        (device.get(..2)? == shard).then_some(())?;
        device
            .parse()
            .ok()
            .map(|device| Self::Device(device, channel))
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(device, channel) => {
                write!(
                    f,
                    "homing/v1/{:02x}/{device}/{}",
                    device.0[0],
                    channel.suffix()
                )
            }
            Self::Keyring(account) => write!(f, "homing/v1/account/{account}/keyring"),
            Self::Notice(account, client) => {
                write!(f, "homing/v1/account/{account}/client/{client}")
            }
        }
    }
}

/// The filters a device subscribes to.
#[must_use]
pub fn device_filters(device: DeviceId) -> Vec<String> {
    [Channel::Command, Channel::Authority]
        .map(|channel| Topic::Device(device, channel).to_string())
        .to_vec()
}

/// The filters an owner's client subscribes to for one device.
#[must_use]
pub fn owner_filters(device: DeviceId) -> Vec<String> {
    [
        Channel::Enrol,
        Channel::Beacon,
        Channel::Receipt,
        Channel::Report,
    ]
    .map(|channel| Topic::Device(device, channel).to_string())
    .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_reads_back_as_it_was_printed() {
        let device = DeviceId([0xab; 16]);
        let topics = Channel::ALL.map(|channel| Topic::Device(device, channel));
        for topic in topics
            .into_iter()
            .chain([Topic::Keyring(AccountId([7; 16]))])
            .chain([Topic::Notice(AccountId([7; 16]), ClientId([8; 16]))])
        {
            assert_eq!(Topic::parse(&topic.to_string()), Some(topic));
        }
    }

    #[test]
    fn a_shard_that_does_not_fit_the_device_is_no_topic() {
        let text = Topic::Device(DeviceId([0xab; 16]), Channel::Command)
            .to_string()
            .replace("/ab/", "/ac/");
        assert_eq!(Topic::parse(&text), None);
    }
}
