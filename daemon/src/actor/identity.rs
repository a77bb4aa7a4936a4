//! Whom the privileged half serves: its own key and the owner's, taken over once from the enrolment. It must not take over another owner's while it has one.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use homing_protocol::Malformed;
use homing_protocol::cbor::{self, Fields, Map};
use homing_protocol::envelope::Address;
use homing_protocol::id::{AccountId, DeviceId};
use homing_protocol::keys::{SigningKey, VerifyingKey};
use nix::fcntl::OFlag;
use zeroize::Zeroizing;

use crate::actor::{memory, notice};
use crate::durable::{self, Access};
use crate::error::Error;
use crate::folder;
use crate::keystore::Identity;

const MAGIC: &str = "homing actor identity 1";

/// What it knows itself and its owner by.
#[derive(Clone, Debug)]
pub(crate) struct ActorIdentity {
    /// ACT_SIG.
    pub(crate) key: SigningKey,
    /// The account's ROOT.
    pub(crate) root: VerifyingKey,
    /// Account and phone.
    pub(crate) address: Address,
    /// The enrolment.
    pub(crate) epoch: u32,
}

fn path(actor_dir: &Path) -> PathBuf {
    actor_dir.join("identity.cbor")
}

/// The same again: without it a lost phone whose disk loses one block could not be given back by its owner.
fn copy(actor_dir: &Path) -> PathBuf {
    actor_dir.join("identity.copy.cbor")
}

/// Where enrolment leaves ACT_SIG's secret for the privileged half.
pub(crate) fn left_by_enrolment(state_dir: &Path) -> PathBuf {
    state_dir.join("actor").join("act_sig")
}

impl ActorIdentity {
    /// Loads it, from its copy where it is damaged; `None` when this half serves nobody yet.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Damaged`].
    pub(crate) fn load(actor_dir: &Path) -> Result<Option<Self>, Error> {
        let first = Self::read(path(actor_dir));
        match &first {
            Ok(_) => first,
            Err(error) => match Self::read(copy(actor_dir)) {
                Ok(Some(kept)) => {
                    tracing::warn!("{error}: its copy is used");
                    Ok(Some(kept))
                }
                _ => first,
            },
        }
    }

    fn read(path: PathBuf) -> Result<Option<Self>, Error> {
        match fs::read(&path) {
            Ok(bytes) => {
                let bytes = Zeroizing::new(bytes);
                Self::decode(&bytes)
                    .map(Some)
                    .map_err(|source| Error::Damaged {
                        what: format!("the privileged half's identity, {}", path.display()),
                        source,
                    })
            }
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Read { path, source }),
        }
    }

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let map = Map::new()
            .text(0, MAGIC)
            .bytes(1, self.key.to_bytes().as_ref())
            .bytes(2, &self.root.0)
            .bytes(3, &self.address.account.0)
            .bytes(4, &self.address.device.0)
            .uint(5, self.epoch.into());
        Zeroizing::new(map.encode())
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let value = cbor::decode(bytes)?;
        let mut fields = Fields::of(&value)?;
        if fields.text(0, 32)? != MAGIC {
            return Err(Malformed::Format);
        }
        let identity = Self {
            key: SigningKey::from_bytes(&fields.bytes(1)?),
            root: VerifyingKey(fields.bytes(2)?),
            address: Address {
                account: AccountId(fields.bytes(3)?),
                device: DeviceId(fields.bytes(4)?),
            },
            epoch: fields.narrow(5)?,
        };
        fields.end()?;
        Ok(identity)
    }
}

/// What became of an attempt to take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakenOver {
    /// The privileged half serves this enrolment from now on, or did so before.
    Yes,
    /// There is nothing to take over: the phone has not joined.
    Nothing,
}

