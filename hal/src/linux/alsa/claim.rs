//! The word to the sound servers of all sessions that the siren wants a card: a file that every user may see. It takes nothing from anybody; who acts on it is `linux::reserve`, in the session.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::fault::{Cancel, Fault, Roots};

/// Below `/run`, the folder that the siren's unit makes; elsewhere nobody is told.
const FOLDER: &str = "homing-siren";
const BEFORE_CARD: &str = "audio";

/// How long the sound server of a session may take to give a card up: the session's helper is started, asks it over D-Bus
/// (0.05 to 0.13 s on a computer), and it closes the card. A phone is some five times slower.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How often the card is tried meanwhile.
const BETWEEN: Duration = Duration::from_millis(10);

/// The folder with one file for each claimed card.
#[must_use]
pub fn folder(roots: &Roots) -> PathBuf {
    roots.run.join(FOLDER)
}

/// The cards that are claimed in this folder, by their numbers; none where there is no folder.
#[must_use]
pub fn claimed(folder: &Path) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut cards: Vec<u32> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_prefix(BEFORE_CARD)?.parse().ok()
        })
        .collect();
    cards.sort_unstable();
    cards
}

/// A claim on one card. Dropping it withdraws it; that of a siren that was killed stays, so that no sound server comes
/// between it and its successor, until the unit ends and its folder goes.
#[derive(Debug)]
pub(super) struct Claim(PathBuf);

impl Claim {
    /// Makes it, or takes over that of a dead siren. `None` where nobody would see it: without the unit's folder.
    pub(super) fn make(roots: &Roots, card: u32) -> Option<Self> {
        let path = folder(roots).join(format!("{BEFORE_CARD}{card}"));
        match File::create(&path) {
            Ok(_) => Some(Self(path)),
            Err(error) => {
                tracing::debug!(%error, "no session is asked for the loudspeaker");
                None
            }
        }
    }
}

impl Claim {
    /// The one there is, where it is for this card; else a new one, and the old one goes.
    pub(super) fn renew(last: Option<Self>, roots: &Roots, card: u32) -> Option<Self> {
        let path = folder(roots).join(format!("{BEFORE_CARD}{card}"));
        match last {
            // Dropping it would remove the file that a new one has just made.
            Some(same) if same.0 == path => Some(same),
            _ => Self::make(roots, card),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::debug!(%error, "the claim goes with the siren's unit");
        }
    }
}

/// Whether somebody would act on a claim: systemd runs a manager for each user with a session.
fn session_runs(roots: &Roots) -> bool {
    fs::read_dir(roots.run.join("systemd/users")).is_ok_and(|mut users| users.next().is_some())
}

/// Opens a card that is busy as soon as the sessions have given it up, if they do in time.
///
/// # Errors
/// [`Fault::Busy`] when nobody was asked or nobody gave it up; else what `open` says.
pub(super) fn wait<T>(
    claim: Option<&Claim>,
    roots: &Roots,
    mut open: impl FnMut() -> Result<T, Fault>,
) -> Result<T, Fault> {
    let patience = match claim {
        Some(_) if session_runs(roots) => PATIENCE,
        _ => Duration::ZERO,
    };
    let until = Instant::now() + patience;
    loop {
        match open() {
            Err(Fault::Busy(_)) if Instant::now() < until => {
                Cancel::new().rest(Instant::now() + BETWEEN)?;
            }
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::folder as scratch;

    #[test]
    fn a_claim_is_seen_while_it_stands_and_a_dead_sirens_is_taken_over() {
        let of_a_dead_siren = ("run/homing-siren/audio2", "");
        let (_dir, roots) = scratch(&[("run/homing-siren/other", ""), of_a_dead_siren]);
        assert_eq!(claimed(&folder(&roots)), [2]);
        let claim = Claim::make(&roots, 2);
        let _second = Claim::make(&roots, 0);
        assert_eq!(claimed(&folder(&roots)), [0, 2]);
        drop(claim);
        assert_eq!(claimed(&folder(&roots)), [0]);
    }

    #[test]
    fn a_claim_stands_from_one_try_to_the_next_and_goes_when_another_card_is_wanted() {
        let (_dir, roots) = scratch(&[("run/homing-siren/x", "")]);
        let first = Claim::renew(None, &roots, 1);
        let second = Claim::renew(first, &roots, 1);
        assert_eq!(claimed(&folder(&roots)), [1]);
        let other = Claim::renew(second, &roots, 0);
        assert_eq!(claimed(&folder(&roots)), [0]);
        drop(other);
        assert!(claimed(&folder(&roots)).is_empty());
    }

    #[test]
    fn without_the_units_folder_nobody_is_asked_and_nobody_is_waited_for() {
        let (_dir, roots) = scratch(&[("run/systemd/users/1000", "")]);
        let claim = Claim::make(&roots, 0);
        assert!(claim.is_none());
        let mut tries = 0;
        let said = wait(claim.as_ref(), &roots, || -> Result<(), Fault> {
            tries += 1;
            Err(Fault::Busy("held".into()))
        });
        assert!(matches!(said, Err(Fault::Busy(_))));
        assert_eq!(tries, 1);
    }

    #[test]
    fn a_card_that_a_session_gives_up_is_opened_without_ending_anybody() {
        let (_dir, roots) = scratch(&[("run/systemd/users/1000", ""), ("run/homing-siren/x", "")]);
        let claim = Claim::make(&roots, 0);
        let mut tries = 0;
        let taken = wait(claim.as_ref(), &roots, || {
            tries += 1;
            match tries {
                1..3 => Err(Fault::Busy("held".into())),
                _ => Ok(claimed(&folder(&roots))),
            }
        });
        assert_eq!(taken, Ok(vec![0]));
    }
}
