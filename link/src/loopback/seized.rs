//! A broker in the hands of a test: nothing is answered, passed on or remembered unless the test says so. It must not be used outside tests.

use super::{Hub, State};
use crate::{
    Disconnect, LinkEvent, Publication, RefusedPublish, RefusedSubscription, SessionPresence,
};

/// How a seized broker answers a publication: whatever its PUBACK may say, true or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Success.
    Published,
    /// No matching subscribers.
    Unheard,
    /// A refusal.
    Refused(RefusedPublish),
}

impl Hub {
    /// Takes the broker over. Clients stay away until [`Hub::welcome`], whatever they do.
    pub fn seize(&self) {
        self.lock().seized = true;
    }

    fn with<R>(&self, client_id: &str, act: impl FnOnce(&mut super::Client) -> R) -> Option<R> {
        let mut state = self.lock();
        let State { clients, .. } = &mut *state;
        clients.get_mut(client_id).map(act)
    }

    /// Whether this client's connection stands.
    #[must_use]
    pub fn is_online(&self, client_id: &str) -> bool {
        self.with(client_id, |client| client.online)
            .unwrap_or(false)
    }

    /// What this client published since the last call, oldest first, whether or not it was answered.
    #[must_use]
    pub fn take_published(&self, client_id: &str) -> Vec<Publication> {
        self.with(client_id, |client| std::mem::take(&mut client.published))
            .unwrap_or_default()
    }

    /// How many publications of this client are unanswered.
    #[must_use]
    pub fn unanswered(&self, client_id: &str) -> usize {
        self.with(client_id, |client| client.under_way.len())
            .unwrap_or(0)
    }

    /// Answers a publication that is under way, by its place among the unanswered; nothing when there is none.
    pub fn answer(&self, client_id: &str, index: usize, answer: Answer) {
        self.with(client_id, |client| {
            if index >= client.under_way.len() {
                return;
            }
            let (token, _) = client.under_way.remove(index);
            client.in_flight.retain(|known| *known != token);
            client.push(match answer {
                Answer::Published => LinkEvent::Published(token),
                Answer::Unheard => LinkEvent::Unheard(token),
                Answer::Refused(reason) => LinkEvent::PublishRefused { token, reason },
            });
        });
    }

    /// Hands a message to one client, whatever it has subscribed to, retained or not as the message says. While the
    /// client is away it waits in its session.
    pub fn hand_over(&self, client_id: &str, publication: &Publication) {
        self.with(client_id, |client| {
            client.deliver(publication, publication.retention);
        });
    }

    /// What this client acknowledged since the last call, oldest first.
    #[must_use]
    pub fn take_acknowledged(&self, client_id: &str) -> Vec<Publication> {
        self.with(client_id, |client| std::mem::take(&mut client.acknowledged))
            .unwrap_or_default()
    }

    /// Lets a client in and claims this of its session, true or not. What it has not acknowledged comes again.
    pub fn welcome(&self, client_id: &str, session_present: SessionPresence) {
        self.with(client_id, |client| {
            if client.online {
                return;
            }
            client.online = true;
            client.connection += 1;
            client.session = true;
            client.push(LinkEvent::Connected { session_present });
            for (packet, publication, retention) in client.unacknowledged.clone() {
                client.hand_over(packet, publication, retention);
            }
        });
    }

    /// Ends a client's connection, or an attempt to make one, for this reason.
    pub fn end(&self, client_id: &str, reason: Disconnect) {
        self.with(client_id, |client| {
            // An attempt that fails is told as well.
            client.online = true;
            client.go_offline(reason);
        });
    }

    /// Forgets what waits for a client.
    pub fn forget_session(&self, client_id: &str) {
        self.with(client_id, |client| client.unacknowledged.clear());
    }

    /// Says that a subscription is not granted, true or not.
    pub fn refuse_subscription(&self, client_id: &str, reason: RefusedSubscription) {
        self.with(client_id, |client| {
            let filter = client.filters.first().cloned().unwrap_or_default();
            if client.online {
                client.push(LinkEvent::SubscriptionRefused { filter, reason });
            }
        });
    }
}
