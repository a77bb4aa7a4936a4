//! Who belongs to the account: two machines of the owner, and a delegate that may only locate. It must not order anything.

use homing_protocol::authority::{Capabilities, Capability};
use homing_protocol::envelope::Address;
use homing_protocol::id::SessionId;
use homing_protocol::keys::{KemSecret, SigningKey};
use homing_protocol::readers::{KeySet, Reader, Reads};

use crate::keystore::randomness;
use crate::wiring::house::{Owner as Keys, only_locate};

/// Which client: the owner's first machine, which sends what ROOT signs; the second; the delegate.
pub(super) const CLIENTS: usize = 3;
/// The delegate's place among them.
pub(super) const DELEGATE: usize = 2;

/// One client.
#[derive(Clone)]
pub(super) struct Client {
    /// Which one it is.
    pub(super) index: usize,
    /// Its name at the broker.
    pub(super) name: &'static str,
    pub(super) signing: SigningKey,
    pub(super) reading: KemSecret,
    pub(super) session: SessionId,
    pub(super) rights: Capabilities,
}

/// Who is there. Each reader more makes every message of a phone dearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// The owner's first machine alone.
    Alone,
    /// All clients.
    Company,
}

/// All keys of the account.
#[derive(Clone)]
pub(super) struct Family {
    size: Size,
    pub(super) keys: Keys,
    pub(super) clients: [Client; CLIENTS],
    /// A machine that only reads, in every other key set.
    onlooker: (SigningKey, KemSecret),
}

/// Whether the delegate stands in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delegate {
    Listed,
    PutOut,
}

impl Family {
    pub(super) fn new(size: Size) -> Self {
        let keys = Keys::new();
        let rng = &mut randomness();
        let mut client = |index: usize, signing: &SigningKey, rights| Client {
            index,
            name: ["owner", "owner-2", "delegate"][index],
            signing: signing.clone(),
            reading: KemSecret::generate(rng),
            session: SessionId([5 + u8::try_from(index).expect("few"); 8]),
            rights,
        };
        let second = SigningKey::generate(&mut randomness());
        let clients = [
            client(0, &keys.client, Capabilities::full()),
            client(1, &second, Capabilities::own()),
            client(DELEGATE, &keys.guest, only_locate()),
        ];
        let onlooker = (
            SigningKey::generate(&mut randomness()),
            KemSecret::generate(&mut randomness()),
        );
        Self {
            size,
            keys,
            clients,
            onlooker,
        }
    }

    fn readers(&self) -> impl Iterator<Item = &Client> {
        let count = match self.size {
            Size::Alone => 1,
            Size::Company => CLIENTS,
        };
        self.clients.iter().take(count)
    }

    /// The authority list of that version.
    pub(super) fn list(&self, version: u64, delegate: Delegate) -> Vec<u8> {
        let own = self.readers().filter(|client| client.index != DELEGATE);
        let delegate = (delegate == Delegate::Listed).then_some(&self.clients[DELEGATE]);
        let entries: Vec<_> = own
            .chain(delegate)
            .map(|client| (&client.signing, client.rights))
            .collect();
        self.keys.list(version, &entries)
    }

    /// A phone's key set of that version: who may not read positions reads why it was refused.
    pub(super) fn key_set(&self, address: Address, version: u64) -> Vec<u8> {
        let reader = |signing: &SigningKey, reading: &KemSecret, reads| Reader {
            client: signing.public().client_id(),
            key: reading.public(),
            reads,
        };
        let mut readers: Vec<_> = self
            .readers()
            .map(|client| {
                let reads = if client.rights.allows(Capability::ReadLocation) {
                    Reads::Positions
                } else {
                    Reads::Status
                };
                reader(&client.signing, &client.reading, reads)
            })
            .collect();
        if version.is_multiple_of(2) {
            let (signing, reading) = &self.onlooker;
            readers.push(reader(signing, reading, Reads::Status));
        }
        let set = KeySet {
            address,
            version,
            readers,
        };
        set.sign(&self.keys.root).expect("signed")
    }
}
