//! Everything a link is told before it starts. It must not read files, environment or clocks.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use zeroize::Zeroizing;

use crate::{Backoff, Endpoint, Error, clock};

/// The household's trust and this client's identity, as PEM texts. The debug form shows none of it; the key is
/// wiped from memory when this is dropped.
#[derive(Clone)]
pub struct Credentials {
    /// The household CA: the only one that is trusted.
    pub ca_pem: String,
    /// This client's certificate (and intermediates, if any).
    pub certificate_pem: String,
    /// The private key of that certificate (PKCS#8, SEC1 or PKCS#1).
    pub key_pem: Zeroizing<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(redacted)")
    }
}

/// Whether the broker keeps messages for this client while it is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionKind {
    /// The broker is asked to keep subscriptions and unacknowledged messages; it may forget them all the same.
    Persistent {
        /// For how long after a disconnect, whole seconds; from 4,294,967,295 s (136 years) on: for ever.
        expiry: Duration,
    },
    /// Nothing is kept: for calls that last seconds.
    Clean,
}

/// Longest packet that is taken, bytes: as much as the shipped broker passes on. Of one that is longer than its receiver
/// takes, mosquitto 2.0.11 keeps back the message and one of the sixteen places for messages under way; a client that may
/// publish could silence a phone by sixteen of them. What is longer than an envelope is refused once it is here.
const DEFAULT_INCOMING_LIMIT: u32 = 65_536;

/// The settings of one link; build them with [`LinkSettings::new`] and change what differs.
#[derive(Clone, Debug)]
pub struct LinkSettings {
    /// The broker.
    pub endpoint: Endpoint,
    /// TLS identity.
    pub credentials: Credentials,
    /// MQTT client id; for a phone its device id.
    pub client_id: String,
    /// What the broker should remember.
    pub session: SessionKind,
    /// Topic filters, subscribed at QoS 1 on every connect. At most 64.
    pub subscriptions: Vec<String>,
    /// Longest silence before a ping, 5 s to 18 h, whole seconds. The broker may lower it. A connection on which
    /// nothing that waits for an answer gets one for three of these is given up.
    pub keep_alive: Duration,
    /// Waits between attempts to connect.
    pub backoff: Backoff,
    /// The earliest time it can be now ([`clock::floor`]).
    pub clock_floor: SystemTime,
    /// The system clock that the certificate check reads; another one only in tests.
    pub system_clock: fn() -> SystemTime,
    /// Longest time from the name look-up to the broker's answer to CONNECT, and again to SUBSCRIBE.
    pub connect_timeout: Duration,
    /// Largest packet accepted, bytes; told to the broker, which withholds larger ones.
    pub incoming_packet_limit: u32,
}

impl LinkSettings {
    /// Settings for `client_id` at `endpoint`: clean session, no subscriptions, keep-alive 60 s, back-off
    /// 1 s to 15 min, connect timeout 30 s, packets up to 8 KiB, clock floor at the build time.
    #[must_use]
    pub fn new(endpoint: Endpoint, credentials: Credentials, client_id: String) -> Self {
        Self {
            endpoint,
            credentials,
            client_id,
            session: SessionKind::Clean,
            subscriptions: Vec::new(),
            keep_alive: Duration::from_secs(60),
            backoff: Backoff::default(),
            clock_floor: clock::floor(clock::build_time(), None),
            system_clock: SystemTime::now,
            connect_timeout: Duration::from_secs(30),
            incoming_packet_limit: DEFAULT_INCOMING_LIMIT,
        }
    }

    /// Checks what can be checked without a network.
    ///
    /// # Errors
    /// The first setting that is out of its range, by name.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let id = &self.client_id;
        if id.is_empty() || id.len() > 128 || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::CheckClientId);
        }
        let range = |setting, why| Err(Error::CheckRange { setting, why });
        if !(5..=64_800).contains(&self.keep_alive.as_secs()) {
            return range("keep_alive", "5 s to 18 h");
        }
        if self.connect_timeout.is_zero() || self.connect_timeout > Duration::from_secs(600) {
            return range("connect_timeout", "more than 0 s, at most 10 min");
        }
        if self.backoff.first.is_zero() || self.backoff.first > self.backoff.ceiling {
            return range("backoff", "first above 0 s and not above the ceiling");
        }
        if !(128..=1 << 20).contains(&self.incoming_packet_limit) {
            return range("incoming_packet_limit", "128 bytes to 1 MiB");
        }
        if self.subscriptions.len() > 64 {
            return range("subscriptions", "at most 64 filters");
        }
        match self
            .subscriptions
            .iter()
            .find(|filter| !rumqttc::valid_filter(filter))
        {
            Some(filter) => Err(Error::CheckSubscription {
                filter: filter.clone(),
            }),
            None => Ok(()),
        }
    }
}
