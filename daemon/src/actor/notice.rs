//! What the privileged half shows of an open episode, to the screen and to whoever starts the phone: its presence is lost mode. It must not hold anything that a finder may not read.

use std::path::{Path, PathBuf};

use homing_policy::actor::Episode;
use homing_policy::tries::Tries;
use homing_protocol::lost::CODE_DIGITS;
use serde::{Deserialize, Serialize};

use crate::durable::{self, Access};
use crate::error::Error;

/// `{actor_dir}/shown/notice.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Notice {
    /// The command that began the episode, 32 lower-case hexadecimal digits.
    episode: String,
    /// What a finder reads.
    message: String,
    /// How to reach the owner.
    contact: Option<String>,
    /// How many digits the unlock code has, where there is one.
    code_digits: Option<usize>,
    /// The phone's clock when the episode began, seconds since 1970 UTC.
    since_unix_s: u64,
}

/// The folder of the notice.
#[must_use]
pub(crate) fn folder(actor_dir: &Path) -> PathBuf {
    actor_dir.join("shown")
}

fn path(actor_dir: &Path) -> PathBuf {
    folder(actor_dir).join("notice.json")
}

/// Whether this phone is in lost mode.
#[must_use]
pub(crate) fn stands(actor_dir: &Path) -> bool {
    path(actor_dir).exists()
}

/// Shows an episode; on the disk when this returns.
///
/// # Errors
/// [`Error::Replace`].
pub(crate) fn show(actor_dir: &Path, episode: &Episode) -> Result<(), Error> {
    let path = path(actor_dir);
    let text = text(&path, episode, episode.code.map(|_| CODE_DIGITS))?;
    // An unchanged one stays: whoever watches the folder is not to be woken for nothing.
    if std::fs::read(&path).is_ok_and(|shown| shown == text) {
        return Ok(());
    }
    durable::replace(&path, &text, Access::Everybody)
}

/// The notice as it is shown before the disk's passphrase, where nobody could take a code.
///
/// # Errors
/// [`Error::Replace`], of `path`.
pub(crate) fn before_passphrase(path: &Path, episode: &Episode) -> Result<Vec<u8>, Error> {
    text(path, episode, None)
}

fn text(path: &Path, episode: &Episode, code_digits: Option<usize>) -> Result<Vec<u8>, Error> {
    let notice = Notice {
        episode: episode.command.to_string(),
        message: episode.message.clone(),
        contact: episode.contact.clone(),
        code_digits,
        since_unix_s: episode.since_unix_s,
    };
    serde_json::to_vec(&notice).map_err(|error| Error::Replace {
        path: path.to_owned(),
        source: error.into(),
    })
}

/// Takes it away; none is a success too.
///
/// # Errors
/// [`Error::Replace`].
pub(crate) fn hide(actor_dir: &Path) -> Result<(), Error> {
    if stands(actor_dir) {
        durable::remove(&path(actor_dir))
    } else {
        Ok(())
    }
}

/// The episode that is shown, as far as a notice tells it: without its code.
#[must_use]
pub(crate) fn episode(actor_dir: &Path) -> Option<Episode> {
    let text = std::fs::read(path(actor_dir)).ok()?;
    let notice: Notice = serde_json::from_slice(&text).ok()?;
    Some(Episode {
        command: notice.episode.parse().ok()?,
        message: notice.message,
        contact: notice.contact,
        code: None,
        since_unix_s: notice.since_unix_s,
        began: None,
        place: None,
        tries: Tries::default(),
        standing: None,
    })
}
