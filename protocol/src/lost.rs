//! Lost mode's own words: the unlock code and its verifier, the privileged half's challenges, and what it attests. Decides nothing.

use crate::Malformed;
use crate::envelope::{Address, MessageType};
use crate::id::{BeaconNonce, BootId, CommandId};
use crate::keys::{SigningKey, VerifyingKey};
use crate::rand_core::CryptoRng;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

/// Digits of an unlock code: as many as a person copies without a mistake, and a hundred million to try.
pub const CODE_DIGITS: usize = 8;

/// How many there are.
const CODES: u128 = 100_000_000;

/// Argon2id's memory and passes for [`CodeVerifier`]: the second of the settings that OWASP's Password Storage Cheat Sheet
/// calls equal, the one that a phone of 2 GiB has memory for. Other settings would need another field on the wire.
const CODE_MEMORY_KIB: u32 = 19 * 1024;
const CODE_PASSES: u32 = 2;

/// Eight digits that end one episode of lost mode at the phone itself.
#[derive(Clone, PartialEq, Eq)]
pub struct UnlockCode(Zeroizing<String>);

impl core::fmt::Debug for UnlockCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("UnlockCode(secret)")
    }
}

impl UnlockCode {
    /// The code of an episode: it follows from ROOT's secret, so that whoever opens the full part of the keyring can tell
    /// it at any time, and nobody has to keep it.
    #[must_use]
    pub fn of(root: &SigningKey, episode: CommandId) -> Self {
        let mut wide = Zeroizing::new([0; 16]);
        let info = [b"homing/v1 unlock code".as_slice(), &episode.0].concat();
        Hkdf::<Sha256>::new(None, root.to_bytes().as_ref())
            .expand(&info, wide.as_mut())
            .expect("16 bytes are a valid length");
        // 128 bits for a hundred million codes: the remainder favours none by more than one in 10^30.
        let code = u128::from_be_bytes(*wide) % CODES;
        Self(Zeroizing::new(format!("{code:0CODE_DIGITS$}")))
    }
    /// Reads what was typed: eight digits; spaces and dashes between them do not matter.
    #[must_use]
    pub fn read(typed: &str) -> Option<Self> {
        let digits: Zeroizing<String> =
            Zeroizing::new(typed.chars().filter(|c| !matches!(c, ' ' | '-')).collect());
        let fits = digits.len() == CODE_DIGITS && digits.bytes().all(|c| c.is_ascii_digit());
        fits.then_some(Self(digits))
    }
    /// The eight digits.
    #[must_use]
    pub fn digits(&self) -> &str {
        &self.0
    }
}

/// What a phone is given to know the right code by: salt and the first 16 bytes of Argon2id (RFC 9106, version 0x13).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CodeVerifier {
    salt: [u8; 16],
    hash: [u8; 16],
}

impl core::fmt::Debug for CodeVerifier {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("CodeVerifier(secret)")
    }
}

impl CodeVerifier {
    /// Makes one with a fresh salt; takes as long as one try.
    #[must_use]
    pub fn of(code: &UnlockCode, rng: &mut impl CryptoRng) -> Self {
        let mut salt = [0; 16];
        rng.fill_bytes(&mut salt);
        Self {
            salt,
            hash: stretch(code, &salt),
        }
    }
    /// Whether this is the code. Slow on purpose; the time does not depend on what differs.
    #[must_use]
    pub fn matches(&self, code: &UnlockCode) -> bool {
        let hash = stretch(code, &self.salt);
        let differing = hash
            .iter()
            .zip(&self.hash)
            .fold(0, |sum, (ours, theirs)| sum | (ours ^ theirs));
        differing == 0
    }
    /// Salt ‖ hash, as on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        let mut out = [0; 32];
        out[..16].copy_from_slice(&self.salt);
        out[16..].copy_from_slice(&self.hash);
        out
    }
    /// From the wire.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let (mut salt, mut hash) = ([0; 16], [0; 16]);
        salt.copy_from_slice(&bytes[..16]);
        hash.copy_from_slice(&bytes[16..]);
        Self { salt, hash }
    }
}

