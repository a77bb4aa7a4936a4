//! The benchmark's owner: a real client of the account that signs orders and verifies answers. It must not keep an outbox: a lost order ends the run.

use std::time::{Duration, Instant};

use homing_link::{
    Credentials, Endpoint, LinkEvent, LinkSettings, MqttLink, Publication, Retention, Transport,
};
use homing_owner::account::Unlocked;
use homing_owner::delivery::State;
use homing_owner::phone::{Meaning, Phone};
use homing_owner::sign::{Intent, Place, seal_command, seal_report_ack};
use homing_protocol::command::Op;
use homing_protocol::envelope::Address;
use homing_protocol::id::{CommandId, DeviceId, SessionId};
use homing_protocol::keys::{KemSecret, SigningKey};
use homing_protocol::rand_core::UnwrapErr;
use homing_protocol::topic::{Channel, Topic, owner_filters};
use tokio::time::timeout;

use crate::error::{Error, unreadable};

/// The operating system's randomness.
pub(crate) const fn rng() -> UnwrapErr<getrandom::SysRng> {
    UnwrapErr(getrandom::SysRng)
}

/// One connected client of the account, speaking with one phone. It holds the find client's keys, as a browser would
/// after the passphrase was typed.
pub(crate) struct Client {
    link: MqttLink,
    phone: Phone,
    signing: SigningKey,
    reading: KemSecret,
    place: Place,
    stored: u64,
}

/// An order on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// Its id.
    pub(crate) id: CommandId,
    /// When it was handed to the link.
    pub(crate) at: Instant,
}

impl Client {
    /// Connects and waits for the phone's retained beacon, which the first order of a session has to quote.
    ///
    /// # Errors
    /// No connection or no beacon in time; a phone that is not in the keyring.
    pub(crate) async fn connect(
        account: &Unlocked,
        credentials: Credentials,
        endpoint: Endpoint,
        device: DeviceId,
    ) -> Result<Self, Error> {
        let address = Address {
            account: account.find.account,
            device,
        };
        let known = account.find.devices.iter().find(|it| it.device == device);
        let known = known.ok_or_else(|| unreadable("the keyring without this phone"))?;
        let phone = Phone::certified(&known.certificate, &account.find.root, &address)?;
        let id = format!("owner-{}-bench", account.find.account);
        let link = connect(endpoint, credentials, id, owner_filters(device)).await?;
        let mut client = Self {
            link,
            phone,
            signing: account.find.signing.clone(),
            reading: account.find.reading.clone(),
            place: Place {
                session: SessionId::random(&mut rng()),
                seq: 0,
                beacon: None,
                authority_version: account.authority()?.version,
            },
            stored: 0,
        };
        let beacon = async {
            while client.place.beacon.is_none() {
                client.hear().await?;
            }
            Ok(())
        };
        within("the phone's beacon", Duration::from_secs(30), beacon).await?;
        Ok(client)
    }

    /// Signs and seals an order, as large on the wire as every other.
    ///
    /// # Errors
    /// The phone's key is unusable.
    pub(crate) fn seal(&mut self, op: Op) -> Result<(CommandId, Vec<u8>), Error> {
        self.place.seq += 1;
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let intent = Intent {
            id: CommandId::random(&mut rng()),
            op,
            issued_at_s: now,
            not_after_s: Some(now + 24 * 3600),
        };
        let bytes = seal_command(&intent, &self.place, &self.phone, &self.signing, &mut rng())?;
        Ok((intent.id, bytes))
    }

    /// Orders something; the time is that of the publish, after signing.
    ///
    /// # Errors
    /// There is no connection.
    pub(crate) fn order(&mut self, op: Op) -> Result<Sent, Error> {
        let (id, payload) = self.seal(op)?;
        let at = Instant::now();
        self.publish(payload)?;
        Ok(Sent { id, at })
    }

    /// Waits for the phone's signed word that this order has come to `wanted`, and gives the moment it arrived.
    ///
    /// # Errors
    /// It ended otherwise, or nothing came in time.
    pub(crate) async fn answer(
        &mut self,
        order: Sent,
        wanted: State,
        patience: Duration,
    ) -> Result<Instant, Error> {
        let answer = async {
            loop {
                let Some((id, state, at)) = self.hear().await? else {
                    continue;
                };
                if id == order.id && state == wanted {
                    return Ok(at);
                }
                if id == order.id && state.is_final() {
                    return Err(Error::Ended {
                        state: state.word(),
                        wanted: wanted.word(),
                    });
                }
            }
        };
        within("the phone's answer", patience, answer).await
    }

