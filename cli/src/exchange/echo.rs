//! A word to ourselves through the broker: when it is back, what the broker had for this client before has come in too. Means nothing to anybody else, and proves nothing about a broker that lies.
use super::{Exchange, Item, Stay};
use crate::clock::UnixMs;
use crate::error::Error;
use crate::store::Account;
use homing_link::{Delivery, Publication, Retention, Transport};
use std::time::Duration;
use tokio::time::Instant;

/// Nothing new for this long: the broker has handed over what it had, where it cannot be asked.
const SILENCE_MS: i64 = 400;

/// The topic on which this client hears itself; the last part is drawn for each connection so that nobody else's call hears it.
#[derive(Clone, Debug, Default)]
pub(super) struct Echo {
    topic: Option<String>,
    pub(super) awaited: Option<Vec<u8>>,
}

impl Echo {
    /// For a call of an owner's own machine. A delegate may not use the topic, and the resident client listens anyway.
    pub(super) fn for_call(account: &Account, stay: Stay) -> Result<Self, Error> {
        let asks = stay == Stay::Call && account.kit.is_some();
        let topic = || -> Result<String, Error> {
            let number = u64::from_be_bytes(crate::random::octets()?);
            Ok(format!(
                "homing/v1/account/{}/echo/{number:016x}",
                account.id
            ))
        };
        Ok(Self {
            topic: asks.then(topic).transpose()?,
            awaited: None,
        })
    }

    /// What has to be subscribed for it.
    pub(super) fn filter(&self) -> Option<&str> {
        self.topic.as_deref()
    }

    /// Takes in a message if it is ours.
    pub(super) fn hear(&mut self, delivery: &Delivery) {
        if Some(&delivery.topic) == self.topic.as_ref()
            && self.awaited.as_ref() == Some(&delivery.payload)
        {
            self.awaited = None;
        }
    }
}

impl<T: Transport> Exchange<T> {
    /// Takes in what the broker had for this client when this was called, and sends what follows from it; at most `within`.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn settle(&mut self, within: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + within;
        if self.ask_ourselves()? {
            while self.echo.awaited.is_some() && self.goes_on(deadline) {
                self.wait(deadline).await?;
            }
        } else {
            self.listen_for_silence(deadline).await?;
        }
        while self.goes_on(deadline) {
            self.look()?;
            if self.in_flight.is_empty() {
                break;
            }
            self.wait(deadline).await?;
        }
        Ok(())
    }

    /// Publishes the word; `false` where there is no topic for it or no room.
    fn ask_ourselves(&mut self) -> Result<bool, Error> {
        let Some(topic) = self.echo.topic.clone() else {
            return Ok(false);
        };
        let word = crate::random::octets::<8>()?.to_vec();
        let sent = self.link.publish(Publication {
            topic,
            payload: word.clone(),
            retention: Retention::Live,
        });
        let Ok(token) = sent else { return Ok(false) };
        self.in_flight.insert(token, Item::Echo);
        self.echo.awaited = Some(word);
        Ok(true)
    }

    async fn listen_for_silence(&mut self, deadline: Instant) -> Result<(), Error> {
        let mut known = (self.store.newest_news()?, UnixMs::now());
        while self.goes_on(deadline) {
            self.turn(deadline).await?;
            let (newest, now) = (self.store.newest_news()?, UnixMs::now());
            if newest != known.0 || !self.is_quiet() {
                known = (newest, now);
            } else if now.0 - known.1.0 >= SILENCE_MS {
                break;
            }
        }
        Ok(())
    }

    fn goes_on(&self, deadline: Instant) -> bool {
        self.is_connected() && Instant::now() < deadline
    }

    async fn wait(&mut self, deadline: Instant) -> Result<(), Error> {
        match tokio::time::timeout_at(deadline, self.link.next()).await {
            Ok(event) => self.take_in(event),
            Err(_) => Ok(()),
        }
    }
}
