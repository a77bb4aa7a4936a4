//! The session task: it drives rumqttc, one event loop per connection, and never remembers anything across two. It must not store or drop silently what a caller relies on.
//!
//! Faults of rumqttc 0.25.1 and what is done here:
//! * On `session_present = 0` it silently drops unacknowledged publishes, and after a collision of packet ids it can
//!   re-send stale ones or wedge: each connection gets a new client and event loop, and `Disconnected` tells the
//!   caller that its tokens are void.
//! * It acknowledges before the application saw a message: manual acknowledgements.
//! * `u16::MAX` in-flight slots cost 13.5 MiB: 16 slots.
//! * It has no back-off: `backoff.rs`. It has no subscriptions across sessions: subscribed on every CONNACK.
//! * A cancelled `poll()` loses state: the future is kept across every wake-up, and dropped only with its event loop.
//! * It only logs refused PUBACKs and SUBACKs: they are read from the packets and reported.
//! * A write to a dead peer blocks `poll()` for ever, pings included: the watchdog.
//! * A publish above the broker's packet limit ends the connection: refused before it is handed over (`mqtt.rs`).

use std::{pin::pin, sync::Arc, time::Duration};

use rumqttc::{
    TlsConfiguration,
    v5::{AsyncClient, MqttOptions},
};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{sleep, sleep_until},
};

use crate::{
    Acknowledgement, Disconnect, LinkEvent, LinkSettings, Publication, SessionKind,
    SessionPresence, Token,
    backoff::{self, Retry},
    conversation::Conversation,
};

/// Unanswered publications per direction.
pub(crate) const WINDOW: u16 = 16;
/// Requests to rumqttc that may wait: a window of publishes, one of acknowledgements, a subscribe, a disconnect.
const REQUEST_CAPACITY: usize = 64;
/// A connection that stood this long makes the next failure a first one.
const LASTED: Duration = Duration::from_secs(60);

/// What a caller orders.
#[derive(Debug)]
pub(crate) enum Order {
    Publish {
        connection: u64,
        token: Token,
        publication: Publication,
    },
    Acknowledge(Acknowledgement),
    Close {
        done: oneshot::Sender<()>,
    },
}

/// What one connection allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Counts connections of this link from 1.
    pub(crate) connection: u64,
    /// Unanswered publications, 1 to 16.
    pub(crate) window: u16,
    /// The broker's largest packet, bytes.
    pub(crate) packet_bytes: Option<u32>,
}

/// What a caller is told.
#[derive(Debug)]
pub(crate) enum Report {
    Connected {
        limits: Limits,
        session_present: SessionPresence,
    },
    Event(LinkEvent),
}

/// The size of the PUBLISH packet that carries this, bytes, at most: fixed header 5, topic length 2, packet id 2,
/// property length 1 (MQTT 5 §3.3).
pub(crate) fn packet_bytes(publication: &Publication) -> usize {
    publication.topic.len() + publication.payload.len() + 10
}

/// Why a connection is over.
enum End {
    Failed(Disconnect),
    /// The caller closed the link or dropped it.
    Closed,
}

/// The task's whole state.
pub(crate) struct Wire {
    settings: LinkSettings,
    tls: Arc<rustls::ClientConfig>,
    orders: mpsc::UnboundedReceiver<Order>,
    reports: mpsc::Sender<Report>,
    network_changed: Arc<Notify>,
    connection: u64,
    /// The broker said that it had forgotten this client, on a connection that ended before the caller was told.
    untold: Option<SessionPresence>,
    /// To be answered when the task has said goodbye.
    goodbye: Option<oneshot::Sender<()>>,
}

impl Wire {
    pub(crate) fn new(
        settings: LinkSettings,
        tls: Arc<rustls::ClientConfig>,
        orders: mpsc::UnboundedReceiver<Order>,
        reports: mpsc::Sender<Report>,
        network_changed: Arc<Notify>,
    ) -> Self {
        Self {
            settings,
            tls,
            orders,
            reports,
            network_changed,
            connection: 0,
            untold: None,
            goodbye: None,
        }
    }

