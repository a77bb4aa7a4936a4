//! A broker in memory for wiring tests: same contract as a real link, faults by instruction. It must not be used outside tests, and opens no socket.

mod seized;

pub use seized::Answer;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use crate::{
    Acknowledgement, Delivery, Disconnect, LinkEvent, NotSent, Publication, RefusedPublish,
    Retention, SessionPresence, Token, Transport,
};

/// Unanswered publications per client, as on a real link.
const WINDOW: usize = 16;

/// What happens to one publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Acknowledged and passed on once: what happens without an instruction.
    Deliver,
    /// Acknowledged, then lost: a broker that forgets.
    Lose,
    /// Acknowledged and passed on twice.
    Duplicate,
    /// Acknowledged and kept back until [`Hub::release`].
    Hold,
    /// Neither acknowledged nor passed on: it stays in flight until the connection ends.
    Swallow,
    /// Answered with a refusal.
    Refuse(RefusedPublish),
}

/// The order in which [`Hub::release`] passes on what was held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseOrder {
    /// First held, first out.
    AsHeld,
    /// Last held, first out.
    Reversed,
}

/// The broker. Clones are handles to the same one.
#[derive(Clone, Debug, Default)]
pub struct Hub {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    clients: BTreeMap<String, Client>,
    retained: BTreeMap<String, Vec<u8>>,
    /// One-shot instructions, oldest first.
    fates: Vec<(String, Fate)>,
    held: Vec<Publication>,
    /// Everything that was published, also what was lost.
    seen: Vec<Publication>,
    /// Whether a test decides everything by hand ([`Hub::seize`]).
    seized: bool,
}

#[derive(Debug)]
struct Client {
    filters: Vec<String>,
    events: VecDeque<LinkEvent>,
    wake: Arc<Notify>,
    /// Whether this client's connection stands.
    online: bool,
    /// Whether the broker has a session of it; deliveries wait in it while the client is away.
    session: bool,
    connection: u64,
    next_packet: u16,
    /// Deliveries that were not acknowledged yet.
    unacknowledged: Vec<(u16, Publication, Retention)>,
    in_flight: Vec<Token>,
    /// In a seized broker: what this client published and nobody has answered.
    under_way: Vec<(Token, Publication)>,
    /// In a seized broker: what this client published since somebody asked.
    published: Vec<Publication>,
    /// In a seized broker: what was handed over and acknowledged since somebody asked.
    acknowledged: Vec<Publication>,
}

impl Client {
    fn push(&mut self, event: LinkEvent) {
        self.events.push_back(event);
        self.wake.notify_one();
    }

    fn deliver(&mut self, publication: &Publication, retention: Retention) {
        self.next_packet = self.next_packet.checked_add(1).unwrap_or(1);
        let packet = self.next_packet;
        self.unacknowledged
            .push((packet, publication.clone(), retention));
        if self.online {
            self.hand_over(packet, publication.clone(), retention);
        }
    }

    fn hand_over(&mut self, packet: u16, publication: Publication, retention: Retention) {
        let acknowledgement = Acknowledgement {
            connection: self.connection,
            packet,
        };
        let Publication { topic, payload, .. } = publication;
        self.push(LinkEvent::Message(Delivery {
            topic,
            payload,
            retention,
            acknowledgement,
        }));
    }

    fn go_offline(&mut self, reason: Disconnect) {
        if self.online {
            self.online = false;
            self.in_flight.clear();
            self.under_way.clear();
            self.push(LinkEvent::Disconnected {
                reason,
                retry_in: Duration::from_secs(1),
            });
        }
    }
}

impl State {
    fn fate_of(&mut self, topic: &str) -> Fate {
        match self
            .fates
            .iter()
            .position(|(filter, _)| rumqttc::matches(topic, filter))
        {
            Some(index) => self.fates.remove(index).1,
            None => Fate::Deliver,
        }
    }

