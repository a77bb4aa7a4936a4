//! The caller's end of a real link: it counts what is in flight and talks to the session task. It must not touch the network.

use std::{
    collections::{BTreeSet, VecDeque},
    future::pending,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::AbortHandle,
    time::timeout,
};

use crate::{
    Acknowledgement, Error, LinkEvent, LinkSettings, NotSent, Publication, Token, Transport,
    session::{self, Limits, Order, Report},
    tls,
};

/// Reports that may wait for the caller: enough for a full window in each direction, small enough for a phone.
const REPORT_CAPACITY: usize = 32;

/// An MQTT 5 session over TLS. Dropping it ends the connection without a goodbye.
#[derive(Debug)]
pub struct MqttLink {
    orders: mpsc::UnboundedSender<Order>,
    reports: mpsc::Receiver<Report>,
    network_changed: Arc<Notify>,
    task: AbortHandle,
    /// Events that were read while `close` waited.
    held: VecDeque<Report>,
    /// The connection the caller knows of; `None` before `Connected` and after `Disconnected`.
    connected: Option<Limits>,
    in_flight: BTreeSet<Token>,
    next_token: u64,
}

impl MqttLink {
    /// Checks the settings and starts the session task on the current tokio runtime; the first attempt to connect
    /// begins at once. The credentials are parsed here and not kept as text.
    ///
    /// # Errors
    /// What is wrong with the settings. Network failures are events, not errors.
    ///
    /// # Panics
    /// Outside a tokio runtime with time and network enabled.
    pub fn start(settings: LinkSettings) -> Result<Self, Error> {
        settings.check()?;
        let tls = Arc::new(tls::client_config(&settings)?);
        let (orders, order_queue) = mpsc::unbounded_channel();
        let (report_queue, reports) = mpsc::channel(REPORT_CAPACITY);
        let network_changed = Arc::new(Notify::new());
        let wire = session::Wire::new(
            settings,
            tls,
            order_queue,
            report_queue,
            Arc::clone(&network_changed),
        );
        let task = tokio::spawn(wire.run()).abort_handle();
        Ok(Self {
            orders,
            reports,
            network_changed,
            task,
            held: VecDeque::new(),
            connected: None,
            in_flight: BTreeSet::new(),
            next_token: 0,
        })
    }

    /// Keeps the caller's view of the connection and turns a report into the event it stands for.
    fn note(&mut self, report: Report) -> LinkEvent {
        match report {
            Report::Connected {
                limits,
                session_present,
            } => {
                self.connected = Some(limits);
                LinkEvent::Connected { session_present }
            }
            Report::Event(event) => {
                match &event {
                    LinkEvent::Disconnected { .. } => {
                        self.connected = None;
                        self.in_flight.clear();
                    }
                    LinkEvent::Published(token)
                    | LinkEvent::Unheard(token)
                    | LinkEvent::PublishRefused { token, .. } => {
                        self.in_flight.remove(token);
                    }
                    LinkEvent::Connected { .. }
                    | LinkEvent::Message(_)
                    | LinkEvent::SubscriptionRefused { .. } => {}
                }
                event
            }
        }
    }

    /// Whether one more publication keeps the span from the oldest unanswered one within the window. A span, not a
    /// count: rumqttc gives packet ids in a circle of that size, and a broker that answers out of order would
    /// otherwise make two publications meet on one id, which can wedge it.
    fn has_room(&self, window: u16) -> bool {
        match self.in_flight.first() {
            None => true,
            Some(oldest) => self.next_token - oldest.0 < u64::from(window),
        }
    }
}

impl Transport for MqttLink {
    async fn next(&mut self) -> LinkEvent {
        let report = match self.held.pop_front() {
            Some(report) => report,
            None => match self.reports.recv().await {
                Some(report) => report,
                None => pending().await,
            },
        };
        self.note(report)
    }

    fn publish(&mut self, publication: Publication) -> Result<Token, NotSent> {
        let topic = &publication.topic;
        if topic.is_empty() || topic.len() > 65_535 || topic.contains(['+', '#', '\0']) {
            return Err(NotSent::InvalidTopic);
        }
        let limits = self.connected.ok_or(NotSent::Disconnected)?;
        if !self.has_room(limits.window) {
            return Err(NotSent::Full);
        }
        if let Some(limit) = limits
            .packet_bytes
            .filter(|&limit| session::packet_bytes(&publication) > limit as usize)
        {
            return Err(NotSent::TooLarge { limit });
        }
        let token = Token(self.next_token);
        let order = Order::Publish {
            connection: limits.connection,
            token,
            publication,
        };
        self.orders.send(order).map_err(|_| NotSent::Disconnected)?;
        self.next_token += 1;
        self.in_flight.insert(token);
        Ok(token)
    }

    fn acknowledge(&mut self, acknowledgement: Acknowledgement) {
        // A failed send means that the session task has ended: the message comes again on the next session.
        let _ = self.orders.send(Order::Acknowledge(acknowledgement));
    }

    fn network_changed(&mut self) {
        self.network_changed.notify_one();
    }

    async fn close(&mut self, within: Duration) {
        let (done, mut closed) = oneshot::channel();
        if self.orders.send(Order::Close { done }).is_err() {
            return;
        }
        let goodbye = async {
            loop {
                // The task may be waiting for room among the reports: take them while it finishes.
                tokio::select! {
                    _ = &mut closed => break,
                    Some(report) = self.reports.recv() => self.held.push_back(report),
                }
            }
        };
        // When time is up the task is ended from here; what was not answered stays in the caller's outbox.
        let _ = timeout(within, goodbye).await;
        self.task.abort();
        while let Ok(report) = self.reports.try_recv() {
            self.held.push_back(report);
        }
    }
}

impl Drop for MqttLink {
    fn drop(&mut self) {
        self.task.abort();
    }
}
