//! The one way the rest of Homing meets MQTT: events in, publications and acknowledgements out. It must not name rumqttc.

use std::{fmt, future::Future, time::Duration};

use crate::Disconnect;

/// Names one publication of one link; never reused by that link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub(crate) u64);

/// The right to acknowledge one message, once. Dropping it leaves the message unacknowledged: the broker sends it
/// again after a reconnect, and stops sending after 16 of them.
#[derive(PartialEq, Eq)]
#[must_use = "a message that is never acknowledged comes again and blocks a place in the broker's window"]
pub struct Acknowledgement {
    /// The connection it belongs to; on a later one the packet id means something else.
    pub(crate) connection: u64,
    /// MQTT packet id; 0 for a QoS 0 message, which needs none.
    pub(crate) packet: u16,
}

impl fmt::Debug for Acknowledgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Acknowledgement({}.{})", self.connection, self.packet)
    }
}

/// Whether the broker stores a message for later subscribers (MQTT "retain").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retention {
    /// Passed on to those who are subscribed now.
    Live,
    /// The last one of its topic, kept by the broker; an empty retained payload deletes it.
    Retained,
}

/// Whether the broker still had this client's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionPresence {
    /// It did, and no attempt that ended half-way can hide that it had not: messages that came in meanwhile follow.
    Resumed,
    /// It did not (first contact, clean session, or it lost its memory): nothing that was under way can be relied on.
    Fresh,
}

/// A message that came in.
#[derive(PartialEq, Eq)]
pub struct Delivery {
    /// Full topic name.
    pub topic: String,
    /// The bytes as they came, unverified, at most the incoming packet limit.
    pub payload: Vec<u8>,
    /// `Retained` when the broker had it stored from before the subscription.
    pub retention: Retention,
    /// To be handed to [`Transport::acknowledge`] once the message is durable or known to be worthless.
    pub acknowledgement: Acknowledgement,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("topic", &self.topic)
            .field("payload_bytes", &self.payload.len())
            .field("retention", &self.retention)
            .field("acknowledgement", &self.acknowledgement)
            .finish()
    }
}

/// A message that shall go out, always at QoS 1.
#[derive(Clone, PartialEq, Eq)]
pub struct Publication {
    /// Full topic name, without wildcards.
    pub topic: String,
    /// The bytes.
    pub payload: Vec<u8>,
    /// Whether the broker shall keep it.
    pub retention: Retention,
}

impl fmt::Debug for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publication")
            .field("topic", &self.topic)
            .field("payload_bytes", &self.payload.len())
            .field("retention", &self.retention)
            .finish()
    }
}

/// Why a publication was not taken; it stays with the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// Try again after [`LinkEvent::Connected`].
    #[error("there is no connection to the broker")]
    Disconnected,
    /// Try again after the next [`LinkEvent::Published`].
    #[error("16 publications are waiting for the broker's acknowledgement")]
    Full,
    /// The broker announced that it takes no packet of this size: trying again cannot help.
    #[error("the message is larger than the {limit} bytes the broker takes")]
    TooLarge {
        /// The broker's limit for a whole packet, bytes.
        limit: u32,
    },
    /// Empty, with a wildcard or a NUL, or longer than 65,535 bytes: trying again cannot help.
    #[error("the topic is not a valid MQTT topic name")]
    InvalidTopic,
}

/// Why the broker did not take a publication (reason code of its PUBACK, MQTT 5 §3.4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedPublish {
    /// The ACL does not let this client write there.
    #[error("the broker does not allow this client to write to this topic")]
    NotAuthorised,
    /// The broker's store is full.
    #[error("the broker has no room left for the message")]
    QuotaExceeded,
    /// The topic name is not accepted.
    #[error("the broker does not accept this topic name")]
    TopicNameInvalid,
    /// Anything else.
    #[error("the broker refused the message without a useful reason")]
    Unspecified,
}

/// Why the broker did not grant a subscription (reason code of its SUBACK, MQTT 5 §3.9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedSubscription {
    /// The ACL does not let this client read there.
    #[error("the broker does not allow this client to read this topic")]
    NotAuthorised,
    /// The filter is not accepted.
    #[error("the broker does not accept this topic filter")]
    FilterInvalid,
    /// Too many subscriptions.
    #[error("the broker has no room left for the subscription")]
    QuotaExceeded,
    /// Anything else.
    #[error("the broker refused the subscription without a useful reason")]
    Unspecified,
}

/// What happens on a link, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// The broker accepted this client and answered its subscriptions. Everything unsent may be published now.
    Connected {
        /// Whether the broker remembered this client.
        session_present: SessionPresence,
    },
    /// The connection ended, or an attempt to make one failed. All tokens that were not answered are forgotten.
    /// Comes once for each failed attempt.
    Disconnected {
        /// One clear sentence by `Display`.
        reason: Disconnect,
        /// The next attempt follows by itself after this time; zero: at once.
        retry_in: Duration,
    },
    /// A message came in.
    Message(Delivery),
    /// The broker acknowledged this publication. It proves nothing about the receiver, nor that the broker keeps it.
    Published(Token),
    /// The broker acknowledged this publication and says that nobody has subscribed to its topic, not even somebody
    /// who is away: nobody gets it (MQTT 5 §3.4.2.1, reason 16). A broker may keep that to itself and say `Published`.
    Unheard(Token),
    /// The broker answered this publication with a refusal; sending it again at once will not help.
    PublishRefused {
        /// Which one.
        token: Token,
        /// Why.
        reason: RefusedPublish,
    },
    /// The broker does not grant a subscription; follows [`LinkEvent::Connected`].
    SubscriptionRefused {
        /// Which one.
        filter: String,
        /// Why.
        reason: RefusedSubscription,
    },
}

/// A session with a broker, real ([`crate::MqttLink`]) or in-process ([`crate::loopback`]).
pub trait Transport {
    /// Waits for the next event. May be dropped unfinished (`select!`) without losing one. After
    /// [`Transport::close`] and the events before it, it stays pending for ever.
    fn next(&mut self) -> impl Future<Output = LinkEvent> + Send;

    /// Hands over one publication at QoS 1. The token is answered by `Published`, `Unheard` or `PublishRefused`, or
    /// forgotten with the next `Disconnected`.
    ///
    /// # Errors
    /// [`NotSent`]; nothing was sent and the caller keeps it in its outbox.
    fn publish(&mut self, publication: Publication) -> Result<Token, NotSent>;

    /// Tells the broker that a message is safe here. Does nothing when its connection has ended: it comes again.
    fn acknowledge(&mut self, acknowledgement: Acknowledgement);

    /// The network changed or the device woke up: forget the back-off and connect anew at once, also when a
    /// connection seems to stand (it may lead through an interface that is gone).
    fn network_changed(&mut self);

    /// Says goodbye: waits until what was handed over is answered, at most `within`, then disconnects and stops.
    /// Events that come meanwhile can still be read by [`Transport::next`].
    fn close(&mut self, within: Duration) -> impl Future<Output = ()> + Send;
}
