//! How one more owner client or delegate joins an account: its signed request, the sealed answer, and what a delegate is told later. Knows no file and no capability.

use crate::cbor::{self, Fields, Map};
use crate::id::{AccountId, ClientId};
use crate::keyring::{
    KitSecret, KnownDevice, LONGEST_PEM, MOST_DEVICES, read_device, write_device,
};
use crate::keys::{ENCAPSULATED_LEN, KemPublic, KemSecret, SigningKey, VerifyingKey, sha256};
use crate::rand_core::CryptoRng;
use crate::signed::{self, Unverified};
use crate::{Malformed, VERSION};
use zeroize::Zeroizing;

const REQUEST: &str = "homing client request";
const ANSWER: &str = "homing client answer";
/// COSE's external AAD of a request: it belongs to no account yet.
const REQUEST_CONTEXT: &[u8] = b"homing/v1 client request";
/// HPKE's info of an answer.
const ANSWER_INFO: &[u8] = b"homing/v1 client answer";
/// COSE's external AAD of a notice, and HPKE's info.
const NOTICE: &[u8] = b"homing/v1 client notice";
/// Longest name of a client, bytes; the keyring's own limit.
pub const LONGEST_NAME: usize = 64;

/// What a new client asks with: its public keys and what it calls itself. Holds nothing secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRequest {
    /// Signs its commands.
    pub key: VerifyingKey,
    /// What is sealed to it.
    pub reading: KemPublic,
    /// A name to propose, at most [`LONGEST_NAME`] bytes.
    pub name: String,
}

impl ClientRequest {
    /// The client's id.
    #[must_use]
    pub fn client(&self) -> ClientId {
        self.key.client_id()
    }

    /// What a person compares on both machines: 16 hexadecimal digits in groups of four, of SHA-256 over both keys.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let digest = sha256(&[self.key.0, self.reading.0].concat());
        digest[..8]
            .chunks(2)
            .map(|pair| format!("{:02x}{:02x}", pair[0], pair[1]))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Signs it with the key that it names: proof of possession.
    ///
    /// # Errors
    /// [`Malformed::Field`] of 4 for a longer name than [`LONGEST_NAME`].
    pub fn sign(&self, key: &SigningKey) -> Result<Vec<u8>, Malformed> {
        if self.name.len() > LONGEST_NAME {
            return Err(Malformed::Field(4));
        }
        let payload = Map::new()
            .text(0, REQUEST)
            .uint(1, VERSION)
            .bytes(2, &self.key.0)
            .bytes(3, &self.reading.0)
            .text(4, &self.name)
            .encode();
        Ok(signed::sign(key, REQUEST_CONTEXT, payload))
    }

    /// Verifies and reads one.
    ///
    /// # Errors
    /// Any [`Malformed`].
    pub fn verify(bytes: &[u8]) -> Result<Self, Malformed> {
        let unverified = Unverified::parse(bytes)?;
        let value = cbor::decode(unverified.payload())?;
        let mut fields = Fields::of(&value)?;
        if fields.text(0, 32)? != REQUEST || fields.uint(1)? != VERSION {
            return Err(Malformed::Format);
        }
        let request = Self {
            key: VerifyingKey(fields.bytes(2)?),
            reading: KemPublic(fields.bytes(3)?),
            name: fields.text(4, LONGEST_NAME)?.to_owned(),
        };
        fields.end()?;
        unverified.verify(&request.key, REQUEST_CONTEXT)?;
        Ok(request)
    }
}

/// What only an owner's own further client is given, and a delegate is not.
#[derive(Clone, Debug)]
pub struct OwnersShare {
    /// Second half of the full key: with the passphrase it opens the keyring.
    pub kit: KitSecret,
    /// The keyring blob.
    pub keyring: Vec<u8>,
}

/// What makes the client one of the account. Holds a private key.
#[derive(Clone)]
pub struct ClientAnswer {
    /// The account.
    pub account: AccountId,
    /// ROOT's public half.
    pub root: VerifyingKey,
    /// `mqtts://HOST:PORT`.
    pub broker: String,
    /// The household CA, PEM.
    pub ca_pem: String,
    /// The client's TLS certificate, PEM.
    pub tls_certificate_pem: String,
    /// Its private key, PEM.
    pub tls_key_pem: Zeroizing<String>,
    /// The ROOT-signed authority list in which the client stands.
    pub authority: Vec<u8>,
    /// The phones.
    pub devices: Vec<KnownDevice>,
    /// For an owner's own client.
    pub owners: Option<OwnersShare>,
}

