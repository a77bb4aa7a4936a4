//! Key files: the master key under a password, by scrypt. Must not keep a password, nor spend more memory than granted.

use crate::absent::or_nothing;
use crate::crypto::{Key, KeyBytes, fill_random};
use crate::error::{Error, Result};
use crate::id::Id;
use crate::timestamp::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

/// Cost of a new key: 2^15, 32 MiB with r = 8, so that a phone can open it.
const LOG_N: u8 = 15;
const R: u32 = 8;
const P: u32 = 1;
/// Most memory granted for opening a key file: 512 MiB. rustic's keys want 128 MiB, restic's 32 MiB.
const MEMORY_BYTES: u64 = 512 << 20;
/// Most parallelism granted; restic calibrates to a few.
const MAX_P: u32 = 64;

/// A key file as it is stored, unsealed JSON.
#[derive(Clone, Serialize, Deserialize)]
pub struct KeyFile {
    #[serde(default, deserialize_with = "or_nothing")]
    created: Timestamp,
    #[serde(default, deserialize_with = "or_nothing")]
    username: String,
    #[serde(default, deserialize_with = "or_nothing")]
    hostname: String,
    kdf: String,
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
    salt: String,
    data: String,
}

/// The master key's JSON inside.
#[derive(Serialize, Deserialize)]
struct MasterJson {
    mac: MacJson,
    encrypt: String,
}

#[derive(Serialize, Deserialize)]
struct MacJson {
    k: String,
    r: String,
}

impl Drop for MasterJson {
    fn drop(&mut self) {
        self.mac.k.zeroize();
        self.mac.r.zeroize();
        self.encrypt.zeroize();
    }
}

/// Who made a key file, for the owner's eyes.
#[derive(Clone, Debug)]
pub struct Maker {
    /// Name of the user.
    pub user: String,
    /// Name of the machine.
    pub host: String,
    /// When.
    pub at: Timestamp,
}

impl KeyFile {
    /// Wraps a master key under a password.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn wrap(master: &KeyBytes, password: &[u8], maker: &Maker) -> Result<Self> {
        let mut salt = [0; 64];
        fill_random(&mut salt)?;
        let key = derive(password, &salt, LOG_N, R, P)?;
        let json = MasterJson {
            mac: MacJson {
                k: STANDARD.encode(master.mac_k()),
                r: STANDARD.encode(master.mac_r()),
            },
            encrypt: STANDARD.encode(master.encrypt()),
        };
        let plain = Zeroizing::new(serde_json::to_vec(&json).map_err(failed)?);
        Ok(Self {
            created: maker.at,
            username: maker.user.clone(),
            hostname: maker.host.clone(),
            kdf: "scrypt".into(),
            n: 1 << LOG_N,
            r: R,
            p: P,
            salt: STANDARD.encode(salt),
            data: STANDARD.encode(key.sealed(&plain)?),
        })
    }

    /// The bytes to store.
    ///
    /// # Errors
    /// Never in practice: the fields are plain.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(failed)
    }

    /// Reads a stored key file.
    ///
    /// # Errors
    /// Not the JSON of a key file.
    pub fn parse(json: &[u8]) -> Result<Self> {
        serde_json::from_slice(json).map_err(failed)
    }

    /// The master key, or `None` when the password is another. `id` names the file in errors.
    ///
    /// # Errors
    /// It asks for too much memory, or is damaged.
    pub fn unwrap_with(&self, id: Id, password: &[u8]) -> Result<Option<KeyBytes>> {
        let too_costly = || Error::KeyTooCostly {
            key: id,
            n: self.n,
            r: self.r,
            p: self.p,
        };
        let memory = self.n.checked_mul(128 * u64::from(self.r));
        if memory.is_none_or(|bytes| bytes > MEMORY_BYTES) || self.p > MAX_P {
            return Err(too_costly());
        }
        if self.kdf != "scrypt" || !self.n.is_power_of_two() || self.n < 2 {
            return Err(Error::Malformed(
                "a key file without valid scrypt parameters",
            ));
        }
        let salt = decode(&self.salt)?;
        let log_n = u8::try_from(self.n.ilog2()).map_err(|_| too_costly())?;
        let key = derive(password, &salt, log_n, self.r, self.p)?;
        let mut data = decode(&self.data)?;
        let Ok(plain) = key.open(&mut data) else {
            return Ok(None);
        };
        let master: MasterJson = serde_json::from_slice(plain).map_err(failed)?;
        let parts = [&master.encrypt, &master.mac.k, &master.mac.r];
        let mut bytes = Zeroizing::new([0; 64]);
        for (part, range) in parts.into_iter().zip([0..32, 32..48, 48..64]) {
            let part = decode(part)?;
            if part.len() != range.len() {
                return Err(Error::Malformed("a master key of the wrong length"));
            }
            bytes[range].copy_from_slice(&part);
        }
        Ok(Some(KeyBytes::new(bytes)))
    }
}

