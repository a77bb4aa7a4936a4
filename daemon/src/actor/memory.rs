//! The privileged half's memory on the disk: one file, replaced in one step. It must not judge what it keeps.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use homing_policy::actor::ActorState;

use crate::actor::notice;
use crate::durable::{self, Access};
use crate::error::Error;

fn path(actor_dir: &Path) -> PathBuf {
    actor_dir.join("state.cbor")
}

/// Loads it; a phone that was never locked has none. A damaged one is put aside: what the notice says of an open episode is
/// kept then, so that a broken disk does not open a lost phone, and the owner's order still ends it.
///
/// # Errors
/// [`Error::Read`], [`Error::Replace`].
pub(crate) fn load(actor_dir: &Path) -> Result<ActorState, Error> {
    let path = path(actor_dir);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(default(actor_dir)),
        Err(source) => return Err(Error::Read { path, source }),
    };
    ActorState::decode(&bytes).or_else(|fault| {
        tracing::error!(
            "{} is damaged ({fault}): put aside, beginning anew",
            path.display()
        );
        durable::take_name(&path, &path.with_extension("damaged"))?;
        Ok(default(actor_dir))
    })
}

fn default(actor_dir: &Path) -> ActorState {
    notice::episode(actor_dir).map_or_else(ActorState::default, ActorState::of_episode)
}

/// Keeps it; on the disk when this returns.
///
/// # Errors
/// [`Error::Replace`].
pub(crate) fn keep(actor_dir: &Path, state: &ActorState) -> Result<(), Error> {
    durable::replace(&path(actor_dir), &state.encode(), Access::Private)
}

/// Forgets everything.
///
/// # Errors
/// [`Error::Replace`].
pub(crate) fn forget(actor_dir: &Path) -> Result<(), Error> {
    durable::remove(&path(actor_dir))
}
