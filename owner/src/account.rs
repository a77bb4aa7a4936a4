//! The account's keys while they are unlocked: makes them, opens the keyring, writes its next generation. Keeps nothing after it is dropped.
use crate::Error;
use homing_protocol::Malformed;
use homing_protocol::authority::{AuthorityList, Capabilities, ClientKind, Entry};
use homing_protocol::id::{AccountId, ClientId};
use homing_protocol::keyring::{
    FindPart, FullPart, Keyring, KitSecret, KnownClient, KnownDevice, PassphraseCost, RecoveryCode,
    WrappingKeys,
};
use homing_protocol::keys::{KemSecret, SigningKey};
use homing_protocol::rand_core::CryptoRng;
use homing_protocol::readers::{Reader, Reads};
use zeroize::Zeroizing;

/// The keys of one owner client. They find and ring, and read positions; they cannot enrol, revoke or erase.
#[derive(Clone, Debug)]
pub struct ClientKeys {
    /// Signs commands.
    pub signing: SigningKey,
    /// Reads what phones seal to their readers.
    pub reading: KemSecret,
}

impl ClientKeys {
    /// Fresh ones.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self {
            signing: SigningKey::generate(rng),
            reading: KemSecret::generate(rng),
        }
    }

    /// The client's id.
    #[must_use]
    pub fn id(&self) -> ClientId {
        self.signing.public().client_id()
    }

    /// This client as a reader of positions.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader {
            client: self.id(),
            key: self.reading.public(),
            reads: Reads::Positions,
        }
    }
}

/// What a new household has before there is an account.
#[derive(Debug)]
pub struct Household<'a> {
    /// `mqtts://HOST:PORT`.
    pub broker: &'a str,
    /// The household CA, PEM; a broker's own CA may follow it.
    pub ca_pem: &'a str,
    /// The household CA's private key, PEM.
    pub ca_key_pem: &'a str,
    /// Its first revocation list, PEM.
    pub crl_pem: &'a str,
}

/// What goes on paper once.
#[derive(Clone, Debug)]
pub struct Kit {
    /// The second half of the full key.
    pub secret: KitSecret,
    /// Opens everything without the passphrase.
    pub code: RecoveryCode,
}

/// An unlocked account.
#[derive(Clone, Debug)]
pub struct Unlocked {
    /// What finding needs.
    pub find: FindPart,
    /// ROOT and the household CA's key.
    pub full: FullPart,
    keys: WrappingKeys,
    pub(crate) generation: u64,
}