impl core::fmt::Debug for ClientAnswer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "ClientAnswer({}, secret)", self.account)
    }
}

impl ClientAnswer {
    /// Seals it to the client that asked: encapsulated key (32 bytes) ‖ ciphertext, bound to the request's signing key.
    ///
    /// # Errors
    /// [`Malformed::Seal`] for an unusable key, [`Malformed::TooMany`] phones.
    pub fn seal(
        &self,
        request: &ClientRequest,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<u8>, Malformed> {
        if self.devices.len() > MOST_DEVICES {
            return Err(Malformed::TooMany);
        }
        let mut map = Map::new()
            .text(0, ANSWER)
            .uint(1, VERSION)
            .bytes(2, &self.account.0)
            .bytes(3, &self.root.0)
            .text(4, &self.broker)
            .text(5, &self.ca_pem)
            .text(6, &self.tls_certificate_pem)
            .text(7, &self.tls_key_pem)
            .bytes(8, &self.authority)
            .list(9, self.devices.iter().map(write_device));
        if let Some(owners) = &self.owners {
            map = map
                .bytes(10, owners.kit.0.as_ref())
                .bytes(11, &owners.keyring);
        }
        let plain = Zeroizing::new(map.encode());
        let (enc, ciphertext) =
            request
                .reading
                .seal(None, ANSWER_INFO, &request.key.0, &plain, rng)?;
        Ok([&enc[..], &ciphertext].concat())
    }

    /// Opens one with the keys that asked for it.
    ///
    /// # Errors
    /// [`Malformed::Seal`] when it answers another request; any other [`Malformed`].
    pub fn open(bytes: &[u8], key: &VerifyingKey, reading: &KemSecret) -> Result<Self, Malformed> {
        let (enc, ciphertext) = bytes
            .split_first_chunk::<ENCAPSULATED_LEN>()
            .ok_or(Malformed::Length)?;
        let plain = reading.open(None, ANSWER_INFO, &key.0, enc, ciphertext)?;
        let value = cbor::decode(&plain)?;
        let mut fields = Fields::of(&value)?;
        if fields.text(0, 32)? != ANSWER || fields.uint(1)? != VERSION {
            return Err(Malformed::Format);
        }
        let mut answer = Self {
            account: AccountId(fields.bytes(2)?),
            root: VerifyingKey(fields.bytes(3)?),
            broker: fields.text(4, 300)?.to_owned(),
            ca_pem: fields.text(5, LONGEST_PEM)?.to_owned(),
            tls_certificate_pem: fields.text(6, LONGEST_PEM)?.to_owned(),
            tls_key_pem: Zeroizing::new(fields.text(7, LONGEST_PEM)?.to_owned()),
            authority: fields.blob(8)?.to_vec(),
            devices: fields
                .list(9, MOST_DEVICES)?
                .iter()
                .map(read_device)
                .collect::<Result<_, _>>()?,
            owners: None,
        };
        if let Some(secret) = fields.maybe(10) {
            let secret = cbor::as_bytes(secret).ok_or(Malformed::Field(10))?;
            answer.owners = Some(OwnersShare {
                kit: KitSecret(Zeroizing::new(secret)),
                keyring: fields.blob(11)?.to_vec(),
            });
        }
        fields.end()?;
        Ok(answer)
    }
}

/// What the owner tells a delegate after it was admitted: the phones it has now, the list it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The account.
    pub account: AccountId,
    /// Whom it is for.
    pub client: ClientId,
    /// Grows with each; an older one says nothing any more.
    pub number: u64,
    /// The ROOT-signed authority list.
    pub authority: Vec<u8>,
    /// The phones that the delegate was given.
    pub devices: Vec<KnownDevice>,
}