    /// Lets time pass while the connection is looked after.
    ///
    /// # Errors
    /// The connection ended.
    pub(crate) async fn rest(&mut self, time: Duration) -> Result<(), Error> {
        let listening = async {
            loop {
                self.hear().await?;
            }
        };
        match timeout(time, listening).await {
            Ok(ended) => ended,
            Err(_) => Ok(()),
        }
    }

    /// Takes in one event; a receipt gives what it says of its order.
    async fn hear(&mut self) -> Result<Option<(CommandId, State, Instant)>, Error> {
        let event = self.link.next().await;
        let at = Instant::now();
        let delivery = match event {
            LinkEvent::Message(delivery) => delivery,
            LinkEvent::Disconnected { reason, .. } => {
                return Err(cut("the owner's connection", &reason));
            }
            LinkEvent::PublishRefused { reason, .. } => {
                return Err(cut("an order's way", &reason));
            }
            LinkEvent::Connected { .. }
            | LinkEvent::Published(_)
            | LinkEvent::Unheard(_)
            | LinkEvent::SubscriptionRefused { .. } => return Ok(None),
        };
        let topic = Topic::parse(&delivery.topic);
        let answer = match topic {
            Some(Topic::Device(_, Channel::Beacon)) => {
                let heard = self.phone.hear_beacon(&delivery.payload, &self.reading)?;
                self.place.beacon = Some(heard.beacon.reference());
                None
            }
            Some(Topic::Device(_, Channel::Receipt)) => {
                let answer = self.phone.hear_receipt(&delivery.payload, &self.reading)?;
                match answer.meaning(0) {
                    Meaning::Step(step) => Some((answer.receipt.command, step.state, at)),
                    Meaning::SignAgain(refusal) => return Err(cut("an order", &refusal)),
                }
            }
            Some(Topic::Device(_, Channel::Report)) => {
                self.store_report(&delivery.payload)?;
                None
            }
            Some(Topic::Device(..) | Topic::Keyring(_) | Topic::Notice(..)) | None => None,
        };
        self.link.acknowledge(delivery.acknowledgement);
        Ok(answer)
    }

    /// Confirms a report as `homing watch` does.
    fn store_report(&mut self, payload: &[u8]) -> Result<(), Error> {
        let report = self.phone.hear_report(payload, &self.reading)?;
        let last = report.first + report.positions.len() as u64 - 1;
        if last > self.stored {
            self.stored = last;
            let ack = seal_report_ack(last, &self.phone, &self.signing, &mut rng())?;
            self.publish(ack)?;
        }
        Ok(())
    }

    fn publish(&mut self, payload: Vec<u8>) -> Result<(), Error> {
        let topic = Topic::Device(self.phone.address.device, Channel::Command).to_string();
        publish(&mut self.link, topic, payload)
    }
}

/// Connects to a broker and waits until it has answered.
///
/// # Errors
/// Unusable papers; no connection in time.
pub(crate) async fn connect(
    endpoint: Endpoint,
    credentials: Credentials,
    client_id: String,
    subscriptions: Vec<String>,
) -> Result<MqttLink, Error> {
    let mut settings = LinkSettings::new(endpoint, credentials, client_id);
    settings.subscriptions = subscriptions;
    let mut link = MqttLink::start(settings)?;
    within("the broker", Duration::from_secs(30), async {
        match link.next().await {
            LinkEvent::Connected { .. } => Ok(()),
            LinkEvent::Disconnected { reason, .. } => Err(cut("the connection", &reason)),
            other => Err(cut("the connection", &format!("{other:?}"))),
        }
    })
    .await?;
    Ok(link)
}

/// Publishes at QoS 1, not retained.
///
/// # Errors
/// The link does not take it.
pub(crate) fn publish(link: &mut MqttLink, topic: String, payload: Vec<u8>) -> Result<(), Error> {
    link.publish(Publication {
        topic,
        payload,
        retention: Retention::Live,
    })
    .map(|_| ())
    .map_err(|reason| cut("a publication's way", &reason))
}

/// Something that ended although it should not.
pub(crate) fn cut(what: &'static str, reason: &impl ToString) -> Error {
    Error::Cut {
        what,
        reason: reason.to_string(),
    }
}

/// Runs something with a deadline.
///
/// # Errors
/// [`Error::Late`], or the work's own.
pub(crate) async fn within<R>(
    what: &'static str,
    patience: Duration,
    work: impl Future<Output = Result<R, Error>>,
) -> Result<R, Error> {
    match timeout(patience, work).await {
        Ok(done) => done,
        Err(_) => Err(Error::Late {
            what,
            seconds: patience.as_secs(),
        }),
    }
}
