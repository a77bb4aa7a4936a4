//! `homingd pin`: the Homing PIN, which only the person who carries the phone knows. It must not show, log or pass on a PIN, and never touches the user's own.

mod prompt;
mod verifier;

use std::path::Path;
use std::time::Duration;

use homing_hal::Roots;

use self::prompt::Presence;
pub(crate) use self::verifier::path;
use self::verifier::{Answer, Moment, Pin, Verifier};
use crate::args::Order;
use crate::error::Error;
use crate::exit::{ExitError, ExitStatus};
use crate::siren::intent;
use crate::{boottime, config, enrol, print};

/// `homingd pin set` and `homingd pin check`.
///
/// # Errors
/// Another word, no state directory, a wrong PIN or one that must wait (77), no PIN set (78), nothing typed.
pub(crate) fn run(order: &Order) -> Result<(), ExitError> {
    let state_dir = config::load(&order.source)?.settings.state_dir;
    if !state_dir.is_dir() {
        return Err(Error::Enrolment(format!(
            "the state directory {} is missing: the package makes it",
            state_dir.display()
        ))
        .into());
    }
    let word = order.operands.first().and_then(|word| word.to_str());
    if !matches!(word, Some("set" | "check")) {
        return Err(
            Error::Usage("pin takes set or check; see \"homingd pin --help\"".into()).into(),
        );
    }
    let _ = enrol::become_owner_of(&state_dir)?;
    if word == Some("check") {
        return match pass(&state_dir, "Homing PIN: ")? {
            Passed::Right => Ok(print("The PIN is right.\n")?),
            Passed::NoneSet => Err(Error::Enrolment(
                "no Homing PIN is set on this phone; one is set with: homingd pin set".into(),
            )
            .into()),
        };
    }
    pass(&state_dir, "Homing PIN until now: ")?;
    let pin = choose("New Homing PIN (6 digits or more): ")?.ok_or_else(nothing_typed)?;
    verifier::set(&state_dir, &pin)?;
    Ok(print(
        "The Homing PIN is set. Removing Homing from this phone asks for it.\n",
    )?)
}

/// Offers a PIN to somebody who has just joined this phone to an account, where one is there and none is set.
///
/// # Errors
/// The state directory cannot be written; a mistyped PIN only leaves the phone without one.
pub(crate) fn offer(state_dir: &Path) -> Result<(), ExitError> {
    if prompt::somebody_is_there() == Presence::Input || Verifier::open(state_dir)?.is_some() {
        return Ok(());
    }
    print(
        "A Homing PIN keeps a passing hand from removing Homing from this phone. It is not the one that unlocks the screen.\n",
    )?;
    match choose("Homing PIN (6 digits or more; nothing for none): ") {
        Ok(Some(pin)) => {
            verifier::set(state_dir, &pin)?;
            print("The Homing PIN is set.\n")?;
        }
        Ok(None) => print("No PIN was set. It can be done later: homingd pin set\n")?,
        Err(error) => print(&format!("{error}. It can be done later: homingd pin set\n"))?,
    }
    Ok(())
}

/// Asks for the PIN where one is set; where none is, everybody passes.
///
/// # Errors
/// As of `homingd pin check`, but for no PIN.
pub(crate) fn pass_where_set(state_dir: &Path) -> Result<(), ExitError> {
    pass(state_dir, "Homing PIN: ").map(drop)
}

/// Who passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passed {
    /// Who has typed the PIN.
    Right,
    /// Everybody.
    NoneSet,
}

/// Asks for the PIN and lets only the right one through. The verifier is not held while somebody types: a question that waits on
/// one terminal must not keep everybody else from answering it on another.
fn pass(state_dir: &Path, question: &str) -> Result<Passed, ExitError> {
    let refused = |sentence: String| ExitError::new(ExitStatus::Permission, sentence);
    let Some(verifier) = Verifier::open(state_dir)? else {
        return Ok(Passed::NoneSet);
    };
    let wait = verifier.wait(&now()?);
    drop(verifier);
    if !wait.is_zero() {
        return Err(refused(format!("too many wrong PINs: {}", in_words(wait))));
    }
    let typed = prompt::secret(question)?.ok_or_else(nothing_typed)?;
    // What cannot be a PIN is no try at one.
    let Some(pin) = Pin::read(&typed) else {
        return Err(refused("a Homing PIN is 6 digits or more".into()));
    };
    let Some(mut verifier) = Verifier::open(state_dir)? else {
        return Ok(Passed::NoneSet);
    };
    match verifier.check(&pin, &now()?)? {
        Answer::Right => Ok(Passed::Right),
        Answer::Wrong(wait) if wait.is_zero() => Err(refused("that is not the Homing PIN".into())),
        Answer::Wrong(wait) => Err(refused(format!(
            "that is not the Homing PIN; {}",
            in_words(wait)
        ))),
        Answer::Wait(wait) => Err(refused(format!("too many wrong PINs: {}", in_words(wait)))),
    }
}

/// Asks for a new PIN, twice; `None` when nothing was typed.
fn choose(question: &str) -> Result<Option<Pin>, ExitError> {
    let usage = |sentence: &str| ExitError::new(ExitStatus::Usage, sentence);
    let Some(typed) = prompt::secret(question)?.filter(|typed| !typed.trim().is_empty()) else {
        return Ok(None);
    };
    let pin = Pin::read(&typed).ok_or_else(|| usage("a Homing PIN is 6 to 32 digits"))?;
    let again = prompt::secret("The same once more: ")?.and_then(|typed| Pin::read(&typed));
    match again {
        Some(again) if again.same(&pin) => Ok(Some(pin)),
        _ => Err(usage("the two PINs differ; nothing was changed")),
    }
}

fn nothing_typed() -> ExitError {
    ExitError::new(
        ExitStatus::Usage,
        "no PIN was typed: run this on a terminal, or give the PIN as a line of the input",
    )
}

fn now() -> Result<Moment, Error> {
    Ok(Moment {
        boot: intent::boot_id(&Roots::default())?,
        since_ms: boottime::now_ms()?,
    })
}

fn in_words(wait: Duration) -> String {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    match seconds {
        0..=90 => format!("wait {seconds} s before the next"),
        _ => format!("wait {} min before the next", seconds.div_ceil(60)),
    }
}
