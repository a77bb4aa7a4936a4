//! What only the full key can do about lost mode: end it, and tell its unlock code. It keeps neither.
use crate::Error;
use crate::account::Unlocked;
use homing_protocol::authority::{Capabilities, ClientKind, Entry, MOST_ENTRIES};
use homing_protocol::id::CommandId;
use homing_protocol::keys::SigningKey;
use homing_protocol::lost::{self, UnlockCode};

/// Whether the full client stands in the authority list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Listed {
    /// It did before.
    Already,
    /// The next list has it; phones must be shown that first.
    Now,
}

impl Unlocked {
    /// The client that signs what only the full key may order.
    #[must_use]
    pub fn full_client(&self) -> SigningKey {
        lost::full_client(&self.full.root)
    }

    /// The code that ends an episode at the phone, if its command carried the verifier.
    #[must_use]
    pub fn unlock_code(&self, episode: CommandId) -> UnlockCode {
        UnlockCode::of(&self.full.root, episode)
    }

    /// Signs the next authority list with the full client in it, unless it is there. It reads nothing: no key set changes.
    ///
    /// # Errors
    /// [`Error::TooManyClients`], [`Error::Stored`], [`Error::Seal`].
    pub fn list_full_client(&mut self) -> Result<Listed, Error> {
        let key = self.full_client().public();
        let mut list = self.authority()?;
        let wanted = Entry {
            key,
            kind: ClientKind::CommandLine,
            capabilities: Capabilities::full(),
        };
        if list.entries.contains(&wanted) {
            return Ok(Listed::Already);
        }
        list.entries.retain(|entry| entry.key != key);
        if list.entries.len() >= MOST_ENTRIES {
            return Err(Error::TooManyClients);
        }
        list.entries.push(wanted);
        list.version += 1;
        self.find.authority = list.sign(&self.full.root).map_err(Error::Seal)?;
        Ok(Listed::Now)
    }
}
