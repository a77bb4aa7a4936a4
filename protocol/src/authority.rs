//! Who may give which orders: a versioned list signed by ROOT. It names no phone and holds no secret.

use crate::cbor::{self, Fields, Map};
use crate::envelope::{self, Address, MessageType};
use crate::id::{AccountId, ClientId};
use crate::keys::{KemPublic, SigningKey, VerifyingKey};
use crate::rand_core::CryptoRng;
use crate::{Malformed, VERSION, signed};

/// Most entries a list may have (protocol v1); 64 of them fit the largest bucket.
pub const MOST_ENTRIES: usize = 64;

/// One right, a bit in [`Capabilities`]; the numbers never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Capability {
    /// Ask where the phone is.
    Locate = 0,
    /// Make it sound, and stop it.
    Ring = 1,
    /// Show a message.
    Message = 2,
    /// Start lost mode.
    Lost = 3,
    /// Cancel what was ordered.
    Cancel = 4,
    /// End lost mode.
    Unlock = 5,
    /// Propose an erase.
    ErasePropose = 6,
    /// Approve an erase.
    EraseApprove = 7,
    /// Read positions.
    ReadLocation = 8,
    /// Read backups.
    ReadBackup = 9,
    /// Restore to the phone.
    Restore = 10,
    /// Start, pause and resume backups.
    Backup = 11,
    /// Change settings.
    Settings = 12,
    /// Manage clients and devices.
    Admin = 13,
}

impl Capability {
    /// Every capability with its word.
    pub const ALL: [(Self, &'static str); 14] = [
        (Self::Locate, "locate"),
        (Self::Ring, "ring"),
        (Self::Message, "message"),
        (Self::Lost, "lost"),
        (Self::Cancel, "cancel"),
        (Self::Unlock, "unlock"),
        (Self::ErasePropose, "erase-propose"),
        (Self::EraseApprove, "erase-approve"),
        (Self::ReadLocation, "read-location"),
        (Self::ReadBackup, "read-backup"),
        (Self::Restore, "restore"),
        (Self::Backup, "backup"),
        (Self::Settings, "settings"),
        (Self::Admin, "admin"),
    ];
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Capabilities(u32);

impl Capabilities {
    /// The set of exactly these.
    #[must_use]
    pub fn of(list: &[Capability]) -> Self {
        Self(
            list.iter()
                .fold(0, |bits, capability| bits | 1 << *capability as u32),
        )
    }
    /// Everything a find client may do: what must work from the passphrase alone.
    #[must_use]
    pub fn find() -> Self {
        use Capability as C;
        Self::of(&[
            C::Locate,
            C::Ring,
            C::Message,
            C::Lost,
            C::Cancel,
            C::ReadLocation,
        ])
    }
    /// Everything that one of the owner's own machines may do without the passphrase: finding, and letting a phone count on after its state was set back.
    #[must_use]
    pub fn own() -> Self {
        Self(Self::find().0 | Self::of(&[Capability::Settings]).0)
    }
    /// Everything.
    #[must_use]
    pub fn full() -> Self {
        Self::of(&Capability::ALL.map(|(capability, _)| capability))
    }
    /// Whether this one is in the set.
    #[must_use]
    pub const fn allows(self, capability: Capability) -> bool {
        self.0 & (1 << capability as u32) != 0
    }
    /// The bits on the wire.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
    /// From the wire; bits of later versions are kept and mean nothing here.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
    /// The words of the set, in order.
    #[must_use]
    pub fn words(self) -> Vec<&'static str> {
        Capability::ALL
            .iter()
            .filter(|(capability, _)| self.allows(*capability))
            .map(|(_, word)| *word)
            .collect()
    }
}

/// What kind of program a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientKind {
    /// The `homing` command line.
    CommandLine = 1,
    /// A browser.
    Browser = 2,
    /// The client that the passphrase alone unlocks.
    Find = 3,
}

/// One client of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its Ed25519 key; the client id follows from it.
    pub key: VerifyingKey,
    /// What it is.
    pub kind: ClientKind,
    /// What it may order.
    pub capabilities: Capabilities,
}