impl Unlocked {
    /// Starts an account: ROOT, the find client, the first authority list with `client` in it.
    ///
    /// # Errors
    /// [`Error::Keyring`] for a passphrase cost outside the protocol's range.
    pub fn create(
        household: &Household<'_>,
        passphrase: &str,
        kit: &Kit,
        cost: PassphraseCost,
        client: &ClientKeys,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, Error> {
        let root = SigningKey::generate(rng);
        let account = AccountId::random(rng);
        let finder = ClientKeys::generate(rng);
        let list = AuthorityList {
            account,
            version: 1,
            entries: vec![
                entry(&finder, ClientKind::Find),
                entry(client, ClientKind::CommandLine),
            ],
        };
        let keys = WrappingKeys::create(passphrase, &kit.secret, &kit.code, cost, rng)
            .map_err(Error::Keyring)?;
        Ok(Self {
            find: FindPart {
                account,
                root: root.public(),
                signing: finder.signing,
                reading: finder.reading,
                broker: household.broker.to_owned(),
                ca_pem: household.ca_pem.to_owned(),
                authority: list.sign(&root).map_err(Error::Seal)?,
                devices: Vec::new(),
            },
            full: FullPart {
                root,
                ca_key_pem: Zeroizing::new(household.ca_key_pem.to_owned()),
                crl_pem: household.crl_pem.to_owned(),
                clients: Vec::new(),
                put_out: Vec::new(),
            },
            keys,
            generation: 0,
        })
    }

    /// Opens a keyring blob with passphrase and kit secret.
    ///
    /// # Errors
    /// [`Error::WrongSecret`], [`Error::Keyring`].
    pub fn open(blob: &[u8], passphrase: &str, kit: &KitSecret) -> Result<Self, Error> {
        let keyring = Keyring::parse(blob).map_err(Error::Keyring)?;
        Self::opened(keyring.generation, keyring.open_full(passphrase, kit))
    }

    /// Opens a keyring blob with the recovery code.
    ///
    /// # Errors
    /// [`Error::WrongSecret`], [`Error::Keyring`].
    pub fn open_with_code(blob: &[u8], code: &RecoveryCode) -> Result<Self, Error> {
        let keyring = Keyring::parse(blob).map_err(Error::Keyring)?;
        Self::opened(keyring.generation, keyring.open_with_code(code))
    }

    /// Opens another blob of this account with the keys at hand: neither passphrase nor kit, and no cost that the blob's sender chose.
    ///
    /// # Errors
    /// [`Error::WrongSecret`], [`Error::Keyring`].
    pub fn reopen(&self, blob: &[u8]) -> Result<Self, Error> {
        let keyring = Keyring::parse(blob).map_err(Error::Keyring)?;
        let other = Self::opened(keyring.generation, keyring.open_again(&self.keys))?;
        if other.find.account != self.find.account || other.find.root != self.find.root {
            return Err(Error::Keyring(Malformed::Misdirected));
        }
        Ok(other)
    }

    fn opened(
        generation: u64,
        parts: Result<(FindPart, FullPart, WrappingKeys), Malformed>,
    ) -> Result<Self, Error> {
        let (find, full, keys) = parts.map_err(|fault| match fault {
            Malformed::Seal => Error::WrongSecret,
            other => Error::Keyring(other),
        })?;
        if full.root.public() != find.root {
            return Err(Error::Keyring(Malformed::Misdirected));
        }
        Ok(Self {
            find,
            full,
            keys,
            generation,
        })
    }

    /// The number of the keyring blob this was opened from; 0 for a new account.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Writes the next generation of the keyring blob.
    ///
    /// # Errors
    /// [`Error::TooManyPhones`], [`Error::Seal`].
    pub fn wrap_next(&mut self, rng: &mut impl CryptoRng) -> Result<Vec<u8>, Error> {
        let blob = self
            .keys
            .wrap(self.generation + 1, &self.find, &self.full, rng)
            .map_err(|fault| match fault {
                Malformed::TooMany => Error::TooManyPhones,
                other => Error::Seal(other),
            })?;
        self.generation += 1;
        Ok(blob)
    }

    /// Whether `other` is a later state of the same account, as another client may have written one.
    #[must_use]
    pub fn is_older_than(&self, other: &Self) -> bool {
        other.generation > self.generation
            && other.find.account == self.find.account
            && other.find.root == self.find.root
    }

    /// The authority list in force.
    ///
    /// # Errors
    /// [`Error::Stored`].
    pub fn authority(&self) -> Result<AuthorityList, Error> {
        AuthorityList::verify(&self.find.authority, &self.find.root, self.find.account)
            .map_err(Error::Stored)
    }

    /// The find client as a reader: it must be able to read before anybody signs in with it.
    #[must_use]
    pub fn find_reader(&self) -> Reader {
        Reader {
            client: self.find.signing.public().client_id(),
            key: self.find.reading.public(),
            reads: Reads::Positions,
        }
    }

    /// Remembers the first client's certificate, which could only be issued once the account had an id.
    pub fn record_first_client(&mut self, client: &ClientKeys, name: &str, tls_serial: &[u8]) {
        self.full.clients = vec![KnownClient {
            client: client.id(),
            name: name.to_owned(),
            reading: client.reading.public(),
            tls_serial: tls_serial.to_vec(),
            phones: None,
            added_by: None,
        }];
    }

    /// Adds a phone to the keyring, or replaces what it holds about it.
    pub fn remember(&mut self, device: KnownDevice) {
        self.forget(device.device);
        self.find.devices.push(device);
    }

    /// Drops a phone from the keyring.
    pub fn forget(&mut self, device: homing_protocol::id::DeviceId) {
        self.find.devices.retain(|known| known.device != device);
    }
}

fn entry(client: &ClientKeys, kind: ClientKind) -> Entry {
    Entry {
        key: client.signing.public(),
        kind,
        capabilities: match kind {
            ClientKind::Find => Capabilities::find(),
            ClientKind::CommandLine | ClientKind::Browser => Capabilities::own(),
        },
    }
}

/// Reads a recovery code as somebody typed it.
///
/// # Errors
/// [`Error::Mistyped`].
pub fn typed_code(text: &str) -> Result<RecoveryCode, Error> {
    RecoveryCode::from_text(text).map_err(|fault| match fault {
        Malformed::Length => Error::Mistyped(
            "a recovery code has 44 digits and letters a to f, in eleven groups of four",
        ),
        _ => Error::Mistyped("the recovery code has a typing mistake; compare it group by group"),
    })
}
