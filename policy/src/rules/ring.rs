//! Ring and stop: a ring sounds once, until its deadline or a stop; a stop ends what it names, also when it arrives first.

use super::{Saying, accept, advance, fail, is_overtaken, is_ring};
use crate::decision::{Decision, Effect};
use crate::event::{Now, SirenPhase};
use crate::record::{Accepted, Record};
use crate::state::{Entry, SirenOrder, State};
use homing_protocol::beacon::ClockTrust;
use homing_protocol::command::{Command, Op};
use homing_protocol::id::CommandId;
use homing_protocol::receipt::CommandState;

/// How often one ring may be started: first, and again after restarts of the phone. A phone that restarts for ever must not ring for ever.
const MOST_STARTS: u32 = 3;
/// The siren process looks at its intent each 100 ms; well after the deadline plus this it has ended, with or without a word.
const GRACE_MS: u64 = 5_000;

pub(super) fn ordered(
    state: &State,
    now: &Now,
    command: &Command,
    for_s: u16,
    decision: &mut Decision,
) {
    let stopped = state.is_dead(command.id)
        || state
            .space(command.client, command.session)
            .is_some_and(|space| command.seq < space.stop);
    let ended = if stopped {
        Some(CommandState::Cancelled)
    } else if expired(state, now, command) {
        Some(CommandState::Expired)
    } else if is_overtaken(state, command, is_ring) {
        Some(CommandState::Superseded)
    } else {
        None
    };
    let accepted = accept(state, now, command, decision);
    if let Some(ended) = ended {
        return advance(state, decision, &accepted, ended, Saying::default());
    }
    if let Some(older) = state.open_ring() {
        advance(
            state,
            decision,
            &older.accepted,
            CommandState::Superseded,
            Saying::default(),
        );
    }
    advance(
        state,
        decision,
        &accepted,
        CommandState::Accepted,
        Saying::default(),
    );
    sound(state, &accepted, for_s, now, decision);
}

/// What the configuration allows is a fact like any other: so a deadline means the same to judge, siren and owner.
pub(super) fn configured(state: &State, longest_s: u32, decision: &mut Decision) {
    if state.ring_longest_s != Some(longest_s) {
        decision.record(Record::RingLongest { seconds: longest_s });
    }
}

fn sound(state: &State, ring: &Accepted, for_s: u16, now: &Now, decision: &mut Decision) {
    let longest_s = state.ring_longest_s.unwrap_or(u32::MAX);
    let deadline_ms = now.boottime_ms + u64::from(longest_s.min(for_s.into())) * 1000;
    decision.record(Record::SirenOrdered {
        ring: ring.id,
        boot: now.boot,
        deadline_ms,
    });
    decision.effect(Effect::Sound {
        ring: ring.id,
        boot: now.boot,
        deadline_ms,
    });
}

/// Whether a trusted clock shows that the ring's time has passed and nothing disproves it: a command that quotes a beacon of this start of the phone is no older than that beacon, whatever either clock says.
fn expired(state: &State, now: &Now, command: &Command) -> bool {
    let Some(not_after) = command.not_after else {
        return false;
    };
    if now.clock != ClockTrust::Synchronised || now.wall_unix_s <= not_after {
        return false;
    }
    let allowed_ms = not_after
        .saturating_sub(command.issued_at)
        .saturating_mul(1000);
    let quoted = command
        .beacon
        .and_then(|reference| state.beacon(reference))
        .filter(|mark| mark.boot == now.boot);
    quoted.is_none_or(|mark| now.boottime_ms.saturating_sub(mark.boottime_ms) > allowed_ms)
}

pub(super) fn stopped(
    state: &State,
    now: &Now,
    command: &Command,
    rings: &[CommandId],
    decision: &mut Decision,
) {
    let client = command.client;
    for ring in rings
        .iter()
        .filter(|ring| !state.has_stopped(client, **ring))
    {
        decision.record(Record::Tombstone {
            client,
            ring: *ring,
        });
    }
    let stop = accept(state, now, command, decision);
    decision.record(Record::StopMark {
        client: command.client,
        session: command.session,
        seq: command.seq,
    });
    // A stop that was held up on its way is about the rings before it, and those it names; not about a newer one.
    let newer = state.open_ring().filter(|open| {
        let ring = &open.accepted;
        (ring.client, ring.session) == (command.client, command.session)
            && ring.seq > command.seq
            && !rings.contains(&ring.id)
    });
    if let Some(newer) = newer {
        // Until the newer one sounds, what was to be stopped may still do.
        let to = if newer.state == CommandState::Running {
            CommandState::Done
        } else {
            CommandState::Running
        };
        return advance(state, decision, &stop, to, Saying::default());
    }
    // Also when no ring is open: silence is harmless to repeat, and a stop must never leave a sound behind.
    decision.effect(Effect::Silence);
    let Some(open) = state.open_ring() else {
        // Another stop may wait for silence: what it stopped may still sound.
        let to = if has_open_stop(state) {
            CommandState::Running
        } else {
            CommandState::Done
        };
        return advance(state, decision, &stop, to, Saying::default());
    };
    advance(
        state,
        decision,
        &open.accepted,
        CommandState::Cancelled,
        Saying::default(),
    );
    // Done is said when the siren is silent, not before.
    advance(
        state,
        decision,
        &stop,
        CommandState::Running,
        Saying::default(),
    );
}

