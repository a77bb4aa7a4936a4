//! The keyring blob: all that an owner holds, wrapped by the find key, the full key and the recovery code. Opaque to whoever stores it; never holds a passphrase.

mod paper;
mod parts;

pub use paper::{KitSecret, RecoveryCode};
pub use parts::{FindPart, FullPart, KnownClient, KnownDevice, MOST_PUT_OUT};
pub(crate) use parts::{read_device, write_device};
use parts::{read_find, read_full, write_find, write_full};

use crate::Malformed;
use crate::cbor::{self, Fields, Map};

use crate::rand_core::CryptoRng;
use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

const MAGIC: &str = "homing keyring";
const SALT_LEN: usize = 16;
pub(crate) const LONGEST_PEM: usize = 16 * 1024;
/// Most devices of one account in a keyring.
pub const MOST_DEVICES: usize = 256;

/// Argon2id's cost (RFC 9106), stored beside the salt but pinned to a range here: whoever stores the blob can neither weaken it nor exhaust the reader's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassphraseCost {
    /// Memory, KiB, 64 MiB..=1 GiB.
    pub memory_kib: u32,
    /// Passes, 3..=16.
    pub passes: u32,
}

impl PassphraseCost {
    /// 128 MiB, 3 passes: about half a second on a 2020 laptop core.
    pub const DEFAULT: Self = Self {
        memory_kib: 128 * 1024,
        passes: 3,
    };
    /// The floor of protocol v1; what a phone's browser can still do.
    pub const FLOOR: Self = Self {
        memory_kib: 64 * 1024,
        passes: 3,
    };

    const fn acceptable(self) -> bool {
        self.memory_kib >= Self::FLOOR.memory_kib
            && self.memory_kib <= 1024 * 1024
            && self.passes >= Self::FLOOR.passes
            && self.passes <= 16
    }
}

/// 32 bytes stretched from the passphrase; both keys derive from it.
struct Stretched(Zeroizing<[u8; 32]>);

fn stretch(
    passphrase: &str,
    salt: &[u8; SALT_LEN],
    cost: PassphraseCost,
) -> Result<Stretched, Malformed> {
    if !cost.acceptable() {
        return Err(Malformed::Field(2));
    }
    let params = argon2::Params::new(cost.memory_kib, cost.passes, 1, Some(32))
        .map_err(|_| Malformed::Field(2))?;
    let argon = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let mut out = Zeroizing::new([0; 32]);
    argon
        .hash_password_into(passphrase.as_bytes(), salt, out.as_mut())
        .map_err(|_| Malformed::Field(2))?;
    Ok(Stretched(out))
}

fn derive(input: &[u8], salt: &[u8; SALT_LEN], label: &str) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(salt), input)
        .expand(label.as_bytes(), out.as_mut())
        .expect("32 bytes are a valid length");
    out
}

/// The wrapping keys of one keyring; whoever holds them can write the next generation without asking for the passphrase again.
#[derive(Clone)]
pub struct WrappingKeys {
    salt: [u8; SALT_LEN],
    cost: PassphraseCost,
    find: Zeroizing<[u8; 32]>,
    full: Zeroizing<[u8; 32]>,
    recovery: Zeroizing<[u8; 32]>,
}

impl core::fmt::Debug for WrappingKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("WrappingKeys(secret)")
    }
}

