//! Fixed keys, ids and a fixed random stream for the tests of the wire format; defined in `golden/README.md` so that others can reproduce them. Never used outside tests.

use homing_protocol::envelope::Address;
use homing_protocol::id::{AccountId, DeviceId};
use homing_protocol::keys::{KemSecret, Psk, SigningKey, sha256};
use homing_protocol::rand_core::{TryCryptoRng, TryRng};
use std::convert::Infallible;

/// The enrolment epoch of the sample phone.
pub(crate) const EPOCH: u32 = 3;

/// The 32 bytes that belong to a name: `SHA-256("homing/v1 golden key " ‖ name)`.
pub(crate) fn fixed(name: &str) -> [u8; 32] {
    sha256(format!("homing/v1 golden key {name}").as_bytes())
}

/// The Ed25519 key of this name.
pub(crate) fn signing(name: &str) -> SigningKey {
    SigningKey::from_bytes(&fixed(name))
}

/// The X25519 key of this name.
pub(crate) fn kem(name: &str) -> KemSecret {
    KemSecret::from_bytes(&fixed(name))
}

/// The one-time secret of the sample bundle.
pub(crate) fn secret() -> Psk {
    Psk(fixed("one-time secret").into())
}

/// The first `N` bytes that belong to a name.
pub(crate) fn short<const N: usize>(name: &str) -> [u8; N] {
    *fixed(name).first_chunk().expect("at most 32 bytes")
}

/// The sample account and phone.
pub(crate) fn address() -> Address {
    Address {
        account: AccountId(short("account")),
        device: DeviceId(short("device")),
    }
}

/// Random bytes that are the same in every run: the concatenation of `SHA-256("homing/v1 golden random " ‖ name ‖ i)` for i = 0, 1, … (8 bytes, big-endian); each draw takes the next bytes of it.
pub(crate) struct Draws {
    name: &'static str,
    block: u64,
    rest: Vec<u8>,
    /// Every draw so far, in order.
    pub(crate) taken: Vec<Vec<u8>>,
}

impl Draws {
    /// The stream of this name, from its beginning.
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            block: 0,
            rest: Vec::new(),
            taken: Vec::new(),
        }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        while self.rest.len() < length {
            let label = format!("homing/v1 golden random {}", self.name);
            let block = [label.as_bytes(), &self.block.to_be_bytes()].concat();
            self.rest.extend_from_slice(&sha256(&block));
            self.block += 1;
        }
        let out: Vec<u8> = self.rest.drain(..length).collect();
        self.taken.push(out.clone());
        out
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        self.take(N).try_into().expect("as long as asked for")
    }
}

impl TryRng for Draws {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_be_bytes(self.array()))
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_be_bytes(self.array()))
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        let bytes = self.take(out.len());
        out.copy_from_slice(&bytes);
        Ok(())
    }
}

impl TryCryptoRng for Draws {}