fn stretch(code: &UnlockCode, salt: &[u8; 16]) -> [u8; 16] {
    let mut hash = [0; 16];
    let params = argon2::Params::new(CODE_MEMORY_KIB, CODE_PASSES, 1, Some(16))
        .expect("these settings are within Argon2's ranges");
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(code.0.as_bytes(), salt, &mut hash)
        .expect("a salt and a hash of 16 bytes are valid lengths");
    hash
}

/// The client that signs what only the full key may order, [`crate::authority::Capabilities::full`]: it follows from
/// ROOT's secret, so that every keyring has it and none needs another field.
#[must_use]
pub fn full_client(root: &SigningKey) -> SigningKey {
    let mut seed = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, root.to_bytes().as_ref())
        .expand(b"homing/v1 full client", seed.as_mut())
        .expect("32 bytes are a valid length");
    SigningKey::from_bytes(&seed)
}

/// How long a challenge answers, milliseconds since it was made: as long as a beacon does.
pub const CHALLENGE_MS: u64 = crate::command::LIVE_MS;

/// The privileged half's challenges: each is a time of this start of the phone under a key that only that half has. So it
/// remembers none of them, and nobody can fill its memory by asking. The agent puts it into a beacon as the nonce.
#[derive(Clone)]
pub struct Challenger(Zeroizing<[u8; 32]>);

impl core::fmt::Debug for Challenger {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Challenger(secret)")
    }
}

impl Challenger {
    /// Of this ACT_SIG and this start of the phone.
    #[must_use]
    pub fn new(actor: &SigningKey, boot: BootId) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        let info = [b"homing/v1 challenge".as_slice(), &boot.0].concat();
        Hkdf::<Sha256>::new(None, actor.to_bytes().as_ref())
            .expand(&info, key.as_mut())
            .expect("32 bytes are a valid length");
        Self(key)
    }
    /// The challenge of a moment: the time in 6 bytes, then 10 bytes of HMAC-SHA256 of it.
    #[must_use]
    pub fn challenge(&self, boottime_ms: u64) -> BeaconNonce {
        let mut nonce = [0; 16];
        nonce[..6].copy_from_slice(&boottime_ms.to_be_bytes()[2..]);
        let mut tag = [0; 10];
        // HKDF's expansion to one block is HMAC-SHA256 of the info and a counter.
        Hkdf::<Sha256>::from_prk(self.0.as_ref())
            .expect("32 bytes are a valid length")
            .expand(&nonce[..6], &mut tag)
            .expect("10 bytes are a valid length");
        nonce[6..].copy_from_slice(&tag);
        BeaconNonce(nonce)
    }
    /// When this challenge was made, milliseconds since the phone started; `None` unless it is ours, of this start of the phone and
    /// no older than [`CHALLENGE_MS`].
    #[must_use]
    pub fn made_ms(&self, nonce: BeaconNonce, boottime_ms: u64) -> Option<u64> {
        let mut time = [0; 8];
        time[2..].copy_from_slice(&nonce.0[..6]);
        let made_ms = u64::from_be_bytes(time);
        let differing = self
            .challenge(made_ms)
            .0
            .iter()
            .zip(&nonce.0)
            .fold(0, |sum, (ours, theirs)| sum | (ours ^ theirs));
        let is_live = made_ms <= boottime_ms && boottime_ms - made_ms <= CHALLENGE_MS;
        (differing == 0 && is_live).then_some(made_ms)
    }
}

/// What the privileged half did about a command; the numbers never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The phone is locked, every door that was looked at is closed.
    Locked = 1,
    /// The phone is locked, and something is still open: the receipt's text names it.
    LockedInPart = 2,
    /// The episode was ended by a signed order.
    EndedByOrder = 3,
    /// The episode was ended by its unlock code, typed at the phone.
    EndedByCode = 4,
    /// There was no open episode to end.
    NothingToEnd = 5,
    /// Another episode took its place; the phone stays locked.
    Superseded = 6,
}

