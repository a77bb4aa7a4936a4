//! The account's keyring at the broker: what other machines leave there is kept aside, ours is put there, and both become one while the account is unlocked. Asks for no passphrase.
use super::{Acceptance, Exchange, Item, Stay};
use crate::clock::UnixMs;
use crate::error::Error;
use crate::reconcile::reconcile;
use homing_link::{Retention, Transport};
use homing_protocol::keyring::Keyring;
use homing_protocol::topic::Topic;

/// How long after connecting the broker may take to show the keyring that it keeps, milliseconds; then it counts as lost.
const KEYRING_SHOWN_WITHIN_MS: i64 = 5_000;

impl<T: Transport> Exchange<T> {
    /// A keyring blob: kept aside when its number is higher, or the same with other bytes, which two machines made at once; answered with ours when it is lower. Whether it is ours shows when somebody unlocks it.
    pub(super) fn offered(&mut self, payload: &[u8]) -> Result<(), Error> {
        if !payload.is_empty() {
            self.keyring_shown = true;
        }
        let (Ok(own), Ok(keyring)) = (
            Keyring::parse(&self.account.keyring),
            Keyring::parse(payload),
        ) else {
            return Ok(());
        };
        // Salt and cost never change in an account: others are somebody else's choice of what trying it costs us.
        if keyring.stretches_like(&own) {
            self.store.keyring_shown(payload, keyring.generation)?;
        }
        Ok(())
    }

    /// Publishes the keyring where it is due: it is new, or the broker shows none although it was given one. One with a lower number than what another machine left there waits until both are one.
    pub(super) fn send_keyring(&mut self, now: UnixMs) -> Result<(), Error> {
        if self.account.keyring.is_empty() {
            return Ok(());
        }
        if let Some(since) = self.connected_since(now)
            && !self.keyring_shown
        {
            let due = UnixMs(since.0.saturating_add(KEYRING_SHOWN_WITHIN_MS));
            if now < due {
                self.look_at = self.look_at.min(due);
            } else {
                self.keyring_shown = true;
                self.store.publish_keyring_again()?;
            }
        }
        let Some(blob) = self.store.unpublished_keyring()? else {
            return Ok(());
        };
        let number = |blob: &[u8]| Keyring::parse(blob).map_or(0, |keyring| keyring.generation);
        let offered = self.store.offered_keyring()?;
        if offered.is_some_and(|offered| number(&offered) > number(&blob)) {
            return Ok(());
        }
        let topic = Topic::Keyring(self.account.id);
        let item = Item::Keyring(blob.clone());
        self.repeat(item, topic, Retention::Retained, now, |_| Ok(blob))
    }

    /// Tells delegates what they do not know yet; the resident client tells them on each connection, because the broker may have forgotten.
    pub(super) fn send_notices(&mut self, now: UnixMs) -> Result<(), Error> {
        for (topic, payload) in self.store.notices(false)? {
            let Some(parsed) = Topic::parse(&topic) else {
                continue;
            };
            let item = Item::Notice(topic, payload.clone());
            self.repeat(item, parsed, Retention::Retained, now, |_| Ok(payload))?;
        }
        if self.stay == Stay::Resident {
            for (topic, payload) in self.store.notices(true)? {
                let item = Item::Notice(topic.clone(), payload.clone());
                if let (false, Some(parsed)) =
                    (self.repeated.contains_key(&item), Topic::parse(&topic))
                {
                    self.repeat(item, parsed, Retention::Retained, now, |_| Ok(payload))?;
                }
            }
        }
        Ok(())
    }

    /// What another machine changed is taken over, or merged with what was changed here, while the account is unlocked.
    pub(super) fn meet_other_machines(&mut self) -> Result<(), Error> {
        let Acceptance::All(unlocked) = &mut self.acceptance else {
            return Ok(());
        };
        if self.store.offered_keyring()?.is_some() {
            reconcile(&mut self.store, unlocked)?;
            self.account = self.store.account()?;
            self.restless = true;
        }
        Ok(())
    }
}
