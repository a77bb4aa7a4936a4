//! What the phone keeps of its Homing PIN: a slow hash and the wrong tries since the last right one. It must not keep the PIN, nor ask anybody for it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use homing_policy::tries::Tries;
use homing_protocol::Malformed;
use homing_protocol::cbor::{self, Fields, Map};
use homing_protocol::rand_core::Rng;
use zeroize::Zeroizing;

use crate::durable::{self, Access};
use crate::error::Error;
use crate::folder;
use crate::keystore::randomness;

const MAGIC: &str = "homing pin";
/// Argon2id's memory and passes: the second of the settings that OWASP's Password Storage Cheat Sheet calls equal, the one
/// that a phone of 2 GiB has memory for. Stored beside the salt, so that they can be raised for the next PIN.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;

/// Six digits or more.
#[derive(Clone)]
pub(crate) struct Pin(Zeroizing<String>);

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pin(secret)")
    }
}

impl Pin {
    /// Reads what was typed; `None` unless it is 6 to 32 digits.
    pub(crate) fn read(typed: &str) -> Option<Self> {
        let typed = typed.trim();
        let fits =
            (6..=32).contains(&typed.len()) && typed.bytes().all(|byte| byte.is_ascii_digit());
        fits.then(|| Self(Zeroizing::new(typed.to_owned())))
    }

    /// Whether both are the same digits.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

/// A moment of the clock that nobody can set: of which start of the phone, and how long after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// The kernel's id of this start.
    pub(crate) boot: String,
    /// Milliseconds since it, sleep included.
    pub(crate) since_ms: u64,
}

/// What became of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is the PIN.
    Right,
    /// It is not; so long nobody may try again.
    Wrong(Duration),
    /// It was not looked at: so long nobody may try.
    Wait(Duration),
}

/// The verifier of one phone, as long as nobody else works with it.
#[derive(Debug)]
pub(crate) struct Verifier {
    path: PathBuf,
    kept: Kept,
    _held: File,
}

#[derive(Debug)]
struct Kept {
    salt: [u8; 16],
    hash: [u8; 32],
    memory_kib: u32,
    passes: u32,
    tries: Tries<String>,
}

/// Where it lies: in the folder of what the privileged half of the phone knows.
pub(crate) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("actor").join("pin")
}

/// Keeps this PIN from now on, in the place of any other.
///
/// # Errors
/// [`Error::Replace`], [`Error::Folder`].
pub(crate) fn set(state_dir: &Path, pin: &Pin) -> Result<(), Error> {
    let path = path(state_dir);
    folder::ensure(path.parent().unwrap_or(state_dir))?;
    let mut salt = [0; 16];
    randomness().fill_bytes(&mut salt);
    let kept = Kept {
        salt,
        hash: stretch(pin, &salt, MEMORY_KIB, PASSES)?,
        memory_kib: MEMORY_KIB,
        passes: PASSES,
        tries: Tries::default(),
    };
    durable::replace(&path, &kept.encode(), Access::Private)
}

impl Verifier {
    /// Opens it; `None` where no PIN is set. Another process that has it open is waited for: two tries at once would
    /// count as one.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Damaged`].
    pub(crate) fn open(state_dir: &Path) -> Result<Option<Self>, Error> {
        let path = path(state_dir);
        let unreadable = |source| Error::Read {
            path: path.clone(),
            source,
        };
        let held = match File::open(path.parent().unwrap_or(state_dir)) {
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(unreadable)?,
        };
        held.lock().map_err(unreadable)?;
        let bytes = match fs::read(&path) {
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(unreadable)?,
        };
        let kept = Kept::decode(&bytes).map_err(|source| Error::Damaged {
            what: format!("the verifier of the Homing PIN, {}", path.display()),
            source,
        })?;
        Ok(Some(Self {
            path,
            kept,
            _held: held,
        }))
    }

    /// How long nobody may try at `now`.
    pub(crate) fn wait(&self, now: &Moment) -> Duration {
        self.kept.tries.wait(&now.boot, now.since_ms)
    }

    /// Compares. A try is counted on the disk before it is made, so that whoever cuts it short has used it up.
    ///
    /// # Errors
    /// [`Error::Replace`]; the try was not made.
    pub(crate) fn check(&mut self, pin: &Pin, now: &Moment) -> Result<Answer, Error> {
        let wait = self.wait(now);
        if !wait.is_zero() {
            return Ok(Answer::Wait(wait));
        }
        self.kept.tries = self.kept.tries.one_more(now.boot.clone(), now.since_ms);
        self.store()?;
        let hash = stretch(pin, &self.kept.salt, self.kept.memory_kib, self.kept.passes)?;
        let differing = hash
            .iter()
            .zip(&self.kept.hash)
            .fold(0, |sum, (ours, theirs)| sum | (ours ^ theirs));
        if differing != 0 {
            return Ok(Answer::Wrong(self.wait(now)));
        }
        self.kept.tries = Tries::default();
        self.store()?;
        Ok(Answer::Right)
    }

    fn store(&self) -> Result<(), Error> {
        durable::replace(&self.path, &self.kept.encode(), Access::Private)
    }
}

