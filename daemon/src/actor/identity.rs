//! Whom the privileged half serves: its own key and the owner's, taken over once from the enrolment. It must not take over another owner's while it has one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use homing_protocol::Malformed;
use homing_protocol::cbor::{self, Fields, Map};
use homing_protocol::envelope::Address;
use homing_protocol::id::{AccountId, DeviceId};
use homing_protocol::keys::{SigningKey, VerifyingKey};
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

/// Where enrolment leaves ACT_SIG's secret for the privileged half.
fn left_by_enrolment(state_dir: &Path) -> PathBuf {
    state_dir.join("actor").join("act_sig")
}

impl ActorIdentity {
    /// Loads it; `None` when this half serves nobody yet.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Damaged`].
    pub(crate) fn load(actor_dir: &Path) -> Result<Option<Self>, Error> {
        let path = path(actor_dir);
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

/// Takes the present enrolment over. Whoever calls it decides that this may replace another one: `homingd enrol`, by whom
/// the package lets run it, and the privileged half itself while it serves nobody.
///
/// # Errors
/// [`Error::Enrolment`] while the phone is in lost mode, [`Error::Read`], [`Error::Damaged`], [`Error::Replace`].
pub(crate) fn take_over(state_dir: &Path, actor_dir: &Path) -> Result<TakenOver, Error> {
    prepare(actor_dir)?;
    let present = ActorIdentity::load(actor_dir)?;
    let Some(joined) = Identity::load(state_dir)? else {
        return Ok(TakenOver::Nothing);
    };
    let serves = |identity: &ActorIdentity| {
        identity.key.public() == joined.actor && identity.root == joined.bundle.root
    };
    let left = left_by_enrolment(state_dir);
    if present.as_ref().is_some_and(serves) {
        durable::remove(&left)?;
        return Ok(TakenOver::Yes);
    }
    refuse_lost(actor_dir)?;
    let secret = fs::read(&left).map(Zeroizing::new);
    let secret = secret.map_err(|source| Error::Read {
        path: left.clone(),
        source,
    })?;
    let secret: &[u8; 32] = secret.as_slice().try_into().map_err(|_| damaged(&left))?;
    let identity = ActorIdentity {
        key: SigningKey::from_bytes(secret),
        root: joined.bundle.root,
        address: joined.bundle.address,
        epoch: joined.bundle.epoch,
    };
    if identity.key.public() != joined.actor {
        return Err(damaged(&left));
    }
    // What the old enrolment ordered is dead with it; it goes first, so that none of it can meet the new one.
    memory::forget(actor_dir)?;
    durable::replace(&path(actor_dir), &identity.encode(), Access::Private)?;
    durable::remove(&left)?;
    Ok(TakenOver::Yes)
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
    memory::forget(actor_dir)
}

/// The folders, where only they are missing.
///
/// # Errors
/// [`Error::Folder`].
pub(crate) fn prepare(actor_dir: &Path) -> Result<(), Error> {
    folder::ensure(actor_dir)?;
    folder::ensure(&notice::folder(actor_dir))
}

fn refuse_lost(actor_dir: &Path) -> Result<(), Error> {
    if notice::stands(actor_dir) {
        return Err(crate::enrol::in_lost_mode());
    }
    Ok(())
}

fn damaged(path: &Path) -> Error {
    Error::Damaged {
        what: format!("the privileged half's key, {}", path.display()),
        source: Malformed::Format,
    }
}