    fn pass_on(&mut self, publication: &Publication) {
        if publication.retention == Retention::Retained {
            if publication.payload.is_empty() {
                self.retained.remove(&publication.topic);
            } else {
                self.retained
                    .insert(publication.topic.clone(), publication.payload.clone());
            }
        }
        for client in self.clients.values_mut() {
            let wanted = client
                .filters
                .iter()
                .any(|filter| rumqttc::matches(&publication.topic, filter));
            if client.session && wanted {
                client.deliver(publication, Retention::Live);
            }
        }
    }

    fn go_online(&mut self, id: &str) {
        if self.seized {
            return;
        }
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        if client.online {
            return;
        }
        client.online = true;
        client.connection += 1;
        let session_present = if client.session {
            SessionPresence::Resumed
        } else {
            SessionPresence::Fresh
        };
        client.session = true;
        client.push(LinkEvent::Connected { session_present });
        for (packet, publication, retention) in client.unacknowledged.clone() {
            client.hand_over(packet, publication, retention);
        }
        for (topic, payload) in &self.retained {
            if client
                .filters
                .iter()
                .any(|filter| rumqttc::matches(topic, filter))
            {
                let (topic, payload) = (topic.clone(), payload.clone());
                client.deliver(
                    &Publication {
                        topic,
                        payload,
                        retention: Retention::Retained,
                    },
                    Retention::Retained,
                );
            }
        }
    }
}

impl Hub {
    /// An empty broker that follows no instruction yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panicked elsewhere must not hide its own message behind a poisoned lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects a client with a persistent session and these topic filters. Its first event is `Connected`.
    /// A client of the same id that was there before is taken over.
    #[must_use]
    pub fn connect(&self, client_id: &str, filters: &[&str]) -> Loopback {
        let mut state = self.lock();
        let filters = filters.iter().map(|&filter| filter.to_owned()).collect();
        let mut old = state.clients.remove(client_id);
        // What the broker has taken it has taken, whoever connects next under the name.
        let (published, acknowledged) = old.as_mut().map_or_else(Default::default, |old| {
            (
                std::mem::take(&mut old.published),
                std::mem::take(&mut old.acknowledged),
            )
        });
        let client = Client {
            filters,
            events: VecDeque::new(),
            wake: Arc::new(Notify::new()),
            online: false,
            session: old.as_ref().is_some_and(|old| old.session),
            connection: old.as_ref().map_or(0, |old| old.connection),
            next_packet: old.as_ref().map_or(0, |old| old.next_packet),
            unacknowledged: old.map(|old| old.unacknowledged).unwrap_or_default(),
            in_flight: Vec::new(),
            under_way: Vec::new(),
            published,
            acknowledged,
        };
        let wake = Arc::clone(&client.wake);
        state.clients.insert(client_id.to_owned(), client);
        state.go_online(client_id);
        drop(state);
        Loopback {
            hub: self.clone(),
            client_id: client_id.to_owned(),
            wake,
            next_token: 0,
        }
    }

    /// The fate of the next publication whose topic matches `filter`. Instructions are used once, oldest first.
    pub fn instruct(&self, filter: &str, fate: Fate) {
        self.lock().fates.push((filter.to_owned(), fate));
    }

    /// Passes on what [`Fate::Hold`] kept back.
    pub fn release(&self, order: ReleaseOrder) {
        let mut state = self.lock();
        let mut held = std::mem::take(&mut state.held);
        if order == ReleaseOrder::Reversed {
            held.reverse();
        }
        for publication in &held {
            state.pass_on(publication);
        }
    }

    /// Publishes as nobody in particular: what a hostile broker injects, replays or retargets.
    pub fn inject(&self, publication: &Publication) {
        self.lock().pass_on(publication);
    }

    /// Everything that clients published so far, oldest first, also what was lost or refused.
    #[must_use]
    pub fn seen(&self) -> Vec<Publication> {
        self.lock().seen.clone()
    }

    /// Cuts one client's connection; the broker keeps its session. It stays away until [`Hub::admit`] or its own
    /// `network_changed`.
    pub fn cut(&self, client_id: &str) {
        if let Some(client) = self.lock().clients.get_mut(client_id) {
            client.go_offline(Disconnect::Broken);
        }
    }

