//! The movement history: when the next position is due, the last one before the battery is empty, and what is forgotten. It must not delay an owner's order.

use super::is_search;
use crate::decision::{Decision, Effect, Outgoing};
use crate::event::{Now, SearchOutcome};
use crate::record::{Place, Record};
use crate::state::State;
use crate::track::{TrackSettings, due_in_ms, is_gasp_due, is_recovered};
use homing_protocol::measure::{Battery, Position};

/// Looks whether a position is due.
pub(super) fn look(
    state: &State,
    now: &Now,
    settings: &TrackSettings,
    battery: Battery,
    decision: &mut Decision,
) {
    if !settings.is_kept() {
        return;
    }
    let gasp = is_gasp_due(state, settings, battery);
    if gasp {
        decision.record(Record::LastGasp { spent: true });
    } else if state.gasped && is_recovered(settings, battery) {
        decision.record(Record::LastGasp { spent: false });
    }
    // The owner's search that is on gives a position too.
    if state.open().any(|entry| is_search(&entry.accepted.op)) {
        return;
    }
    if gasp || due_in_ms(state, now, settings, battery) == Some(0) {
        decision.record(Record::TrackSearch {
            boot: now.boot,
            boottime_ms: now.boottime_ms,
        });
        decision.effect(Effect::TrackSearch);
    }
    if gasp {
        // Who waits for this phone sees how low it is while it can still say so.
        decision.effect(Effect::BeaconSoon);
    }
}

/// A periodic search ended; one that found nothing is not repeated before the next is due.
pub(super) fn ended(
    state: &State,
    now: &Now,
    outcome: &SearchOutcome<'_>,
    decision: &mut Decision,
) {
    if let SearchOutcome::Found(position) = outcome {
        let _ = report(state, now, *position, decision);
    }
}

/// Gives a position the next number, whoever asked for it.
pub(super) fn report(state: &State, now: &Now, position: Position, decision: &mut Decision) -> u64 {
    let counter = state.reports + 1;
    decision.record(Record::Report { counter });
    decision.record(Record::TrackPlace(next_place(state, now, &position)));
    decision.send(Outgoing::Report { counter, position });
    counter
}

/// Where the phone is now, and whether it has moved since the place that is remembered.
fn next_place(state: &State, now: &Now, position: &Position) -> Place {
    let here = Place {
        boot: now.boot,
        boottime_ms: now.boottime_ms,
        latitude_e7: position.latitude_e7,
        longitude_e7: position.longitude_e7,
        accuracy_dm: position.accuracy_dm,
        moving: true,
    };
    let Some(before) = &state.place else {
        return here;
    };
    if before.is_left_by(position) {
        return here;
    }
    // The remembered place stays the anchor: a slow drift away from it is noticed as soon as it is far enough.
    Place {
        boot: now.boot,
        boottime_ms: now.boottime_ms,
        moving: false,
        ..*before
    }
}

/// Positions up to this number are too old to be kept.
pub(super) fn expired(state: &State, through: u64, decision: &mut Decision) {
    if through > state.reports_forgotten && through <= state.reports {
        decision.record(Record::ReportsForgotten { through });
    }
}