pub(super) fn siren(
    state: &State,
    ring: CommandId,
    phase: &SirenPhase<'_>,
    decision: &mut Decision,
) {
    let open = state.open_ring().filter(|entry| entry.accepted.id == ring);
    match (phase, open) {
        (SirenPhase::Sounding, Some(entry)) if entry.state == CommandState::Accepted => {
            advance(
                state,
                decision,
                &entry.accepted,
                CommandState::Running,
                Saying::default(),
            );
        }
        (SirenPhase::Ended, Some(entry)) if entry.state == CommandState::Running => {
            advance(
                state,
                decision,
                &entry.accepted,
                CommandState::Done,
                Saying::default(),
            );
        }
        (SirenPhase::Ended, Some(entry)) => {
            let why = "the siren could not sound before its time was over";
            fail(state, entry, why, decision);
        }
        // It goes on trying; `look_after` ends the command when it never succeeds.
        (SirenPhase::Failing(_) | SirenPhase::Sounding, _) | (SirenPhase::Ended, None) => {}
    }
    // The ring that is open came after every open stop: once it sounds, what they stopped does not.
    if *phase == SirenPhase::Ended || (*phase == SirenPhase::Sounding && open.is_some()) {
        finish_stops(state, decision);
    }
}

/// Answers the stops that waited for silence.
fn finish_stops(state: &State, decision: &mut Decision) {
    for stop in state
        .open()
        .filter(|entry| matches!(entry.accepted.op, Op::RingStop { .. }))
    {
        advance(
            state,
            decision,
            &stop.accepted,
            CommandState::Done,
            Saying::default(),
        );
    }
}

/// What nobody reports: a siren process that died or never came, an order to it that could not be written.
pub(super) fn look_after(state: &State, now: &Now, decision: &mut Decision) {
    let order = state.siren.filter(|order| order.boot == now.boot);
    let is_over = order.is_none_or(|order| now.boottime_ms >= order.deadline_ms + GRACE_MS);
    let Some(entry) = state.open_ring() else {
        if is_over {
            // No sound outlives its deadline, nor the start of the phone in which it began.
            finish_stops(state, decision);
        } else if has_open_stop(state) {
            decision.effect(Effect::Silence);
        }
        return;
    };
    let Some(order) = order.filter(|order| order.ring == entry.accepted.id) else {
        return;
    };
    if is_over {
        decision.effect(Effect::Silence);
        end_overdue(state, entry, decision);
        finish_stops(state, decision);
    } else if entry.state == CommandState::Accepted && now.boottime_ms < order.deadline_ms {
        decision.effect(order_again(order));
    }
}

/// At its deadline a ring is over in any case.
fn end_overdue(state: &State, entry: &Entry, decision: &mut Decision) {
    // A siren that lives says that it has ended, and one that was restarted carries on and says so then.
    let why = if entry.state == CommandState::Running {
        "the siren began to sound and never said that it ended: its process is gone, and how long it sounded is not known"
    } else {
        "the siren process did not answer"
    };
    fail(state, entry, why, decision);
}

const fn order_again(order: SirenOrder) -> Effect {
    Effect::Sound {
        ring: order.ring,
        boot: order.boot,
        deadline_ms: order.deadline_ms,
    }
}

fn has_open_stop(state: &State) -> bool {
    state
        .open()
        .any(|entry| matches!(entry.accepted.op, Op::RingStop { .. }))
}

/// After a restart of the daemon the siren goes on to the same deadline; after a restart of the phone it sounds again, a few times at most.
pub(super) fn resume(state: &State, now: &Now, decision: &mut Decision) {
    let Some(entry) = state.open_ring() else {
        // The daemon may have died between writing down a ring's end and silencing the siren.
        return decision.effect(Effect::Silence);
    };
    let Op::Ring { for_s } = entry.accepted.op else {
        return;
    };
    let ordered = state.siren.filter(|order| order.ring == entry.accepted.id);
    match ordered {
        Some(order) if order.boot == now.boot => {
            // Past its deadline nothing is ordered again: `look_after` answers.
            if now.boottime_ms < order.deadline_ms {
                decision.effect(order_again(order));
            }
        }
        Some(order) if order.times >= MOST_STARTS || too_old(&entry.accepted, now) => {
            let done = entry.state == CommandState::Running;
            let to = if done {
                CommandState::Done
            } else {
                CommandState::Expired
            };
            decision.effect(Effect::Silence);
            advance(state, decision, &entry.accepted, to, Saying::default());
        }
        Some(_) | None => sound(state, &entry.accepted, for_s, now, decision),
    }
}

fn too_old(ring: &Accepted, now: &Now) -> bool {
    now.clock == ClockTrust::Synchronised
        && ring
            .not_after
            .is_some_and(|not_after| now.wall_unix_s > not_after)
}