fn derive(password: &[u8], salt: &[u8], log_n: u8, r: u32, p: u32) -> Result<Key> {
    let invalid = Error::Malformed("a key file with scrypt parameters that do not exist");
    let Ok(parameters) = scrypt::Params::new(log_n, r, p) else {
        return Err(invalid);
    };
    let mut bytes = Zeroizing::new([0; 64]);
    if scrypt::scrypt(password, salt, &parameters, &mut bytes[..]).is_err() {
        return Err(invalid);
    }
    Ok(Key::new(&KeyBytes::new(bytes)))
}

fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>> {
    STANDARD
        .decode(text)
        .map(Zeroizing::new)
        .map_err(|_| Error::Malformed("a key file with invalid base64"))
}

fn failed(source: serde_json::Error) -> Error {
    Error::Json {
        what: "a key file",
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maker() -> Maker {
        Maker {
            user: "u".into(),
            host: "h".into(),
            at: Timestamp::default(),
        }
    }

    #[test]
    fn a_key_opens_with_its_password_and_no_other() {
        let master = KeyBytes::random().unwrap();
        let json = KeyFile::wrap(&master, b"right", &maker())
            .unwrap()
            .to_json()
            .unwrap();
        let file = KeyFile::parse(&json).unwrap();
        let id = Id::of(&json);
        let opened = file.unwrap_with(id, b"right").unwrap().unwrap();
        assert_eq!(opened.encrypt(), master.encrypt());
        assert_eq!(
            (opened.mac_k(), opened.mac_r()),
            (master.mac_k(), master.mac_r())
        );
        assert!(file.unwrap_with(id, b"wrong").unwrap().is_none());
    }

    #[test]
    fn a_key_that_says_neither_when_nor_by_whom_it_was_made_opens() {
        let master = KeyBytes::random().unwrap();
        let json = KeyFile::wrap(&master, b"right", &maker())
            .unwrap()
            .to_json()
            .unwrap();
        let whole: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let fields = ["created", "username", "hostname"];
        let (mut absent, mut null) = (whole.clone(), whole);
        for field in fields {
            // As rustic makes them.
            assert!(absent.as_object_mut().unwrap().remove(field).is_some());
            null[field] = serde_json::Value::Null;
        }
        for json in [absent, null] {
            let file = KeyFile::parse(json.to_string().as_bytes()).unwrap();
            assert!(file.unwrap_with(Id::default(), b"right").unwrap().is_some());
        }
    }

    #[test]
    fn a_key_that_asks_for_too_much_is_refused_before_any_work() {
        let master = KeyBytes::random().unwrap();
        let mut file = KeyFile::wrap(&master, b"right", &maker()).unwrap();
        for (n, r, p) in [
            (1 << 40, 8, 1),
            (1 << 15, u32::MAX, 1),
            (1 << 15, 8, 65),
            (u64::MAX, 8, 1),
        ] {
            (file.n, file.r, file.p) = (n, r, p);
            assert!(matches!(
                file.unwrap_with(Id::default(), b"right"),
                Err(Error::KeyTooCostly { .. })
            ));
        }
        for n in [0, 1, 3, 1000] {
            (file.n, file.r, file.p) = (n, 8, 1);
            assert!(matches!(
                file.unwrap_with(Id::default(), b"right"),
                Err(Error::Malformed(_))
            ));
        }
    }
}
