//! A repository from the flags that name it: its place, its password, its server's certificates. Secrets come from files or a prompt.

use super::Context;
use super::args::{InitRepository, Repository as At};
use super::interrupt::Interrupt;
use crate::error::Error;
use crate::file;
use crate::output::{Output, harmless};
use crate::passphrase::{self, Source};
use homing_backup::clock::{Clock, SystemClock};
use homing_backup::key::Maker;
use homing_backup::os::identity::{Names, hostname, own_ids};
use homing_backup::repository::Repository;
use homing_backup::store::{
    Going, Patience, PatientStore, Place, PlaceStore, RestOptions, StoreError,
};
use serde::Serialize;
use std::path::Path;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// The store of every command: tried again while that may help.
pub(crate) type AnyStore = PatientStore<PlaceStore, Waiter>;

/// Waits between attempts, and says why.
#[derive(Clone, Debug)]
pub(crate) struct Waiter {
    began: Instant,
    interrupt: Interrupt,
    out: Output,
}

impl Patience for Waiter {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn wait(&self, time: Duration, because: &StoreError) -> Going {
        let seconds = time.as_secs_f32();
        let why = harmless(&because.to_string());
        self.out
            .warn(&format!("{why}; trying again in {seconds} s"));
        if self.interrupt.wait(time) {
            Going::Stop
        } else {
            Going::On
        }
    }
}

/// Opens a repository.
pub(crate) fn repository(context: &Context, at: &At) -> Result<Repository<AnyStore>, Error> {
    let store = store(context, at)?;
    let password = password(context, at, "Password of the repository")?;
    context.interrupt.watch()?;
    Repository::open(store, password.as_bytes()).map_err(|error| match error {
        homing_backup::Error::NotARepository => Error::NoRepository(shown(at)),
        other => other.into(),
    })
}

/// The store at a place, tried again while that may help.
pub(crate) fn store(context: &Context, at: &At) -> Result<AnyStore, Error> {
    let place = Place::parse(&at.repository).map_err(|error| Error::Usage(error.reason))?;
    let login = match (&place, &at.server_password_file) {
        (
            Place::Server {
                user: Some(user), ..
            },
            Some(path),
        ) => Some((user.clone(), password_in(path)?)),
        (Place::Server { user: Some(_), .. }, None) => {
            return Err(Error::Usage(
                "the address names a user: give that user's password with --server-password-file"
                    .into(),
            ));
        }
        (_, Some(_)) => {
            return Err(Error::Usage(
                "--server-password-file needs a user in the address, as in rest:https://USER@HOST/"
                    .into(),
            ));
        }
        (_, None) => None,
    };
    let authorities = match &at.server_ca {
        Some(path) => Some(file::read_text(path)?.into_bytes()),
        None => None,
    };
    let options = RestOptions {
        login,
        authorities,
        ..RestOptions::default()
    };
    let waiter = Waiter {
        began: Instant::now(),
        interrupt: context.interrupt.clone(),
        out: context.out,
    };
    let store = PlaceStore::new(&place, &options).map_err(homing_backup::Error::from)?;
    Ok(PatientStore::new(store, waiter, at.patience.0))
}

fn password(context: &Context, at: &At, prompt: &str) -> Result<Zeroizing<String>, Error> {
    match &at.password_file {
        Some(path) => password_in(path),
        None => ask(context.password, prompt),
    }
}

fn ask(source: Source, prompt: &str) -> Result<Zeroizing<String>, Error> {
    passphrase::ask(source, prompt).map_err(|error| match error {
        Error::Passphrase(source) => Error::Password(source),
        other => other,
    })
}

/// The repository's place as it was given; a password in it was refused before.
pub(crate) fn shown(at: &At) -> String {
    harmless(&at.repository.to_string_lossy())
}

/// A password file holds the password and nothing else; as with restic, space around it does not count.
fn password_in(path: &Path) -> Result<Zeroizing<String>, Error> {
    let text = Zeroizing::new(file::read_text(path)?);
    let password = Zeroizing::new(text.trim().to_owned());
    if password.is_empty() {
        return Err(Error::File {
            path: path.into(),
            reason: "it holds no password".into(),
        });
    }
    Ok(password)
}

#[derive(Serialize)]
struct Made {
    repository: String,
    id: String,
}

/// `homing init-repository`.
pub(crate) fn init(context: &Context, args: &InitRepository) -> Result<(), Error> {
    let store = store(context, &args.at)?;
    let password = password(context, &args.at, "New password of the repository")?;
    if password.chars().count() < 8 {
        return Err(Error::WeakPassphrase(
            "the password needs at least 8 characters; four random words are good",
        ));
    }
    let asked = args.at.password_file.is_none() && context.password == Source::Prompt;
    if asked && *ask(Source::Prompt, "Again")? != *password {
        return Err(Error::WeakPassphrase(
            "the two passwords differ; nothing was made",
        ));
    }
    let (uid, _) = own_ids();
    let maker = Maker {
        user: Names::read(Path::new("/")).user(uid).to_owned(),
        host: hostname(),
        at: SystemClock.now(),
    };
    context.interrupt.watch()?;
    let place = shown(&args.at);
    let made =
        Repository::create(store, password.as_bytes(), &maker).map_err(|error| match error {
            homing_backup::Error::AlreadyARepository => Error::RepositoryThere(place.clone()),
            other => other.into(),
        })?;
    let id = made.config().id.to_string();
    context.out.both(
        &format!(
            "made repository {} in {place}; without its password nothing in it can be read",
            &id[..8]
        ),
        &Made {
            repository: place.clone(),
            id: id.clone(),
        },
    )
}
