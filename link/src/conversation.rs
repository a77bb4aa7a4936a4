//! One connection's book-keeping: which packet answers which token, what is still owed, when silence is too long. It must not await anything.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use rumqttc::{
    Outgoing,
    v5::{
        AsyncClient, ConnectionError, Event,
        mqttbytes::{
            QoS,
            v5::{
                ConnAck, Filter, Packet, PubAck, PubAckReason, Publish, SubAck, SubscribeReasonCode,
            },
        },
    },
};
use tokio::time::Instant;

use crate::{
    Acknowledgement, Delivery, Disconnect, LinkEvent, LinkSettings, Publication, RefusedPublish,
    RefusedSubscription, Retention, SessionPresence, Token,
    disconnect::{Accepted, classify},
    session::{Limits, Report, WINDOW},
};

/// The watchdog's patience in keep-alives: one may be lost, two may be late, three is silence.
const PATIENCE: u32 = 3;

/// How far a goodbye has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    No,
    /// Waits for the answers to what is under way.
    Draining,
    /// DISCONNECT was handed to rumqttc.
    Goodbye,
    Left,
}

/// The state of one connection; a new one for each.
pub(crate) struct Conversation {
    connection: u64,
    filters: Vec<String>,
    connect_timeout: Duration,
    keep_alive: Duration,
    accepted_at: Option<Instant>,
    /// What a connection before this one learned and could not report.
    inherited: Option<SessionPresence>,
    /// CONNACK's word, until the subscriptions are answered and `Connected` is reported.
    opening: Option<(Limits, SessionPresence)>,
    reports: VecDeque<Report>,
    /// Messages that came before SUBACK, a window of them at most.
    early: VecDeque<Report>,
    /// Tokens handed to rumqttc that have no packet id yet, in order.
    queued: VecDeque<Token>,
    by_packet: HashMap<u16, Token>,
    /// When CONNACK, then SUBACK, must be here.
    answer_due: Option<Instant>,
    publish_waiting: Option<Instant>,
    ping_waiting: Option<Instant>,
    last_event: Instant,
    closing: Closing,
}

impl Conversation {
    pub(crate) fn new(
        connection: u64,
        settings: &LinkSettings,
        inherited: Option<SessionPresence>,
    ) -> Self {
        let now = Instant::now();
        Self {
            connection,
            filters: settings.subscriptions.clone(),
            connect_timeout: settings.connect_timeout,
            keep_alive: settings.keep_alive,
            accepted_at: None,
            inherited,
            opening: None,
            reports: VecDeque::new(),
            early: VecDeque::new(),
            queued: VecDeque::new(),
            by_packet: HashMap::new(),
            answer_due: Some(now + settings.connect_timeout),
            publish_waiting: None,
            ping_waiting: None,
            last_event: now,
            closing: Closing::No,
        }
    }

