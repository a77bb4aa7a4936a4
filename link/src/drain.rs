//! Drains a durable outbox over a transport: which row is in flight under which token. It must not store, order by itself or retry a refusal.

use std::collections::HashMap;

use crate::{LinkEvent, NotSent, Publication, RefusedPublish, Token, Transport};

/// Rows under way at once, whatever the broker allows (the window of [`crate::MqttLink`]).
const IN_FLIGHT: usize = 16;

/// What an event meant for one row of the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained<K> {
    /// The broker acknowledged it: the row may be marked as sent.
    Published(K),
    /// The broker acknowledged it and had nobody to give it to: worth sending again when somebody shows up.
    Unheard(K),
    /// The broker refused it: sending it again at once will not help.
    Refused(K, RefusedPublish),
}

/// Keeps at most 16 rows of a durable outbox in flight. `K` is the row's key. Call [`Drain::fill`] after
/// `Connected`, after each `Published` or `Unheard` and when rows were added; hand every event to [`Drain::note`].
#[derive(Debug)]
pub struct Drain<K> {
    in_flight: HashMap<Token, K>,
}

impl<K> Default for Drain<K> {
    fn default() -> Self {
        Self {
            in_flight: HashMap::new(),
        }
    }
}

impl<K: Clone + Eq> Drain<K> {
    /// Nothing in flight.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether this row is in flight.
    #[must_use]
    pub fn contains(&self, key: &K) -> bool {
        self.in_flight.values().any(|known| known == key)
    }

    /// Rows in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Publishes rows, oldest first as `rows` gives them, until 16 are in flight, the transport takes no more, or
    /// there are none left. Rows that are in flight already are passed over, so `rows` may always be the whole
    /// outbox; it is read lazily, `load` is called only for rows that are sent.
    ///
    /// Returns the rows that can never be sent (too large, bad topic) with the reason; the caller decides.
    pub fn fill<T: Transport>(
        &mut self,
        transport: &mut T,
        rows: impl IntoIterator<Item = K>,
        mut load: impl FnMut(&K) -> Option<Publication>,
    ) -> Vec<(K, NotSent)> {
        let mut impossible = Vec::new();
        for key in rows {
            if self.in_flight.len() >= IN_FLIGHT {
                break;
            }
            if self.in_flight.values().any(|known| *known == key) {
                continue;
            }
            // A row that vanished between listing and loading was finished elsewhere.
            let Some(publication) = load(&key) else {
                continue;
            };
            match transport.publish(publication) {
                Ok(token) => {
                    self.in_flight.insert(token, key);
                }
                Err(NotSent::Disconnected | NotSent::Full) => break,
                Err(never @ (NotSent::TooLarge { .. } | NotSent::InvalidTopic)) => {
                    impossible.push((key, never))
                }
            }
        }
        impossible
    }

    /// Takes in one event: yields the row it settles, and forgets everything in flight on `Disconnected`.
    pub fn note(&mut self, event: &LinkEvent) -> Option<Drained<K>> {
        match event {
            LinkEvent::Published(token) => self.in_flight.remove(token).map(Drained::Published),
            LinkEvent::Unheard(token) => self.in_flight.remove(token).map(Drained::Unheard),
            LinkEvent::PublishRefused { token, reason } => self
                .in_flight
                .remove(token)
                .map(|key| Drained::Refused(key, *reason)),
            LinkEvent::Disconnected { .. } => {
                self.in_flight.clear();
                None
            }
            LinkEvent::Connected { .. }
            | LinkEvent::Message(_)
            | LinkEvent::SubscriptionRefused { .. } => None,
        }
    }
}