    /// Lets a client that was cut connect again.
    pub fn admit(&self, client_id: &str) {
        self.lock().go_online(client_id);
    }

    /// Kills the broker and deletes its database: all connections, sessions, retained and held messages are gone.
    pub fn forget_everything(&self) {
        let mut state = self.lock();
        state.retained.clear();
        state.held.clear();
        for client in state.clients.values_mut() {
            client.go_offline(Disconnect::Broken);
            client.session = false;
            client.unacknowledged.clear();
        }
    }
}

/// One client of a [`Hub`].
#[derive(Debug)]
pub struct Loopback {
    hub: Hub,
    client_id: String,
    wake: Arc<Notify>,
    next_token: u64,
}

impl Loopback {
    /// The next event, if there is one already: for tests in which nobody waits.
    pub fn next_now(&mut self) -> Option<LinkEvent> {
        let mut state = self.hub.lock();
        let client = state.clients.get_mut(&self.client_id)?;
        client.events.pop_front()
    }
}

impl Transport for Loopback {
    async fn next(&mut self) -> LinkEvent {
        loop {
            let event = self
                .hub
                .lock()
                .clients
                .get_mut(&self.client_id)
                .and_then(|client| client.events.pop_front());
            match event {
                Some(event) => return event,
                None => self.wake.notified().await,
            }
        }
    }

    fn publish(&mut self, publication: Publication) -> Result<Token, NotSent> {
        if publication.topic.is_empty() || publication.topic.contains(['+', '#', '\0']) {
            return Err(NotSent::InvalidTopic);
        }
        let mut state = self.hub.lock();
        let client = state
            .clients
            .get_mut(&self.client_id)
            .ok_or(NotSent::Disconnected)?;
        if !client.online {
            return Err(NotSent::Disconnected);
        }
        if client.in_flight.len() >= WINDOW {
            return Err(NotSent::Full);
        }
        let token = Token(self.next_token);
        self.next_token += 1;
        if state.seized {
            if let Some(client) = state.clients.get_mut(&self.client_id) {
                client.in_flight.push(token);
                client.published.push(publication.clone());
                client.under_way.push((token, publication));
            }
            return Ok(token);
        }
        let fate = state.fate_of(&publication.topic);
        state.seen.push(publication.clone());
        if let Some(client) = state.clients.get_mut(&self.client_id) {
            match fate {
                Fate::Swallow => client.in_flight.push(token),
                Fate::Refuse(reason) => client.push(LinkEvent::PublishRefused { token, reason }),
                Fate::Deliver | Fate::Lose | Fate::Duplicate | Fate::Hold => {
                    client.push(LinkEvent::Published(token))
                }
            }
        }
        match fate {
            Fate::Deliver => state.pass_on(&publication),
            Fate::Duplicate => {
                state.pass_on(&publication);
                state.pass_on(&publication);
            }
            Fate::Hold => state.held.push(publication),
            Fate::Lose | Fate::Swallow | Fate::Refuse(_) => {}
        }
        Ok(token)
    }

    fn acknowledge(&mut self, acknowledgement: Acknowledgement) {
        let mut state = self.hub.lock();
        let Some(client) = state.clients.get_mut(&self.client_id) else {
            return;
        };
        if client.online && client.connection == acknowledgement.connection {
            let Client {
                unacknowledged,
                acknowledged,
                ..
            } = client;
            let is_it = |packet: u16| packet == acknowledgement.packet;
            unacknowledged.retain(|(packet, publication, _)| {
                if is_it(*packet) {
                    acknowledged.push(publication.clone());
                }
                !is_it(*packet)
            });
        }
    }

    fn network_changed(&mut self) {
        let mut state = self.hub.lock();
        if let Some(client) = state.clients.get_mut(&self.client_id) {
            client.go_offline(Disconnect::NetworkChanged);
        }
        state.go_online(&self.client_id);
    }

    async fn close(&mut self, _within: Duration) {
        if let Some(client) = self.hub.lock().clients.get_mut(&self.client_id) {
            client.online = false;
            client.in_flight.clear();
        }
    }
}
