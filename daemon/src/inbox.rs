//! What the broker brings: opened, verified and given to the judge, and acknowledged only once what follows is on the disk. It must not judge by itself.

use homing_link::{Delivery, Transport};
use homing_policy::Event;
use homing_protocol::Refusal;
use homing_protocol::authority::AuthorityList;
use homing_protocol::command::{self, Rejected};
use homing_protocol::envelope::{self, Header, MessageType};
use homing_protocol::readers::KeySet;
use homing_protocol::report::ReportAck;
use homing_protocol::topic::{Channel, Topic};

use crate::brain::{Brain, PUT_OFF};
use crate::error::Error;
use crate::{boottime, history};

/// Commands of clients that stand in a newer authority list than ours, kept until it comes.
const MOST_PARKED: usize = 16;

impl<T: Transport> Brain<T> {
    /// A message is acknowledged to the broker only when what follows from it is durable, or when nothing follows.
    pub(crate) fn receive(&mut self, delivery: Delivery) -> Result<(), Error> {
        let result = self.judge_message(&delivery.topic, &delivery.payload);
        match result {
            Ok(()) => self.transport.acknowledge(delivery.acknowledgement),
            // Not acknowledged: the broker brings it again, and so does the owner.
            Err(error) if error.may_pass() => {
                tracing::error!("an order is put off: {error}");
                self.put_off = Some(boottime::now()? + PUT_OFF);
            }
            Err(error) => return Err(error),
        }
        self.report_status();
        self.drain()
    }

    fn judge_message(&mut self, topic: &str, payload: &[u8]) -> Result<(), Error> {
        let known = matches!(Topic::parse(topic), Some(Topic::Device(device, Channel::Command | Channel::Authority)) if device == self.address.device);
        let header = Header::read(payload);
        match header {
            Ok(header) if known => match header.kind {
                MessageType::Command => self.judge_command(payload),
                MessageType::ReportAck => self.judge_ack(payload),
                MessageType::Authority | MessageType::KeySet => self.judge_list(payload),
                // A second answer to an enrolment that is over, or what only a phone sends.
                MessageType::Enrolment => Ok(()),
                MessageType::Approval
                | MessageType::Beacon
                | MessageType::Receipt
                | MessageType::Report
                | MessageType::DeviceCertificate
                | MessageType::Attestation => self.turn_away(Refusal::Malformed),
            },
            Ok(_) => self.turn_away(Refusal::Misdirected),
            Err(fault) => self.turn_away(fault.into()),
        }
    }

    fn judge_command(&mut self, payload: &[u8]) -> Result<(), Error> {
        match command::open(
            payload,
            &self.address,
            self.epoch,
            &self.kem,
            &self.authority,
        ) {
            Ok(verified) => {
                let order = verified.command();
                tracing::info!(
                    "order {} {} from client {}",
                    order.op.word(),
                    order.id,
                    order.client
                );
                self.handle(&Event::Command(&verified))
            }
            Err(Rejected::Client(refusal, order)) => {
                tracing::info!("order {} refused: {refusal}", order.id);
                self.handle(&Event::Refused(refusal, &order))
            }
            Err(Rejected::Stranger(Refusal::NeedAuthority))
                if self.parked.iter().any(|parked| parked == payload) =>
            {
                // The owner repeats itself, or the broker does: one place is enough.
                self.turn_away(Refusal::NeedAuthority)
            }
            Err(Rejected::Stranger(Refusal::NeedAuthority)) => {
                self.count(Refusal::NeedAuthority);
                if self.parked.len() >= MOST_PARKED {
                    // Anybody can seal to this phone: what came last is the likeliest to be waited for.
                    self.parked.remove(0);
                }
                // The beacon shows which list this phone has; the owner sends the newer one. One beacon says it for all.
                if self.parked.is_empty() {
                    self.beacon_soon();
                }
                self.parked.push(payload.to_vec());
                Ok(())
            }
            Err(Rejected::Stranger(refusal)) => {
                tracing::debug!("a message of a stranger: {refusal}");
                self.turn_away(refusal)
            }
        }
    }

    /// Tries again what waited for a newer authority list.
    pub(crate) fn unpark(&mut self) -> Result<(), Error> {
        for payload in std::mem::take(&mut self.parked) {
            self.judge_command(&payload)?;
        }
        // What this list does not serve either is sent again by its owner, if there is one.
        self.parked.clear();
        Ok(())
    }

    fn judge_ack(&mut self, payload: &[u8]) -> Result<(), Error> {
        match ReportAck::open(
            payload,
            &self.address,
            self.epoch,
            &self.kem,
            &self.authority,
        ) {
            Ok(ack) => {
                let reader = self.authority.entry(ack.client);
                let rights = reader.map(|entry| entry.capabilities);
                self.handle(&Event::ReportsStored {
                    through: ack.through,
                    rights: rights.unwrap_or_default(),
                })?;
                history::confirmed(self)
            }
            Err(fault) => self.turn_away(fault.into()),
        }
    }

    fn judge_list(&mut self, payload: &[u8]) -> Result<(), Error> {
        let signed = match envelope::open(payload, &self.address, &self.kem, None) {
            Ok((_, signed)) => signed,
            Err(fault) => return self.turn_away(fault.into()),
        };
        if let Ok(list) = AuthorityList::verify(&signed, &self.root, self.address.account) {
            return self.handle(&Event::Authority {
                version: list.version,
                signed: &signed,
            });
        }
        match KeySet::verify(&signed, &self.root, &self.address) {
            Ok(set) => self.handle(&Event::KeySet {
                version: set.version,
                signed: &signed,
            }),
            Err(fault) => self.turn_away(fault.into()),
        }
    }

    /// Counts a message that means nothing here; there is nothing to make durable.
    fn turn_away(&mut self, refusal: Refusal) -> Result<(), Error> {
        self.count(refusal);
        Ok(())
    }
}
