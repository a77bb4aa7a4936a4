//! The wire: an MQTT 5 session over TLS behind the [`Transport`] trait. It moves bytes and must not read, decide or remember anything.
//!
//! What a caller may rely on, and nothing more:
//!
//! * Everything travels at least once while a connection lasts. A [`Token`] that was not answered by
//!   [`LinkEvent::Published`] when the connection ends is forgotten here; the caller's durable outbox publishes
//!   again after the next [`LinkEvent::Connected`]. [`drain::Drain`] does this book-keeping.
//! * A message is acknowledged to the broker only after [`Transport::acknowledge`]; one that was not acknowledged
//!   comes again after a reconnect, if the broker kept the session.
//! * Broker, network and clock may fail in any way: the link reconnects for ever, with a jittered back-off, and
//!   says why in one sentence ([`Disconnect`]).
//!
//! Faults of rumqttc 0.25.1 that are built around are listed at the top of `session.rs`.

#![forbid(unsafe_code)]

mod backoff;
pub mod clock;
mod conversation;
mod disconnect;
pub mod drain;
mod endpoint;
mod error;
pub mod https;
pub mod loopback;
mod mqtt;
mod session;
mod settings;
mod tls;
mod transport;

pub use backoff::Backoff;
pub use disconnect::Disconnect;
pub use drain::Drain;
pub use endpoint::Endpoint;
pub use error::Error;
pub use https::{HttpsUrl, NoAnswer};
pub use mqtt::MqttLink;
pub use settings::{Credentials, LinkSettings, SessionKind};
pub use transport::{
    Acknowledgement, Delivery, LinkEvent, NotSent, Publication, RefusedPublish,
    RefusedSubscription, Retention, SessionPresence, Token, Transport,
};
