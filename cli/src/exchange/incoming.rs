//! What comes in from the broker: verified by `homing_owner`, stored, and only then acknowledged. What does not verify is dropped; strangers leave no trace.
use super::{Exchange, Told};
use crate::clock::UnixMs;
use crate::error::Error;
use crate::store::{DeviceRow, Origin};
use homing_link::{Delivery, Retention, Transport};
use homing_owner::enrol::Verdict;
use homing_owner::phone::Heard;
use homing_protocol::Malformed;
use homing_protocol::admission::Notice;
use homing_protocol::beacon::list_digest;
use homing_protocol::id::DeviceId;
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
            Some(Topic::Notice(account, client))
                if account == self.account.id && client == self.account.client.id() =>
            {
                self.noticed(&delivery.payload)
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

    /// A phone that follows another list of the number of ours shows that two machines changed the account apart, whatever the broker shows of it.
    fn compare_lists(&mut self, row: &DeviceRow, heard: &Heard) -> Result<(), Error> {
        let lists = heard.status.as_ref().and_then(|status| status.lists);
        // A delegate changes no list, and need not know the newest.
        let Some(lists) = lists.filter(|_| self.account.kit.is_some()) else {
            return Ok(());
        };
        let (beacon, account) = (&heard.beacon, &self.account);
        let other_list = beacon.authority_version == account.authority_version
            && lists.authority != list_digest(&account.authority);
        let other_set = beacon.key_set_version == row.key_set_version
            && !row.key_set.is_empty()
            && lists.key_set != list_digest(&row.key_set);
        if other_list {
            self.store.fork_seen(&format!(
                "{} follows another authority list {} than this machine's: another machine made it at the same time",
                row.name, account.authority_version
            ))?;
        }
        if other_set {
            self.store.fork_seen(&format!(
                "{} follows another key set {} than this machine's: another machine made it at the same time",
                row.name, row.key_set_version
            ))?;
        }
        Ok(())
    }

    /// What the owner tells this delegate; what ROOT did not sign is none of it.
    fn noticed(&mut self, payload: &[u8]) -> Result<(), Error> {
        let account = &self.account;
        let (client, reading) = (account.client.id(), &account.client.reading);
        let notice = Notice::open(payload, &account.root, account.id, client, reading);
        if let (Ok(notice), None) = (notice, &account.kit) {
            self.store.take_notice(&notice)?;
            self.account = self.store.account()?;
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
                    .heard_beacon(device, &heard, payload, origin, now)?;
                self.compare_lists(&row, &heard)
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
