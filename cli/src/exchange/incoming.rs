//! What comes in from the broker: verified by `homing_owner`, stored, and only then acknowledged. What does not verify is dropped; strangers leave no trace.
use super::{Exchange, Told};
use crate::clock::UnixMs;
use crate::error::Error;
use crate::store::{DeviceRow, Origin};
use homing_link::{Delivery, Retention, Transport};
use homing_owner::enrol::Verdict;
use homing_protocol::Malformed;
use homing_protocol::id::DeviceId;
use homing_protocol::keyring::Keyring;
use homing_protocol::topic::{Channel, Topic};

impl<T: Transport> Exchange<T> {
    /// Stores one message if it is to be believed.
    ///
    /// # Errors
    /// Only those of the store: the message then stays unacknowledged and comes again.
    pub(super) fn store_message(&mut self, delivery: &Delivery) -> Result<(), Error> {
        match Topic::parse(&delivery.topic) {
            Some(Topic::Keyring(account)) if account == self.account.id => {
                self.offered(&delivery.payload)
            }
            Some(Topic::Device(device, Channel::Enrol)) => self.claimed(device, &delivery.payload),
            Some(Topic::Device(device, channel)) => {
                let origin = match delivery.retention {
                    Retention::Live => Origin::Live,
                    Retention::Retained => Origin::Retained,
                };
                self.heard(device, channel, &delivery.payload, origin)
            }
            _ => Ok(()),
        }
    }

    /// A keyring blob: kept aside when its number is higher, or the same with other bytes, which two machines made at once. Whether it is ours shows when somebody unlocks it.
    pub(super) fn offered(&mut self, payload: &[u8]) -> Result<(), Error> {
        let (Ok(own), Ok(keyring)) = (
            Keyring::parse(&self.account.keyring),
            Keyring::parse(payload),
        ) else {
            return Ok(());
        };
        // Salt and cost never change in an account: others are somebody else's choice of what trying it costs us.
        if keyring.stretches_like(&own) && keyring.generation >= own.generation {
            self.store.offer_keyring(payload)?;
        }
        Ok(())
    }

    fn claimed(&mut self, device: DeviceId, payload: &[u8]) -> Result<(), Error> {
        let Some(row) = self.store.device(device)? else {
            return Ok(());
        };
        let Some(invitation) = row.invitation(self.account.id) else {
            return Ok(());
        };
        let reading = &self.account.client.reading;
        let first =
            row.claim
                .as_ref()
                .and_then(|claim| match invitation.judge(claim, reading, None) {
                    Ok(Verdict::First(claim)) => Some(claim.keys),
                    _ => None,
                });
        match invitation.judge(payload, reading, first.as_ref()) {
            Ok(Verdict::First(claim)) => {
                // Another process may have stored a claim since the row was read: it judges this one next time.
                let _ = self.store.claimed(device, &claim, payload)?;
                Ok(())
            }
            Ok(Verdict::Again(_)) => {
                self.asked_again(device);
                Ok(())
            }
            Ok(Verdict::Rival(claim)) => self.store.rival_claim(device, &claim.keys),
            Err(_) => Ok(()),
        }
    }

    fn heard(
        &mut self,
        device: DeviceId,
        channel: Channel,
        payload: &[u8],
        origin: Origin,
    ) -> Result<(), Error> {
        let row: Option<DeviceRow> = self.store.device(device)?;
        let Some(row) = row else { return Ok(()) };
        let Some(phone) = row.phone(self.account.id, &self.account.root)? else {
            return Ok(());
        };
        let reading = &self.account.client.reading;
        let now = UnixMs::now();
        let heard = match channel {
            Channel::Beacon => phone.hear_beacon(payload, reading).map(|heard| {
                self.store
                    .heard_beacon(device, &heard, payload, origin, now)
            }),
            Channel::Receipt => phone
                .hear_receipt(payload, reading)
                .map(|answer| self.store.heard_receipt(device, &answer, payload, now)),
            Channel::Report => phone.hear_report(payload, reading).map(|report| {
                self.store.heard_report(device, &report, payload, now)?;
                self.reported(device);
                Ok(())
            }),
            Channel::Command | Channel::Authority | Channel::Enrol => return Ok(()),
        };
        heard.unwrap_or_else(|fault| {
            // What is sealed to other readers is no forgery, and an empty payload only takes back what was retained.
            if !payload.is_empty() && fault != homing_owner::Error::Hear(Malformed::Seal) {
                self.impostors.entry(device).or_insert(Told::No);
            }
            Ok(())
        })
    }
}