impl Outcome {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Locked, "locked"),
        (Self::LockedInPart, "locked in part"),
        (Self::EndedByOrder, "unlocked by order"),
        (Self::EndedByCode, "unlocked with the code"),
        (Self::NothingToEnd, "was not in lost mode"),
        (Self::Superseded, "another message took its place"),
    ];
    /// The outcome with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        let mut all = Self::ALL.iter().map(|(outcome, _)| *outcome);
        all.find(|outcome| *outcome as u8 == code)
    }
    /// In words, for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        let mut all = Self::ALL.iter();
        all.find(|(outcome, _)| *outcome == self)
            .map_or("", |(_, words)| words)
    }
}

/// An outcome under ACT_SIG: an agent that was taken over cannot make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// What was done.
    pub outcome: Outcome,
    /// Number of the attestation, counted by the privileged half from 1; the highest of a command is the newest.
    pub counter: u64,
    signature: [u8; 64],
}

impl Attestation {
    /// Outcome (1) ‖ counter (8, big-endian) ‖ signature (64).
    pub const LEN: usize = 1 + 8 + 64;

    /// Signs an outcome.
    #[must_use]
    pub fn sign(
        actor: &SigningKey,
        (address, epoch): (&Address, u32),
        command: CommandId,
        outcome: Outcome,
        counter: u64,
    ) -> Self {
        let message = attested(address, epoch, command, outcome, counter);
        let mut signature = [0; 64];
        signature.copy_from_slice(&actor.sign(&message));
        Self {
            outcome,
            counter,
            signature,
        }
    }
    /// Checks who made it and what about.
    ///
    /// # Errors
    /// [`Malformed::Signature`].
    pub fn verify(
        &self,
        actor: &VerifyingKey,
        (address, epoch): (&Address, u32),
        command: CommandId,
    ) -> Result<(), Malformed> {
        let message = attested(address, epoch, command, self.outcome, self.counter);
        actor.verify(&message, &self.signature)
    }
    /// As on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[0] = self.outcome as u8;
        out[1..9].copy_from_slice(&self.counter.to_be_bytes());
        out[9..].copy_from_slice(&self.signature);
        out
    }
    /// From the wire; nobody has checked the signature.
    ///
    /// # Errors
    /// [`Malformed::Length`]; [`Malformed::Format`] for an outcome of a later version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let bytes: &[u8; Self::LEN] = bytes.try_into().map_err(|_| Malformed::Length)?;
        let (mut counter, mut signature) = ([0; 8], [0; 64]);
        counter.copy_from_slice(&bytes[1..9]);
        signature.copy_from_slice(&bytes[9..]);
        Ok(Self {
            outcome: Outcome::from_code(bytes[0]).ok_or(Malformed::Format)?,
            counter: u64::from_be_bytes(counter),
            signature,
        })
    }
}