impl WrappingKeys {
    /// Makes the keys of a new keyring.
    ///
    /// # Errors
    /// [`Malformed::Field`] for a cost outside the pinned range.
    pub fn create(
        passphrase: &str,
        kit: &KitSecret,
        code: &RecoveryCode,
        cost: PassphraseCost,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, Malformed> {
        let mut salt = [0; SALT_LEN];
        rng.fill_bytes(&mut salt);
        let stretched = stretch(passphrase, &salt, cost)?;
        Ok(Self {
            salt,
            cost,
            find: find_key(&stretched, &salt),
            full: full_key(&stretched, kit, &salt),
            recovery: derive(code.0.as_ref(), &salt, "homing/v1 recovery"),
        })
    }

    /// Wraps both parts; `generation` counts the blobs of an account, the highest is the newest.
    ///
    /// # Errors
    /// [`Malformed::Seal`], [`Malformed::TooMany`]; [`Malformed::Field`] for a text longer than readers accept.
    pub fn wrap(
        &self,
        generation: u64,
        find: &FindPart,
        full: &FullPart,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<u8>, Malformed> {
        if find.devices.len() > MOST_DEVICES {
            return Err(Malformed::TooMany);
        }
        let keys = Zeroizing::new([*self.find, *self.full].concat());
        let (find, full) = (write_find(find), write_full(full));
        // What could not be read again must never become the newest copy of an owner's keys.
        read_find(&find)?;
        read_full(&full)?;
        let bound = Bound {
            salt: self.salt,
            cost: self.cost,
            generation,
        };
        Ok(Map::new()
            .text(0, MAGIC)
            .bytes(1, &self.salt)
            .uint(2, self.cost.memory_kib.into())
            .uint(3, self.cost.passes.into())
            .uint(4, generation)
            .bytes(5, &bound.wrap(&self.find, "find", &find, rng)?)
            .bytes(6, &bound.wrap(&self.full, "full", &full, rng)?)
            // The code opens the two keys, and the full key the code's key: each way in keeps the others writable.
            .bytes(7, &bound.wrap(&self.recovery, "recovery", &keys, rng)?)
            .bytes(
                8,
                &bound.wrap(&self.full, "rewrap", self.recovery.as_ref(), rng)?,
            )
            .encode())
    }
}

fn find_key(stretched: &Stretched, salt: &[u8; SALT_LEN]) -> Zeroizing<[u8; 32]> {
    derive(stretched.0.as_ref(), salt, "homing/v1 find")
}

fn full_key(stretched: &Stretched, kit: &KitSecret, salt: &[u8; SALT_LEN]) -> Zeroizing<[u8; 32]> {
    let both = Zeroizing::new([stretched.0.as_slice(), kit.0.as_slice()].concat());
    derive(&both, salt, "homing/v1 full")
}

/// The clear part of a blob, to which each wrapped part is bound: a changed cost would otherwise pass unseen through the recovery code into the next blob, which no passphrase opens.
struct Bound {
    salt: [u8; SALT_LEN],
    cost: PassphraseCost,
    generation: u64,
}

impl Bound {
    /// Label, salt, memory in KiB and passes (4 bytes each), generation (8 bytes); numbers big-endian.
    fn aad(&self, label: &str) -> Vec<u8> {
        let numbers = [
            self.cost.memory_kib.to_be_bytes(),
            self.cost.passes.to_be_bytes(),
        ]
        .concat();
        [
            label.as_bytes(),
            &self.salt,
            &numbers,
            &self.generation.to_be_bytes(),
        ]
        .concat()
    }
    fn wrap(
        &self,
        key: &[u8; 32],
        label: &str,
        plain: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<u8>, Malformed> {
        let mut nonce = [0; 12];
        rng.fill_bytes(&mut nonce);
        let sealed = Aes256Gcm::new(key.into())
            .encrypt(
                &nonce.into(),
                Payload {
                    msg: plain,
                    aad: &self.aad(label),
                },
            )
            .map_err(|_| Malformed::Seal)?;
        Ok([&nonce[..], &sealed].concat())
    }
    fn unwrap(
        &self,
        key: &[u8; 32],
        label: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Malformed> {
        let (nonce, sealed) = sealed.split_first_chunk::<12>().ok_or(Malformed::Length)?;
        Aes256Gcm::new(key.into())
            .decrypt(
                &(*nonce).into(),
                Payload {
                    msg: sealed,
                    aad: &self.aad(label),
                },
            )
            .map(Zeroizing::new)
            .map_err(|_| Malformed::Seal)
    }
}

/// A blob that was parsed and not opened.
#[derive(Clone, Debug)]
pub struct Keyring {
    salt: [u8; SALT_LEN],
    cost: PassphraseCost,
    /// Which blob of the account it is; the highest is the newest.
    pub generation: u64,
    find: Vec<u8>,
    full: Vec<u8>,
    recovery: Vec<u8>,
    rewrap: Vec<u8>,
}

impl Keyring {
    /// Parses a blob.
    ///
    /// # Errors
    /// Any [`Malformed`] but [`Malformed::Seal`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let value = cbor::decode(bytes)?;
        let mut fields = Fields::of(&value)?;
        if fields.text(0, 32)? != MAGIC {
            return Err(Malformed::Format);
        }
        let keyring = Self {
            salt: fields.bytes(1)?,
            cost: PassphraseCost {
                memory_kib: fields.narrow(2)?,
                passes: fields.narrow(3)?,
            },
            generation: fields.uint(4)?,
            find: fields.blob(5)?.to_vec(),
            full: fields.blob(6)?.to_vec(),
            recovery: fields.blob(7)?.to_vec(),
            rewrap: fields.blob(8)?.to_vec(),
        };
        fields.end()?;
        if keyring.cost.acceptable() {
            Ok(keyring)
        } else {
            Err(Malformed::Field(2))
        }
    }

    /// Whether a passphrase is stretched for both blobs with the same salt at the same cost.
    #[must_use]
    pub fn stretches_like(&self, other: &Self) -> bool {
        self.salt == other.salt && self.cost == other.cost
    }

    /// Opens what finding needs.
    ///
    /// # Errors
    /// [`Malformed::Seal`] for a wrong passphrase.
    pub fn open_find(&self, passphrase: &str) -> Result<FindPart, Malformed> {
        let stretched = stretch(passphrase, &self.salt, self.cost)?;
        self.find_part(&find_key(&stretched, &self.salt))
    }

    /// Opens everything with passphrase and kit.
    ///
    /// # Errors
    /// [`Malformed::Seal`] when either is wrong; a wrong passphrase can be told apart with [`Self::open_find`].
    pub fn open_full(
        &self,
        passphrase: &str,
        kit: &KitSecret,
    ) -> Result<(FindPart, FullPart, WrappingKeys), Malformed> {
        let stretched = stretch(passphrase, &self.salt, self.cost)?;
        self.everything(
            find_key(&stretched, &self.salt),
            full_key(&stretched, kit, &self.salt),
        )
    }

    /// Opens everything with the recovery code.
    ///
    /// # Errors
    /// [`Malformed::Seal`] for a wrong code.
    pub fn open_with_code(
        &self,
        code: &RecoveryCode,
    ) -> Result<(FindPart, FullPart, WrappingKeys), Malformed> {
        let recovery = derive(code.0.as_ref(), &self.salt, "homing/v1 recovery");
        let keys = self.bound().unwrap(&recovery, "recovery", &self.recovery)?;
        let (find, full) = keys.split_first_chunk::<32>().ok_or(Malformed::Length)?;
        let full: &[u8; 32] = full.try_into().map_err(|_| Malformed::Length)?;
        self.everything(Zeroizing::new(*find), Zeroizing::new(*full))
    }

    /// Opens everything with the keys of another blob of the same keyring. Nothing is stretched: who offers a blob cannot choose what trying it costs.
    ///
    /// # Errors
    /// [`Malformed::Field`] for another salt or cost, [`Malformed::Seal`] for other keys.
    pub fn open_again(
        &self,
        keys: &WrappingKeys,
    ) -> Result<(FindPart, FullPart, WrappingKeys), Malformed> {
        if self.salt != keys.salt || self.cost != keys.cost {
            return Err(Malformed::Field(2));
        }
        self.everything(keys.find.clone(), keys.full.clone())
    }

    fn everything(
        &self,
        find: Zeroizing<[u8; 32]>,
        full: Zeroizing<[u8; 32]>,
    ) -> Result<(FindPart, FullPart, WrappingKeys), Malformed> {
        let rest = read_full(&self.bound().unwrap(&full, "full", &self.full)?)?;
        let recovery = self.bound().unwrap(&full, "rewrap", &self.rewrap)?;
        let recovery: [u8; 32] = recovery
            .as_slice()
            .try_into()
            .map_err(|_| Malformed::Length)?;
        let found = self.find_part(&find)?;
        let keys = WrappingKeys {
            salt: self.salt,
            cost: self.cost,
            find,
            full,
            recovery: Zeroizing::new(recovery),
        };
        Ok((found, rest, keys))
    }

    fn find_part(&self, key: &[u8; 32]) -> Result<FindPart, Malformed> {
        read_find(&self.bound().unwrap(key, "find", &self.find)?)
    }

    const fn bound(&self) -> Bound {
        Bound {
            salt: self.salt,
            cost: self.cost,
            generation: self.generation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::AccountId;
    use crate::keys::{KemSecret, SigningKey};
    use crate::rand_core::UnwrapErr;

    type Rng = UnwrapErr<getrandom::SysRng>;

    fn parts(rng: &mut Rng) -> (FindPart, FullPart) {
        let root = SigningKey::generate(rng);
        let find = FindPart {
            account: AccountId::random(rng),
            root: root.public(),
            signing: SigningKey::generate(rng),
            reading: KemSecret::generate(rng),
            broker: "mqtts://broker:8883".into(),
            ca_pem: "CA".into(),
            authority: vec![1, 2, 3],
            devices: Vec::new(),
        };
        (
            find,
            FullPart {
                root,
                ca_key_pem: Zeroizing::new("KEY".into()),
                crl_pem: String::new(),
                clients: Vec::new(),
                put_out: Vec::new(),
            },
        )
    }

    fn wrapping_keys(rng: &mut Rng) -> (KitSecret, RecoveryCode, WrappingKeys) {
        let (kit, code) = (KitSecret::generate(rng), RecoveryCode::generate(rng));
        let keys = WrappingKeys::create("open sesame", &kit, &code, PassphraseCost::FLOOR, rng);
        (kit, code, keys.expect("keys"))
    }

    #[test]
    fn a_keyring_is_opened_again_only_by_keys_of_its_own_salt_and_cost() {
        let rng = &mut UnwrapErr(getrandom::SysRng);
        let (find, full) = parts(rng);
        let (_, _, keys) = wrapping_keys(rng);
        let mut blob = |generation| {
            let bytes = keys.wrap(generation, &find, &full, rng).expect("wrap");
            Keyring::parse(&bytes).expect("parse")
        };
        let (first, second) = (blob(1), blob(2));
        assert!(first.stretches_like(&second));
        let (found, ..) = second.open_again(&keys).expect("opens");
        assert_eq!(found.account, find.account);
        let mut salted = second.clone();
        salted.salt[0] ^= 1;
        let mut slower = second.clone();
        slower.cost.passes += 1;
        for other in [salted, slower] {
            assert!(!first.stretches_like(&other));
            assert_eq!(other.open_again(&keys).err(), Some(Malformed::Field(2)));
        }
        assert!(PassphraseCost::DEFAULT.acceptable());
    }

    #[test]
    fn a_keyring_holds_as_many_phones_and_as_long_a_certificate_as_readers_accept() {
        let rng = &mut UnwrapErr(getrandom::SysRng);
        let (mut find, full) = parts(rng);
        let (_, _, keys) = wrapping_keys(rng);
        let phone = KnownDevice::invited(crate::id::DeviceId::random(rng));
        find.devices = vec![phone.clone(); MOST_DEVICES];
        find.ca_pem = "C".repeat(16 * 1024);
        assert!(keys.wrap(1, &find, &full, rng).is_ok());
        find.devices.push(phone);
        assert_eq!(keys.wrap(1, &find, &full, rng), Err(Malformed::TooMany));
        find.devices.clear();
        let client = KnownClient {
            client: crate::id::ClientId::random(rng),
            name: "laptop".into(),
            reading: KemSecret::generate(rng).public(),
            tls_serial: Vec::new(),
            phones: None,
            added_by: None,
        };
        let mut full = full;
        full.clients = vec![client.clone(); 64];
        assert!(keys.wrap(1, &find, &full, rng).is_ok());
        full.clients.push(client);
        assert_eq!(keys.wrap(1, &find, &full, rng), Err(Malformed::TooMany));
        full.clients.clear();
        find.ca_pem.push('C');
        assert!(matches!(
            keys.wrap(1, &find, &full, rng),
            Err(Malformed::Field(_))
        ));
    }

    #[test]
    fn each_way_in_opens_the_keyring_and_can_write_the_next_one() {
        let rng = &mut UnwrapErr(getrandom::SysRng);
        let (find, full) = parts(rng);
        let (kit, code, keys) = wrapping_keys(rng);
        let first = Keyring::parse(&keys.wrap(1, &find, &full, rng).expect("wrap")).expect("parse");
        assert_eq!(
            first.open_find("open sesame").expect("find").account,
            find.account
        );
        let (_, _, again) = first.open_with_code(&code).expect("code");
        let second =
            Keyring::parse(&again.wrap(2, &find, &full, rng).expect("wrap")).expect("parse");
        let (_, opened, _) = second.open_full("open sesame", &kit).expect("full");
        assert_eq!(opened.root.public(), full.root.public());
        assert!(second.open_find("open simsim").is_err());
        assert!(
            second
                .open_full("open sesame", &KitSecret::generate(rng))
                .is_err()
        );
        assert!(second.open_with_code(&RecoveryCode::generate(rng)).is_err());
    }

    #[test]
    fn a_cost_below_the_floor_or_above_the_ceiling_is_refused() {
        let rng = &mut UnwrapErr(getrandom::SysRng);
        let (kit, code) = (KitSecret::generate(rng), RecoveryCode::generate(rng));
        for cost in [
            PassphraseCost {
                memory_kib: 8 * 1024,
                passes: 3,
            },
            PassphraseCost {
                memory_kib: 2 << 20,
                passes: 3,
            },
            PassphraseCost {
                memory_kib: 64 * 1024,
                passes: 1,
            },
        ] {
            assert!(WrappingKeys::create("p", &kit, &code, cost, rng).is_err());
        }
    }

    #[test]
    fn a_code_typed_with_one_wrong_digit_is_noticed() {
        let rng = &mut UnwrapErr(getrandom::SysRng);
        let code = RecoveryCode::generate(rng);
        let text = code.to_text();
        assert_eq!(
            RecoveryCode::from_text(&text.to_uppercase().replace('-', " "))
                .expect("same")
                .0,
            code.0
        );
        let first = text.as_bytes()[0];
        let typo = format!("{}{}", if first == b'0' { '1' } else { '0' }, &text[1..]);
        assert_eq!(
            RecoveryCode::from_text(&typo).map(|_| ()),
            Err(Malformed::Field(0))
        );
    }
}