    /// How long the broker has accepted this client; zero when it never did.
    pub(crate) fn lasted(&self) -> Duration {
        self.accepted_at
            .map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Whether the next connection must report `Fresh` whatever the broker says then: it had forgotten this client
    /// and the caller was not told, or CONNECT may have made a new session whose CONNACK was never read.
    pub(crate) fn untold(&self, reason: &Disconnect) -> Option<SessionPresence> {
        let learned = self
            .opening
            .map(|(_, presence)| presence)
            .or(self.inherited);
        let may_have_connected = self.accepted_at.is_none()
            && matches!(
                reason,
                Disconnect::NetworkChanged
                    | Disconnect::TimedOut
                    | Disconnect::ClosedEarly
                    | Disconnect::Protocol(_)
            );
        let hidden = may_have_connected || learned == Some(SessionPresence::Fresh);
        hidden.then_some(SessionPresence::Fresh)
    }

    pub(crate) fn has_left(&self) -> bool {
        self.closing == Closing::Left
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing != Closing::No
    }

    pub(crate) fn next_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    pub(crate) fn classify(&self, error: &ConnectionError) -> Disconnect {
        classify(
            error,
            if self.accepted_at.is_some() {
                Accepted::Yes
            } else {
                Accepted::NotYet
            },
        )
    }

    /// When the watchdog must look: the earliest moment at which something owed is overdue. A healthy connection
    /// moves it with each event, so it never wakes the phone.
    pub(crate) fn deadline(&self) -> Instant {
        let patience = self.keep_alive * PATIENCE;
        // Pings make rumqttc report something in every keep-alive; if it does not, a write is blocked.
        let silent = self.accepted_at.map(|_| self.last_event + patience);
        let unanswered = [self.publish_waiting, self.ping_waiting]
            .into_iter()
            .flatten()
            .map(|since| since + patience);
        let earliest = unanswered.chain(silent).chain(self.answer_due).min();
        earliest.unwrap_or(self.last_event + patience)
    }

    /// What a passed deadline means.
    pub(crate) fn overdue(&self) -> Disconnect {
        if self.accepted_at.is_none() {
            Disconnect::TimedOut
        } else {
            Disconnect::Stalled
        }
    }

    pub(crate) fn publish(
        &mut self,
        connection: u64,
        token: Token,
        publication: Publication,
        client: &AsyncClient,
    ) -> Result<(), Disconnect> {
        if connection != self.connection {
            // Ordered before the caller had read that its connection ended: void by contract.
            return Ok(());
        }
        let retain = publication.retention == Retention::Retained;
        client
            .try_publish(
                publication.topic,
                QoS::AtLeastOnce,
                retain,
                publication.payload,
            )
            .map_err(|_| Disconnect::Stalled)?;
        self.queued.push_back(token);
        self.publish_waiting.get_or_insert_with(Instant::now);
        Ok(())
    }

    pub(crate) fn acknowledge(
        &mut self,
        acknowledgement: &Acknowledgement,
        client: &AsyncClient,
    ) -> Result<(), Disconnect> {
        if acknowledgement.connection != self.connection || acknowledgement.packet == 0 {
            return Ok(());
        }
        let packet = Publish {
            qos: QoS::AtLeastOnce,
            pkid: acknowledgement.packet,
            ..Publish::default()
        };
        client.try_ack(&packet).map_err(|_| Disconnect::Stalled)
    }

    pub(crate) fn close(&mut self, client: &AsyncClient) -> Result<(), Disconnect> {
        self.closing = if self.accepted_at.is_some() {
            Closing::Draining
        } else {
            Closing::Left
        };
        self.leave_when_drained(client)
    }

    fn leave_when_drained(&mut self, client: &AsyncClient) -> Result<(), Disconnect> {
        if self.closing == Closing::Draining && self.queued.is_empty() && self.by_packet.is_empty()
        {
            client.try_disconnect().map_err(|_| Disconnect::Stalled)?;
            self.closing = Closing::Goodbye;
        }
        Ok(())
    }

    /// Takes in one event of rumqttc. `Err` ends the connection.
    pub(crate) fn hear(&mut self, event: Event, client: &AsyncClient) -> Result<(), Disconnect> {
        self.last_event = Instant::now();
        match event {
            Event::Incoming(Packet::ConnAck(packet)) => self.accepted(&packet, client),
            Event::Incoming(Packet::SubAck(packet)) => {
                self.subscribed(&packet);
                Ok(())
            }
            Event::Incoming(Packet::Publish(packet)) => self.delivered(packet),
            Event::Incoming(Packet::PubAck(packet)) => {
                self.answered(&packet);
                self.leave_when_drained(client)
            }
            Event::Incoming(Packet::PingResp(_)) => {
                self.ping_waiting = None;
                Ok(())
            }
            Event::Outgoing(Outgoing::PingReq) => {
                self.ping_waiting.get_or_insert(self.last_event);
                Ok(())
            }
            Event::Outgoing(Outgoing::Publish(packet)) => {
                if let Some(token) = self.queued.pop_front() {
                    self.by_packet.insert(packet, token);
                }
                Ok(())
            }
            Event::Outgoing(Outgoing::Disconnect) => {
                self.closing = Closing::Left;
                Ok(())
            }
            Event::Incoming(_) | Event::Outgoing(_) => Ok(()),
        }
    }

    fn accepted(&mut self, packet: &ConnAck, client: &AsyncClient) -> Result<(), Disconnect> {
        self.accepted_at = Some(self.last_event);
        let properties = packet.properties.as_ref();
        if let Some(seconds) = properties.and_then(|properties| properties.server_keep_alive) {
            self.keep_alive = Duration::from_secs(u64::from(seconds.max(1)));
        }
        let limits = Limits {
            connection: self.connection,
            window: properties
                .and_then(|properties| properties.receive_max)
                .unwrap_or(WINDOW)
                .clamp(1, WINDOW),
            packet_bytes: properties.and_then(|properties| properties.max_packet_size),
        };
        let presence = if packet.session_present {
            SessionPresence::Resumed
        } else {
            SessionPresence::Fresh
        };
        self.opening = Some((limits, self.inherited.take().unwrap_or(presence)));
        if self.filters.is_empty() {
            self.answer_due = None;
            self.open();
            return Ok(());
        }
        let filters = self
            .filters
            .iter()
            .map(|filter| Filter::new(filter.as_str(), QoS::AtLeastOnce));
        client
            .try_subscribe_many(filters)
            .map_err(|_| Disconnect::Stalled)?;
        self.answer_due = Some(self.last_event + self.connect_timeout);
        Ok(())
    }

    /// Reports `Connected`.
    fn open(&mut self) {
        if let Some((limits, session_present)) = self.opening.take() {
            self.reports.push_back(Report::Connected {
                limits,
                session_present,
            });
        }
    }

    fn subscribed(&mut self, packet: &SubAck) {
        self.answer_due = None;
        self.open();
        for (filter, code) in self.filters.iter().zip(&packet.return_codes) {
            if let Some(reason) = refused_subscription(*code) {
                let event = LinkEvent::SubscriptionRefused {
                    filter: filter.clone(),
                    reason,
                };
                self.reports.push_back(Report::Event(event));
            }
        }
        self.reports.append(&mut self.early);
    }

    fn delivered(&mut self, packet: Publish) -> Result<(), Disconnect> {
        if packet.qos == QoS::ExactlyOnce {
            return Err(Disconnect::Protocol(
                "a message at QoS 2, which was not subscribed".to_owned(),
            ));
        }
        let topic = String::from_utf8(packet.topic.into())
            .map_err(|_| Disconnect::Protocol("a topic name that is not UTF-8".to_owned()))?;
        let acknowledgement = Acknowledgement {
            connection: self.connection,
            packet: if packet.qos == QoS::AtLeastOnce {
                packet.pkid
            } else {
                0
            },
        };
        let retention = if packet.retain {
            Retention::Retained
        } else {
            Retention::Live
        };
        let delivery = Delivery {
            topic,
            payload: packet.payload.into(),
            retention,
            acknowledgement,
        };
        let report = Report::Event(LinkEvent::Message(delivery));
        if self.opening.is_none() {
            self.reports.push_back(report);
            return Ok(());
        }
        self.early.push_back(report);
        if self.early.len() > usize::from(WINDOW) {
            // mosquitto 2.0.11 sends more than the receive maximum when it resumes a session with much in it. Ending
            // the connection would meet the same messages again, for ever: go on without the answer to SUBSCRIBE.
            self.open();
            self.reports.append(&mut self.early);
        }
        Ok(())
    }

    fn answered(&mut self, packet: &PubAck) {
        let Some(token) = self.by_packet.remove(&packet.pkid) else {
            return;
        };
        let nothing_left = self.by_packet.is_empty() && self.queued.is_empty();
        self.publish_waiting = (!nothing_left).then_some(self.last_event);
        let event = match refused_publish(packet.reason) {
            None if packet.reason == PubAckReason::NoMatchingSubscribers => {
                LinkEvent::Unheard(token)
            }
            None => LinkEvent::Published(token),
            Some(reason) => LinkEvent::PublishRefused { token, reason },
        };
        self.reports.push_back(Report::Event(event));
    }
}

fn refused_publish(reason: PubAckReason) -> Option<RefusedPublish> {
    match reason {
        PubAckReason::Success | PubAckReason::NoMatchingSubscribers => None,
        PubAckReason::NotAuthorized => Some(RefusedPublish::NotAuthorised),
        PubAckReason::QuotaExceeded => Some(RefusedPublish::QuotaExceeded),
        PubAckReason::TopicNameInvalid => Some(RefusedPublish::TopicNameInvalid),
        PubAckReason::UnspecifiedError
        | PubAckReason::ImplementationSpecificError
        | PubAckReason::PacketIdentifierInUse
        | PubAckReason::PayloadFormatInvalid => Some(RefusedPublish::Unspecified),
    }
}

fn refused_subscription(code: SubscribeReasonCode) -> Option<RefusedSubscription> {
    match code {
        SubscribeReasonCode::Success(_) => None,
        SubscribeReasonCode::NotAuthorized => Some(RefusedSubscription::NotAuthorised),
        SubscribeReasonCode::TopicFilterInvalid => Some(RefusedSubscription::FilterInvalid),
        SubscribeReasonCode::QuotaExceeded => Some(RefusedSubscription::QuotaExceeded),
        SubscribeReasonCode::Failure
        | SubscribeReasonCode::Unspecified
        | SubscribeReasonCode::ImplementationSpecific
        | SubscribeReasonCode::PkidInUse
        | SubscribeReasonCode::SharedSubscriptionsNotSupported
        | SubscribeReasonCode::SubscriptionIdNotSupported
        | SubscribeReasonCode::WildcardSubscriptionsNotSupported => {
            Some(RefusedSubscription::Unspecified)
        }
    }
}
