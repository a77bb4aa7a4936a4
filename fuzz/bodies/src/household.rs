//! The keys and ids that the bodies sign with: those of the wire examples (protocol/golden/README.md), so that an example is a seed. Never used outside tests.

use homing_protocol::authority::{AuthorityList, Capabilities, ClientKind, Entry};
use homing_protocol::envelope::Address;
use homing_protocol::id::{AccountId, DeviceId};
use homing_protocol::keys::{KemSecret, Psk, SigningKey, sha256};
use homing_protocol::rand_core::{TryCryptoRng, TryRng};
use std::convert::Infallible;
use std::sync::LazyLock;

/// The epoch of the wire examples.
pub(crate) const EPOCH: u32 = 3;

fn fixed(name: &str) -> [u8; 32] {
    sha256(format!("homing/v1 golden key {name}").as_bytes())
}

fn short<const N: usize>(name: &str) -> [u8; N] {
    *fixed(name).first_chunk().expect("at most 32 bytes")
}

/// The keys of the wire examples.
pub(crate) struct Household {
    pub(crate) address: Address,
    pub(crate) root: SigningKey,
    pub(crate) owner: SigningKey,
    pub(crate) agent: SigningKey,
    pub(crate) device: KemSecret,
    pub(crate) reader: KemSecret,
    pub(crate) secret: Psk,
    pub(crate) list: AuthorityList,
}

/// One household for all runs.
pub(crate) static HOUSEHOLD: LazyLock<Household> = LazyLock::new(|| {
    let signing = |name: &str| SigningKey::from_bytes(&fixed(name));
    let kem = |name: &str| KemSecret::from_bytes(&fixed(name));
    let address = Address {
        account: AccountId(short("account")),
        device: DeviceId(short("device")),
    };
    let owner = signing("owner");
    let entry = Entry {
        key: owner.public(),
        kind: ClientKind::CommandLine,
        capabilities: Capabilities::full(),
    };
    Household {
        address,
        root: signing("root"),
        agent: signing("agent"),
        device: kem("device"),
        reader: kem("owner"),
        secret: Psk(fixed("one-time secret").into()),
        list: AuthorityList {
            account: address.account,
            version: 1,
            entries: vec![entry],
        },
        owner,
    }
});

/// The same bytes in every run: a seal must be the same for the same input, or no finding could be repeated.
pub(crate) struct Same(pub(crate) u64);

impl TryRng for Same {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for chunk in out.chunks_mut(32) {
            self.0 += 1;
            chunk.copy_from_slice(&sha256(&self.0.to_be_bytes())[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Same {}