    /// Connects, again and again, until the link is closed or dropped.
    pub(crate) async fn run(mut self) {
        let mut retry = Retry::new(self.settings.backoff);
        loop {
            self.connection += 1;
            let mut talk = Conversation::new(self.connection, &self.settings, self.untold.take());
            let reason = match self.converse(&mut talk).await {
                End::Closed => break,
                End::Failed(reason) => reason,
            };
            self.untold = talk.untold(&reason);
            if talk.lasted() >= LASTED {
                retry.reset();
            }
            let retry_in = if reason == Disconnect::NetworkChanged {
                retry.reset();
                Duration::ZERO
            } else {
                retry.next_wait(backoff::random())
            };
            tracing::debug!(%reason, ?retry_in, "disconnected");
            let event = LinkEvent::Disconnected { reason, retry_in };
            if self.reports.send(Report::Event(event)).await.is_err()
                || self.wait(retry_in, &mut retry).await.is_err()
            {
                break;
            }
        }
        if let Some(goodbye) = self.goodbye {
            // The caller may have stopped waiting; then nobody needs the answer.
            let _ = goodbye.send(());
        }
    }

    /// Waits for the next attempt; a change of the network ends the wait. `Err` when the link was closed.
    async fn wait(&mut self, delay: Duration, retry: &mut Retry) -> Result<(), ()> {
        let mut delay = pin!(sleep(delay));
        loop {
            tokio::select! {
                () = &mut delay => return Ok(()),
                () = self.network_changed.notified() => {
                    retry.reset();
                    return Ok(());
                }
                order = self.orders.recv() => match order {
                    // Publications and acknowledgements of a connection that is over are void by contract.
                    Some(Order::Publish { .. } | Order::Acknowledge(_)) => {}
                    Some(Order::Close { done }) => {
                        self.goodbye = Some(done);
                        return Err(());
                    }
                    None => return Err(()),
                },
            }
        }
    }

    fn options(&self) -> MqttOptions {
        let settings = &self.settings;
        let mut options = MqttOptions::new(
            settings.client_id.as_str(),
            settings.endpoint.host.as_str(),
            settings.endpoint.port,
        );
        let tls = TlsConfiguration::Rustls(Arc::clone(&self.tls));
        options
            .set_transport(rumqttc::Transport::tls_with_config(tls))
            .set_keep_alive(Duration::from_secs(settings.keep_alive.as_secs()))
            // Ours is exact and fires first.
            .set_connection_timeout(settings.connect_timeout.as_secs().saturating_add(5))
            .set_manual_acks(true)
            .set_outgoing_inflight_upper_limit(WINDOW)
            .set_receive_maximum(Some(WINDOW))
            .set_max_packet_size(Some(settings.incoming_packet_limit));
        match settings.session {
            SessionKind::Clean => {
                options.set_clean_start(true);
            }
            SessionKind::Persistent { expiry } => {
                let seconds = u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX);
                options
                    .set_clean_start(false)
                    .set_session_expiry_interval(Some(seconds));
            }
        }
        let mut network = rumqttc::NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        options
    }

    /// One connection from the name look-up to its end.
    async fn converse(&mut self, talk: &mut Conversation) -> End {
        let (client, mut event_loop) = AsyncClient::new(self.options(), REQUEST_CAPACITY);
        loop {
            let polled = {
                // Kept across every wake-up below: a cancelled poll loses state.
                let mut poll = pin!(event_loop.poll());
                loop {
                    tokio::select! {
                        biased;
                        polled = &mut poll => break polled,
                        () = self.network_changed.notified() => return End::Failed(Disconnect::NetworkChanged),
                        order = self.orders.recv() => {
                            let obeyed = match order {
                                Some(Order::Close { done }) => {
                                    self.goodbye = Some(done);
                                    talk.close(&client)
                                }
                                Some(Order::Publish { connection, token, publication }) => {
                                    talk.publish(connection, token, publication, &client)
                                }
                                Some(Order::Acknowledge(acknowledgement)) => talk.acknowledge(&acknowledgement, &client),
                                None => return End::Closed,
                            };
                            if let Err(reason) = obeyed {
                                return End::Failed(reason);
                            }
                        }
                        () = sleep_until(talk.deadline()) => return End::Failed(talk.overdue()),
                    }
                    if talk.has_left() {
                        return End::Closed;
                    }
                }
            };
            let heard = match polled {
                Ok(event) => talk.hear(event, &client),
                Err(error) => Err(talk.classify(&error)),
            };
            // Waiting here for a slow caller stops the reading, which is the back-pressure a phone needs.
            while let Some(report) = talk.next_report() {
                if self.reports.send(report).await.is_err() {
                    return End::Closed;
                }
            }
            match heard {
                Ok(()) if talk.has_left() => return End::Closed,
                Ok(()) => {}
                Err(_) if talk.is_closing() => return End::Closed,
                Err(reason) => return End::Failed(reason),
            }
        }
    }
}