fn stretch(pin: &Pin, salt: &[u8; 16], memory_kib: u32, passes: u32) -> Result<[u8; 32], Error> {
    let damaged = |_| Error::Damaged {
        what: "the verifier of the Homing PIN".into(),
        source: Malformed::Format,
    };
    let params = argon2::Params::new(memory_kib, passes, 1, Some(32)).map_err(damaged)?;
    let mut hash = [0; 32];
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(pin.0.as_bytes(), salt, &mut hash)
        .map_err(damaged)?;
    Ok(hash)
}

impl Kept {
    fn encode(&self) -> Vec<u8> {
        let map = Map::new()
            .text(0, MAGIC)
            .bytes(1, &self.salt)
            .bytes(2, &self.hash)
            .uint(3, self.memory_kib.into())
            .uint(4, self.passes.into())
            .uint(5, self.tries.wrong.into());
        match &self.tries.last {
            None => map,
            Some((boot, since_ms)) => map.text(6, boot).uint(7, *since_ms),
        }
        .encode()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let value = cbor::decode(bytes)?;
        let mut fields = Fields::of(&value)?;
        if fields.text(0, 32)? != MAGIC {
            return Err(Malformed::Format);
        }
        let mut kept = Self {
            salt: fields.bytes(1)?,
            hash: fields.bytes(2)?,
            memory_kib: fields.narrow(3)?,
            passes: fields.narrow(4)?,
            tries: Tries {
                wrong: fields.narrow(5)?,
                last: None,
            },
        };
        // More than any phone would write; a reader's memory is not to be exhausted by a file.
        if kept.memory_kib > 256 * 1024 || kept.passes > 16 {
            return Err(Malformed::Field(3));
        }
        if kept.tries.wrong > 0 {
            kept.tries.last = Some((fields.text(6, 64)?.to_owned(), fields.uint(7)?));
        }
        fields.end()?;
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use homing_policy::tries::{FIRST_WAIT, FREE_TRIES};

    use super::*;

    fn moment(boot: &str, seconds: u64) -> Moment {
        Moment {
            boot: boot.into(),
            since_ms: seconds * 1000,
        }
    }

    fn pin(digits: &str) -> Pin {
        Pin::read(digits).unwrap()
    }

    #[test]
    fn a_pin_is_six_digits_or_more_and_shows_in_no_log() {
        assert!(Pin::read(" 135790\n").is_some());
        for none in ["13579", "135790a", "", "１３５７９０"] {
            assert!(Pin::read(none).is_none(), "{none}");
        }
        assert_eq!(format!("{:?}", pin("135790")), "Pin(secret)");
    }

    #[test]
    fn the_right_pin_is_known_and_neither_it_nor_its_digits_are_on_the_disk() {
        let state = tempfile::tempdir().unwrap();
        assert!(Verifier::open(state.path()).unwrap().is_none());
        set(state.path(), &pin("135790")).unwrap();
        let mut verifier = Verifier::open(state.path()).unwrap().unwrap();
        let now = moment("a", 100);
        assert_eq!(
            verifier.check(&pin("135791"), &now).unwrap(),
            Answer::Wrong(Duration::ZERO)
        );
        assert_eq!(verifier.check(&pin("135790"), &now).unwrap(), Answer::Right);
        let path = path(state.path());
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"135790"));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn after_five_wrong_tries_even_the_right_pin_waits_and_longer_each_time() {
        let state = tempfile::tempdir().unwrap();
        set(state.path(), &pin("135790")).unwrap();
        let mut verifier = Verifier::open(state.path()).unwrap().unwrap();
        for left in (0..FREE_TRIES).rev() {
            let wait = if left == 0 {
                FIRST_WAIT
            } else {
                Duration::ZERO
            };
            let answer = verifier.check(&pin("000000"), &moment("a", 100)).unwrap();
            assert_eq!(answer, Answer::Wrong(wait));
        }
        let early = verifier.check(&pin("135790"), &moment("a", 159)).unwrap();
        assert_eq!(early, Answer::Wait(Duration::from_secs(1)));
        let again = verifier.check(&pin("000000"), &moment("a", 160)).unwrap();
        assert_eq!(again, Answer::Wrong(FIRST_WAIT * 2));
        let right = verifier.check(&pin("135790"), &moment("a", 280)).unwrap();
        assert_eq!(right, Answer::Right);
        assert_eq!(verifier.wait(&moment("a", 280)), Duration::ZERO);
    }

    #[test]
    fn neither_a_new_process_nor_a_restart_of_the_phone_shortens_the_wait() {
        let state = tempfile::tempdir().unwrap();
        set(state.path(), &pin("135790")).unwrap();
        for _ in 0..FREE_TRIES {
            let mut verifier = Verifier::open(state.path()).unwrap().unwrap();
            let _ = verifier.check(&pin("000000"), &moment("a", 100)).unwrap();
        }
        let verifier = Verifier::open(state.path()).unwrap().unwrap();
        assert_eq!(verifier.wait(&moment("a", 130)), Duration::from_secs(30));
        assert_eq!(verifier.wait(&moment("b", 20)), Duration::from_secs(40));
        assert_eq!(verifier.wait(&moment("b", 60)), Duration::ZERO);
    }

    #[test]
    fn a_damaged_verifier_is_an_error_and_lets_nobody_through() {
        let state = tempfile::tempdir().unwrap();
        set(state.path(), &pin("135790")).unwrap();
        fs::write(path(state.path()), b"").unwrap();
        assert!(matches!(
            Verifier::open(state.path()),
            Err(Error::Damaged { .. })
        ));
    }
}