impl Notice {
    /// Signs it with ROOT and seals it to the delegate: encapsulated key (32 bytes) ‖ ciphertext.
    ///
    /// # Errors
    /// [`Malformed::Seal`] for an unusable key, [`Malformed::TooMany`] phones.
    pub fn seal(
        &self,
        root: &SigningKey,
        reading: &KemPublic,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<u8>, Malformed> {
        if self.devices.len() > MOST_DEVICES {
            return Err(Malformed::TooMany);
        }
        let payload = Map::new()
            .uint(0, VERSION)
            .bytes(1, &self.account.0)
            .bytes(2, &self.client.0)
            .uint(3, self.number)
            .bytes(4, &self.authority)
            .list(5, self.devices.iter().map(write_device))
            .encode();
        let signed = Zeroizing::new(signed::sign(root, NOTICE, payload));
        let (enc, ciphertext) = reading.seal(None, NOTICE, &self.client.0, &signed, rng)?;
        Ok([&enc[..], &ciphertext].concat())
    }

    /// Opens one that is for `client` of `account`, and that ROOT signed.
    ///
    /// # Errors
    /// [`Malformed::Seal`] when it is for somebody else, [`Malformed::Signature`], [`Malformed::Misdirected`]; any other [`Malformed`].
    pub fn open(
        bytes: &[u8],
        root: &VerifyingKey,
        account: AccountId,
        client: ClientId,
        reading: &KemSecret,
    ) -> Result<Self, Malformed> {
        let (enc, ciphertext) = bytes
            .split_first_chunk::<ENCAPSULATED_LEN>()
            .ok_or(Malformed::Length)?;
        let plain = reading.open(None, NOTICE, &client.0, enc, ciphertext)?;
        let payload = signed::verify(&plain, root, NOTICE)?;
        let value = cbor::decode(&payload)?;
        let mut fields = Fields::of(&value)?;
        if fields.uint(0)? != VERSION {
            return Err(Malformed::Format);
        }
        let notice = Self {
            account: AccountId(fields.bytes(1)?),
            client: ClientId(fields.bytes(2)?),
            number: fields.uint(3)?,
            authority: fields.blob(4)?.to_vec(),
            devices: fields
                .list(5, MOST_DEVICES)?
                .iter()
                .map(read_device)
                .collect::<Result<_, _>>()?,
        };
        fields.end()?;
        if notice.account != account || notice.client != client {
            return Err(Malformed::Misdirected);
        }
        Ok(notice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rand_core::UnwrapErr;

    fn asking() -> (SigningKey, KemSecret, ClientRequest) {
        let rng = &mut UnwrapErr(getrandom::SysRng);
        let (key, reading) = (SigningKey::generate(rng), KemSecret::generate(rng));
        let request = ClientRequest {
            key: key.public(),
            reading: reading.public(),
            name: "tablet".into(),
        };
        (key, reading, request)
    }

    fn answer(owners: Option<OwnersShare>) -> ClientAnswer {
        let rng = &mut UnwrapErr(getrandom::SysRng);
        ClientAnswer {
            account: AccountId::random(rng),
            root: SigningKey::generate(rng).public(),
            broker: "mqtts://broker:8883".into(),
            ca_pem: "CA".into(),
            tls_certificate_pem: "CERTIFICATE".into(),
            tls_key_pem: Zeroizing::new("KEY".into()),
            authority: vec![1, 2, 3],
            devices: Vec::new(),
            owners,
        }
    }

    #[test]
    fn a_request_is_believed_only_as_the_key_it_names_signed_it() {
        let (key, _, request) = asking();
        let bytes = request.sign(&key).expect("signed");
        assert_eq!(ClientRequest::verify(&bytes), Ok(request.clone()));
        let (other, ..) = asking();
        let forged = request.sign(&other).expect("signed");
        assert_eq!(ClientRequest::verify(&forged), Err(Malformed::Signature));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(ClientRequest::verify(&damaged).is_err(), "byte {at}");
            assert!(ClientRequest::verify(&bytes[..at]).is_err(), "prefix {at}");
        }
    }

    #[test]
    fn a_name_may_be_as_long_as_readers_accept_and_no_longer() {
        let (key, _, mut request) = asking();
        request.name = "n".repeat(LONGEST_NAME);
        let bytes = request.sign(&key).expect("signed");
        assert_eq!(ClientRequest::verify(&bytes), Ok(request.clone()));
        request.name.push('n');
        assert_eq!(request.sign(&key), Err(Malformed::Field(4)));
    }

    #[test]
    fn answer_and_notice_name_as_many_phones_as_readers_accept_and_no_more() {
        let rng = &mut UnwrapErr(getrandom::SysRng);
        let (key, reading, request) = asking();
        let mut answer = answer(None);
        let mut notice = Notice {
            account: answer.account,
            client: request.client(),
            number: 1,
            authority: Vec::new(),
            devices: Vec::new(),
        };
        let phone = KnownDevice::invited(crate::id::DeviceId::random(rng));
        for most in [MOST_DEVICES, MOST_DEVICES + 1] {
            answer.devices = vec![phone.clone(); most];
            notice.devices = answer.devices.clone();
            let answered = answer.seal(&request, rng);
            let noticed = notice.seal(&key, &request.reading, rng);
            if most > MOST_DEVICES {
                assert_eq!(answered, Err(Malformed::TooMany));
                assert_eq!(noticed, Err(Malformed::TooMany));
                continue;
            }
            let opened = ClientAnswer::open(&answered.expect("sealed"), &key.public(), &reading);
            assert_eq!(opened.expect("opens").devices.len(), most);
            let opened = Notice::open(
                &noticed.expect("sealed"),
                &key.public(),
                notice.account,
                notice.client,
                &reading,
            );
            assert_eq!(opened.expect("opens").devices.len(), most);
        }
    }

    #[test]
    fn an_answer_that_is_printed_names_the_account_and_nothing_secret() {
        let answer = answer(None);
        let printed = format!("{answer:?}");
        assert!(printed.contains(&answer.account.to_string()));
        assert!(!printed.contains("KEY") && !printed.contains("broker"));
    }

    #[test]
    fn a_notice_is_for_one_delegate_and_by_the_owner_alone() {
        let rng = &mut UnwrapErr(getrandom::SysRng);
        let (key, reading, request) = asking();
        let (stranger, strangers_reading, _) = asking();
        let root = SigningKey::generate(rng);
        let notice = Notice {
            account: AccountId::random(rng),
            client: request.client(),
            number: 7,
            authority: vec![1, 2, 3],
            devices: Vec::new(),
        };
        let open = |bytes: &[u8], root: &SigningKey, client: &SigningKey, reading: &KemSecret| {
            let client = client.public().client_id();
            Notice::open(bytes, &root.public(), notice.account, client, reading)
        };
        let bytes = notice.seal(&root, &request.reading, rng).expect("sealed");
        assert_eq!(open(&bytes, &root, &key, &reading), Ok(notice.clone()));
        assert!(open(&bytes, &root, &stranger, &reading).is_err());
        assert!(open(&bytes, &root, &key, &strangers_reading).is_err());
        assert!(open(&bytes[..40], &root, &key, &reading).is_err());
        let elsewhere = Notice::open(
            &bytes,
            &root.public(),
            AccountId::random(rng),
            notice.client,
            &reading,
        );
        assert_eq!(elsewhere, Err(Malformed::Misdirected));
        let forged = notice.seal(&stranger, &request.reading, rng);
        let forged = open(&forged.expect("sealed"), &root, &key, &reading);
        assert_eq!(forged, Err(Malformed::Signature));
    }

    #[test]
    fn an_answer_opens_for_the_one_who_asked_and_nobody_else() {
        let rng = &mut UnwrapErr(getrandom::SysRng);
        let (key, reading, request) = asking();
        let (stranger, strangers_reading, _) = asking();
        let kit = KitSecret::generate(rng);
        let share = OwnersShare {
            kit: kit.clone(),
            keyring: vec![9; 900],
        };
        for owners in [None, Some(share)] {
            let full = owners.is_some();
            let sent = answer(owners);
            let bytes = sent.seal(&request, rng).expect("sealed");
            let opened = ClientAnswer::open(&bytes, &key.public(), &reading).expect("opens");
            assert_eq!(
                (opened.account, opened.root, opened.authority),
                (sent.account, sent.root, sent.authority)
            );
            assert_eq!(opened.owners.is_some(), full);
            if let Some(owners) = opened.owners {
                assert_eq!((owners.kit.0, owners.keyring.len()), (kit.0.clone(), 900));
            }
            assert!(ClientAnswer::open(&bytes, &stranger.public(), &reading).is_err());
            assert!(ClientAnswer::open(&bytes, &key.public(), &strangers_reading).is_err());
            assert!(ClientAnswer::open(&bytes[..40], &key.public(), &reading).is_err());
        }
    }
}