/// Serves this enrolment from now on, in the place of any other. Only `homingd enrol` may replace one, and it says itself
/// what it has just made: whoever owns the agent's folder could put another owner there.
///
/// # Errors
/// [`Error::Enrolment`] while the phone is in lost mode, [`Error::Folder`], [`Error::Replace`].
pub(crate) fn serve(actor_dir: &Path, joined: &Identity, key: &SigningKey) -> Result<(), Error> {
    prepare(actor_dir)?;
    refuse_lost(actor_dir)?;
    let identity = ActorIdentity {
        key: key.clone(),
        root: joined.bundle.root,
        address: joined.bundle.address,
        epoch: joined.bundle.epoch,
    };
    // What the old enrolment ordered is dead with it; it goes first, so that none of it can meet the new one.
    memory::forget(actor_dir)?;
    // The copy first: nobody looks at it before the other one is damaged.
    durable::replace(&copy(actor_dir), &identity.encode(), Access::Private)?;
    durable::replace(&path(actor_dir), &identity.encode(), Access::Private)
}

/// Takes over an enrolment that is found in the agent's folder. Only a privileged half that serves nobody does so.
///
/// # Errors
/// As [`serve`]; [`Error::Read`], [`Error::Damaged`].
pub(crate) fn take_over(state_dir: &Path, actor_dir: &Path) -> Result<TakenOver, Error> {
    let Some(joined) = Identity::load(state_dir)? else {
        return Ok(TakenOver::Nothing);
    };
    let left = left_by_enrolment(state_dir);
    let secret = read_secret(&left).map_err(|source| Error::Read {
        path: left.clone(),
        source,
    })?;
    let key = SigningKey::from_bytes(&secret);
    if key.public() != joined.actor {
        return Err(Error::Damaged {
            what: format!("the privileged half's key, {}", left.display()),
            source: Malformed::Format,
        });
    }
    serve(actor_dir, &joined, &key)?;
    durable::remove(&left)?;
    Ok(TakenOver::Yes)
}

/// Exactly a key, from a file and not from what somebody may have put in its place.
fn read_secret(path: &Path) -> io::Result<Zeroizing<[u8; 32]>> {
    let mut file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NOFOLLOW.bits() | OFlag::O_NONBLOCK.bits())
        .open(path)?;
    let mut secret = Zeroizing::new([0; 32]);
    file.read_exact(secret.as_mut())?;
    Ok(secret)
}

/// When the identity was last replaced, as its file tells: so that a process that is running learns of it.
pub(crate) fn version(actor_dir: &Path) -> Option<(u64, i64, i64)> {
    let found = fs::metadata(path(actor_dir)).ok()?;
    Some((found.ino(), found.mtime(), found.mtime_nsec()))
}

/// Forgets whom it served.
///
/// # Errors
/// [`Error::Enrolment`] while the phone is in lost mode, [`Error::Replace`].
pub(crate) fn forget(actor_dir: &Path) -> Result<(), Error> {
    if !actor_dir.is_dir() {
        return Ok(());
    }
    refuse_lost(actor_dir)?;
    durable::remove(&path(actor_dir))?;
    durable::remove(&copy(actor_dir))?;
    memory::forget(actor_dir)
}

/// The folders, where only they are missing.
///
/// # Errors
/// [`Error::Folder`].
pub(crate) fn prepare(actor_dir: &Path) -> Result<(), Error> {
    folder::ensure(actor_dir)?;
    let shown = notice::folder(actor_dir);
    if shown.is_dir() {
        return Ok(());
    }
    folder::ensure(&shown)?;
    // The agent is woken by it, and the screen reads it; this process makes everything else its own alone.
    fs::set_permissions(&shown, fs::Permissions::from_mode(0o755)).map_err(|source| Error::Folder {
        path: shown,
        source,
    })
}

fn refuse_lost(actor_dir: &Path) -> Result<(), Error> {
    if notice::stands(actor_dir) {
        return Err(crate::enrol::in_lost_mode());
    }
    Ok(())
}
