//! Joining anew and leaving, each in one step that a power cut cannot halve: the step is written down first and finished by whoever starts next. It must not decide who may do so.

use std::path::{Path, PathBuf};

use homing_protocol::keys::SigningKey;
use rusqlite::Connection;

use crate::crash::CrashPoint;
use crate::durable::{self, Access};
use crate::error::Error;
use crate::keystore::{self, Identity};
use crate::siren::intent;
use crate::{folder, journal, pin};

/// The identity that is about to take the present one's place; while it is there, the step is not finished.
fn next(state_dir: &Path) -> PathBuf {
    beside(state_dir, "next.cbor")
}

/// ACT_SIG's secret that belongs to it.
fn next_actor(state_dir: &Path) -> PathBuf {
    beside(state_dir, "next.actor")
}

/// Says that this phone leaves its account; while it is there, the step is not finished.
fn leaving(state_dir: &Path) -> PathBuf {
    beside(state_dir, "leaving")
}

fn beside(state_dir: &Path, name: &str) -> PathBuf {
    keystore::path(state_dir).with_file_name(name)
}

/// Takes up an identity in the place of none or of an older one.
///
/// # Errors
/// [`Error::Replace`], [`Error::Folder`], [`Error::Journal`]; the step is then either not begun, or finished at the next start.
pub(crate) fn join(
    state_dir: &Path,
    identity: &Identity,
    actor: &SigningKey,
    crash: &mut CrashPoint,
) -> Result<(), Error> {
    settle(state_dir, crash)?;
    folder::ensure(keystore::path(state_dir).parent().unwrap_or(state_dir))?;
    crash.pass()?;
    durable::replace(
        &next_actor(state_dir),
        actor.to_bytes().as_ref(),
        Access::Private,
    )?;
    crash.pass()?;
    // From here on it will be taken up, come what may.
    durable::replace(&next(state_dir), &identity.encode(), Access::Private)?;
    crash.pass()?;
    settle(state_dir, crash)
}

/// Ends this phone's membership: keys, orders, positions and ledger go.
///
/// # Errors
/// As [`join`].
pub(crate) fn leave(state_dir: &Path, crash: &mut CrashPoint) -> Result<(), Error> {
    crash.pass()?;
    durable::replace(&leaving(state_dir), b"leaving\n", Access::Private)?;
    crash.pass()?;
    settle(state_dir, crash)
}

/// Finishes what was begun; nothing to do is the usual case. Whoever works on the state calls it first.
///
/// # Errors
/// As [`join`].
pub(crate) fn settle(state_dir: &Path, crash: &mut CrashPoint) -> Result<(), Error> {
    if leaving(state_dir).exists() {
        return finish_leaving(state_dir, crash);
    }
    if next(state_dir).exists() {
        finish_joining(state_dir, crash)?;
    }
    // Of a step that was not begun, or that has ended.
    durable::remove(&next_actor(state_dir))
}

fn finish_joining(state_dir: &Path, crash: &mut CrashPoint) -> Result<(), Error> {
    silence(state_dir)?;
    match Identity::load(state_dir)? {
        // What the person at the phone may read of the same account stays.
        Some(_) => empty_journal(state_dir)?,
        // Whatever lies here is of somebody who left.
        None => remove_journal(state_dir, crash)?,
    }
    crash.pass()?;
    let actor = state_dir.join("actor");
    folder::ensure(&actor)?;
    let path = next_actor(state_dir);
    let secret = zeroize::Zeroizing::new(
        std::fs::read(&path).map_err(|source| Error::Read { path, source })?,
    );
    durable::replace(&actor.join("act_sig"), &secret, Access::Private)?;
    crash.pass()?;
    durable::take_name(&next(state_dir), &keystore::path(state_dir))?;
    crash.pass()
}

fn finish_leaving(state_dir: &Path, crash: &mut CrashPoint) -> Result<(), Error> {
    silence(state_dir)?;
    remove_journal(state_dir, crash)?;
    let siren = intent::folder(state_dir);
    let files = [
        state_dir.join("actor").join("act_sig"),
        pin::path(state_dir),
        keystore::path(state_dir),
        next(state_dir),
        next_actor(state_dir),
    ];
    for file in files {
        durable::remove(&file)?;
        crash.pass()?;
    }
    // The siren's own word of its last ring; it may belong to another user, and holds no secret.
    if let Err(error) = durable::remove(&siren.join("state.json")) {
        tracing::debug!("the siren's last word stays behind: {error}");
    }
    durable::remove(&leaving(state_dir))
}

/// A ring of the old membership is over.
fn silence(state_dir: &Path) -> Result<(), Error> {
    let siren = intent::folder(state_dir);
    if siren.is_dir() {
        intent::withdraw(&siren)?;
    }
    Ok(())
}

/// Orders, receipts, positions and counters of an older enrolment go; the ledger stays.
fn empty_journal(state_dir: &Path) -> Result<(), Error> {
    let path = journal::path(state_dir);
    if !path.exists() {
        return Ok(());
    }
    let doing = |source| Error::Journal {
        doing: "empty it for a new enrolment",
        source,
    };
    let db = Connection::open(&path).map_err(doing)?;
    let emptied = db
        .pragma_update(None, "synchronous", "FULL")
        .and_then(|()| db.pragma_update(None, "secure_delete", "ON"))
        .and_then(|()| {
            db.execute_batch(
                "BEGIN IMMEDIATE; DELETE FROM record; DELETE FROM chain; DELETE FROM receipt;
                 DELETE FROM outbox; DELETE FROM report; COMMIT; PRAGMA wal_checkpoint(TRUNCATE);",
            )
        });
    emptied.map_err(doing)
}

fn remove_journal(state_dir: &Path, crash: &mut CrashPoint) -> Result<(), Error> {
    let path = journal::path(state_dir);
    // The log first: without its file it means nothing, and a file without its log is an older state.
    for ending in ["-wal", "-shm", ""] {
        let mut name = path.clone().into_os_string();
        name.push(ending);
        durable::remove(Path::new(&name))?;
        crash.pass()?;
    }
    // Not the lock: whoever does this holds it.
    durable::remove(&state_dir.join("reserve"))
}
