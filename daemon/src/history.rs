//! When the agent looks after its movement history: positions that are due, the battery before its end, what is too old. It must not decide any of it.

use std::time::Duration;

use homing_link::Transport;
use homing_policy::{Event, TrackSettings, track};
use homing_protocol::measure::{Battery, Charging};

use crate::boottime;
use crate::brain::Brain;
use crate::config::Settings;
use crate::error::Error;

const DAY: Duration = Duration::from_secs(86_400);
/// Longest time between two looks: a little more than twice the beacon's default interval, so that the beacon of a phone
/// that lies still wakes us for both. At 20 % an hour the battery falls by 10 points meanwhile, [`NEAR_PERCENT`].
const SELDOM: Duration = Duration::from_secs(1860);
/// Time between two looks while the battery comes near the last gasp: at 20 % an hour it falls by 3 points meanwhile, and
/// from 20 % to the 15 % at which a `PinePhone` ends there are 5.
const NEAR_THE_END: Duration = Duration::from_secs(600);
/// How near that is, percent points.
const NEAR_PERCENT: u8 = 10;
/// Least time between two looks when something else woke us.
const BY_THE_WAY: Duration = Duration::from_secs(60);
/// Time between two looks for positions that are too old.
const OLD_EVERY: Duration = Duration::from_secs(3600);

/// When to look, in time since boot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Looks {
    due: Duration,
    by_the_way: Duration,
    old: Duration,
}

impl Looks {
    /// Begins one interval after the agent's start: a phone that has just started has better things to do.
    pub(crate) fn after(now: Duration, settings: &Settings) -> Self {
        let due = now + settings.track.moving.min(settings.track.stationary);
        Self {
            due,
            by_the_way: due,
            old: now,
        }
    }

    /// Looks at the next opportunity.
    pub(crate) fn soon(&mut self) {
        self.due = Duration::ZERO;
    }
}

fn seconds(span: Duration) -> u32 {
    u32::try_from(span.as_secs()).unwrap_or(u32::MAX)
}

fn settings<T>(brain: &Brain<T>) -> TrackSettings {
    let configured = &brain.settings.track;
    TrackSettings {
        retention_days: brain.retention_days,
        moving_s: seconds(configured.moving),
        stationary_s: seconds(configured.stationary),
        last_gasp_percent: configured.last_gasp_percent,
    }
}

/// Looks if it is time.
///
/// # Errors
/// The journal's.
pub(crate) fn look<T: Transport>(brain: &mut Brain<T>) -> Result<(), Error> {
    let now = boottime::now()?;
    if now >= brain.looks.old {
        brain.looks.old = now + OLD_EVERY;
        forget_old(brain)?;
    }
    if now < brain.looks.due.min(brain.looks.by_the_way) {
        return Ok(());
    }
    let settings = settings(brain);
    let battery = brain.power.battery().unwrap_or(Battery {
        percent: None,
        charging: Charging::Unknown,
    });
    brain.handle(&Event::TrackLook { settings, battery })?;
    let due = track::due_in_ms(&brain.state, &brain.now()?, &settings, battery);
    let near = battery
        .percent
        .is_some_and(|percent| percent <= settings.last_gasp_percent.saturating_add(NEAR_PERCENT));
    let longest = if near { NEAR_THE_END } else { SELDOM };
    brain.looks.due = now
        + due
            .map_or(SELDOM, Duration::from_millis)
            .clamp(LEAST, longest);
    brain.looks.by_the_way = now + BY_THE_WAY;
    Ok(())
}

/// A search of an owner may be on when a position is due: it gives one, and we look again after this.
const LEAST: Duration = Duration::from_secs(1);

/// How long nothing is due here.
pub(crate) fn patience<T>(brain: &Brain<T>) -> Duration {
    boottime::now().map_or(SELDOM, |now| brain.looks.due.saturating_sub(now))
}

/// Without a retention a position is kept until a reader has it, and a day at most.
fn forget_old<T: Transport>(brain: &mut Brain<T>) -> Result<(), Error> {
    let days = u32::from(brain.retention_days.max(1));
    let old = brain.journal.older_than(DAY * days, &brain.now()?)?;
    let through = if brain.retention_days == 0 {
        old.max(Some(brain.state.reports_stored))
    } else {
        old
    };
    match through {
        Some(through) if through > brain.state.reports_forgotten => {
            brain.handle(&Event::ReportsExpired { through })
        }
        _ => Ok(()),
    }
}

/// A reader has confirmed positions: where none are to be kept they go at once.
///
/// # Errors
/// The journal's.
pub(crate) fn confirmed<T: Transport>(brain: &mut Brain<T>) -> Result<(), Error> {
    if brain.retention_days == 0 {
        forget_old(brain)
    } else {
        Ok(())
    }
}