/// The list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityList {
    /// The account it belongs to.
    pub account: AccountId,
    /// Higher replaces lower; the same number with other content is a fork and refused.
    pub version: u64,
    /// The clients, at most [`MOST_ENTRIES`].
    pub entries: Vec<Entry>,
}

impl AuthorityList {
    /// The entry of a client.
    #[must_use]
    pub fn entry(&self, client: ClientId) -> Option<&Entry> {
        self.entries
            .iter()
            .find(|entry| entry.key.client_id() == client)
    }
    /// Signs the list; the same bytes serve every device.
    ///
    /// # Errors
    /// [`Malformed::TooMany`].
    pub fn sign(&self, root: &SigningKey) -> Result<Vec<u8>, Malformed> {
        if self.entries.len() > MOST_ENTRIES {
            return Err(Malformed::TooMany);
        }
        let entries = self.entries.iter().map(|entry| {
            Map::new()
                .bytes(0, &entry.key.0)
                .uint(1, entry.kind as u64)
                .uint(2, entry.capabilities.bits().into())
                .value()
        });
        let payload = Map::new()
            .uint(0, VERSION)
            .bytes(1, &self.account.0)
            .uint(2, self.version)
            .list(3, entries)
            .encode();
        Ok(signed::sign(
            root,
            &Address::account_context(self.account, MessageType::Authority),
            payload,
        ))
    }
    /// Verifies and reads a signed list.
    ///
    /// # Errors
    /// Any [`Malformed`].
    pub fn verify(
        bytes: &[u8],
        root: &VerifyingKey,
        account: AccountId,
    ) -> Result<Self, Malformed> {
        let payload = signed::verify(
            bytes,
            root,
            &Address::account_context(account, MessageType::Authority),
        )?;
        let value = cbor::decode(&payload)?;
        let mut fields = Fields::of(&value)?;
        if fields.uint(0)? != VERSION {
            return Err(Malformed::Format);
        }
        if AccountId(fields.bytes(1)?) != account {
            return Err(Malformed::Misdirected);
        }
        let version = fields.uint(2)?;
        let entries = fields
            .list(3, MOST_ENTRIES)?
            .iter()
            .map(read_entry)
            .collect::<Result<_, _>>()?;
        fields.end()?;
        Ok(Self {
            account,
            version,
            entries,
        })
    }
}

fn read_entry(value: &ciborium::Value) -> Result<Entry, Malformed> {
    let mut fields = Fields::of(value)?;
    let entry = Entry {
        key: VerifyingKey(fields.bytes(0)?),
        kind: match fields.uint(1)? {
            1 => ClientKind::CommandLine,
            2 => ClientKind::Browser,
            3 => ClientKind::Find,
            _ => return Err(Malformed::Field(1)),
        },
        capabilities: Capabilities::from_bits(fields.narrow(2)?),
    };
    fields.end()?;
    Ok(entry)
}

/// Seals ROOT-signed bytes (an authority list or a key set) to one device.
///
/// # Errors
/// [`Malformed::Length`], [`Malformed::Seal`].
pub fn seal_to_device(
    kind: MessageType,
    signed: &[u8],
    address: &Address,
    device: &KemPublic,
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, Malformed> {
    envelope::seal(kind, address, device, None, signed, rng)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_that_is_named_twice_is_held() {
        let twice = Capabilities::of(&[Capability::Ring, Capability::Ring]);
        assert_eq!(twice, Capabilities::of(&[Capability::Ring]));
        assert!(twice.allows(Capability::Ring));
    }

    #[test]
    fn without_the_passphrase_a_machine_finds_and_sets_and_never_unlocks_or_erases() {
        let find = [
            "locate",
            "ring",
            "message",
            "lost",
            "cancel",
            "read-location",
        ];
        assert_eq!(Capabilities::find().words(), find);
        let own = Capabilities::own().words();
        assert!(find.iter().all(|word| own.contains(word)));
        assert_eq!(own.len(), find.len() + 1);
        assert!(own.contains(&"settings"));
        assert_eq!(Capabilities::full().words().len(), Capability::ALL.len());
        assert!(Capabilities::default().words().is_empty());
    }
}