/// Context ‖ epoch (4) ‖ command id (16) ‖ counter (8) ‖ outcome (1). It can be no COSE structure: those begin with an array.
fn attested(
    address: &Address,
    epoch: u32,
    command: CommandId,
    outcome: Outcome,
    counter: u64,
) -> Vec<u8> {
    let mut message = address.context(MessageType::Attestation);
    message.extend_from_slice(&epoch.to_be_bytes());
    message.extend_from_slice(&command.0);
    message.extend_from_slice(&counter.to_be_bytes());
    message.push(outcome as u8);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{AccountId, DeviceId};
    use crate::rand_core::UnwrapErr;

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_bytes(&[byte; 32])
    }

    #[test]
    fn each_episode_has_a_code_of_its_own_that_only_its_root_can_tell() {
        let episode = |byte| CommandId([byte; 16]);
        let code = UnlockCode::of(&key(1), episode(1));
        assert_eq!(code.digits().len(), CODE_DIGITS);
        assert_eq!(code, UnlockCode::of(&key(1), episode(1)));
        assert_ne!(code, UnlockCode::of(&key(1), episode(2)));
        assert_ne!(code, UnlockCode::of(&key(2), episode(1)));
        let spaced = format!(" {} - {}", &code.digits()[..4], &code.digits()[4..]);
        assert_eq!(UnlockCode::read(&spaced), Some(code));
        for none in ["1234567", "123456789", "1234567a", "１２３４５６７８", ""] {
            assert_eq!(UnlockCode::read(none), None, "{none}");
        }
    }

    /// Computed by others: Python's hmac and hashlib, and the reference program of Argon2. An update that changed one of them would tell
    /// codes that open no phone, and sign ends under a key that no list has.
    #[test]
    fn code_key_challenge_and_verifier_follow_from_root_and_act_sig_as_they_always_did() {
        let hexadecimal =
            |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
        let code = UnlockCode::of(&key(1), CommandId([1; 16]));
        assert_eq!(code.digits(), "55601886");
        assert_eq!(
            hexadecimal(full_client(&key(1)).to_bytes().as_ref()),
            "f821dd92c52165cd16c7f7968b1255b0636e23a7ae3cf23fe9fee1031b6623a6"
        );
        let nonce = Challenger::new(&key(1), BootId([1; 16])).challenge(5_000);
        assert_eq!(hexadecimal(&nonce.0), "000000001388d3abfb1bb4ca3d73727c");
        let code = UnlockCode::read("12345678").expect("a code");
        let hash = stretch(&code, &[2; 16]);
        assert_eq!(hexadecimal(&hash), "ccbe1a1f5c34c03e2a05ce0f47c2785b");
    }

    #[test]
    fn a_verifier_knows_its_code_and_no_other() {
        let code = UnlockCode::read("12345678").expect("a code");
        let verifier = CodeVerifier::of(&code, &mut UnwrapErr(getrandom::SysRng));
        assert_eq!(CodeVerifier::from_bytes(verifier.to_bytes()), verifier);
        assert!(verifier.matches(&code));
        assert!(!verifier.matches(&UnlockCode::read("12345679").expect("a code")));
    }

    #[test]
    fn a_challenge_answers_for_a_quarter_of_an_hour_of_one_start_of_one_phone() {
        let challenger = Challenger::new(&key(1), BootId([1; 16]));
        let nonce = challenger.challenge(5_000);
        assert_eq!(challenger.made_ms(nonce, 5_000), Some(5_000));
        let latest = 5_000 + CHALLENGE_MS;
        assert_eq!(challenger.made_ms(nonce, latest), Some(5_000));
        assert_eq!(challenger.made_ms(nonce, latest + 1), None);
        assert_eq!(challenger.made_ms(nonce, 4_999), None, "from the future");
        for other in [
            Challenger::new(&key(2), BootId([1; 16])),
            Challenger::new(&key(1), BootId([2; 16])),
        ] {
            assert_eq!(other.made_ms(nonce, 5_000), None);
        }
        for bit in 0..128 {
            let mut forged = nonce;
            forged.0[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(challenger.made_ms(forged, 6_000), None, "{bit}");
        }
    }

    #[test]
    fn an_attestation_is_of_one_actor_phone_enrolment_command_and_outcome() {
        let address = Address {
            account: AccountId([1; 16]),
            device: DeviceId([2; 16]),
        };
        let command = CommandId([3; 16]);
        let made = Attestation::sign(&key(1), (&address, 4), command, Outcome::Locked, 5);
        let read = Attestation::from_bytes(&made.to_bytes()).expect("read");
        let verify = |it: &Attestation, at: &Address, epoch, command| {
            it.verify(&key(1).public(), (at, epoch), command)
        };
        assert_eq!(verify(&read, &address, 4, command), Ok(()));
        let elsewhere = Address {
            device: DeviceId([9; 16]),
            ..address
        };
        assert!(verify(&read, &elsewhere, 4, command).is_err());
        assert!(verify(&read, &address, 5, command).is_err());
        assert!(verify(&read, &address, 4, CommandId([4; 16])).is_err());
        assert!(
            made.verify(&key(2).public(), (&address, 4), command)
                .is_err()
        );
        for bit in 0..8 * Attestation::LEN {
            let mut bytes = made.to_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let forged = Attestation::from_bytes(&bytes);
            let holds = forged.is_ok_and(|it| verify(&it, &address, 4, command).is_ok());
            assert!(!holds, "{bit}");
        }
    }
}
