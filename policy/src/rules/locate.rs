//! Locate: at most one search runs; the newest order takes its place, the older one is answered *superseded*.

use super::{Saying, accept, advance, fail_saying, is_overtaken, is_search, track};
use crate::decision::{Decision, Effect};
use crate::event::{Now, SearchOutcome};
use crate::record::Record;
use crate::state::{Entry, State};
use homing_protocol::command::{Command, Op};
use homing_protocol::id::CommandId;
use homing_protocol::receipt::CommandState;

pub(super) fn ordered(
    state: &State,
    now: &Now,
    command: &Command,
    search_s: u16,
    decision: &mut Decision,
) {
    if is_overtaken(state, command, is_search) {
        let accepted = accept(state, now, command, decision);
        return advance(
            state,
            decision,
            &accepted,
            CommandState::Superseded,
            Saying::default(),
        );
    }
    for older in state.open().filter(|entry| is_search(&entry.accepted.op)) {
        advance(
            state,
            decision,
            &older.accepted,
            CommandState::Superseded,
            Saying::default(),
        );
    }
    let accepted = accept(state, now, command, decision);
    advance(
        state,
        decision,
        &accepted,
        CommandState::Running,
        Saying::default(),
    );
    begin(now, command.id, search_s, decision);
}

/// How often a search is begun for one order: first, and again after restarts of the agent, which the search itself may
/// have caused.
const MOST_BEGINNINGS: u32 = 3;
/// Drivers answer at their deadline; so much later one hangs, milliseconds.
const GRACE_MS: u64 = 10_000;

fn begin(now: &Now, command: CommandId, search_s: u16, decision: &mut Decision) {
    decision.record(Record::SearchOrdered {
        command,
        boot: now.boot,
        deadline_ms: now.boottime_ms + u64::from(search_s) * 1000,
    });
    decision.effect(Effect::Search { command, search_s });
}

/// Answers for a search without one: who waits must not wait for ever.
pub(super) fn look_after(state: &State, now: &Now, decision: &mut Decision) {
    for entry in state.open().filter(|entry| is_search(&entry.accepted.op)) {
        let hangs = state.search.is_none_or(|search| {
            search.command != entry.accepted.id
                || search.boot != now.boot
                || now.boottime_ms > search.deadline_ms + GRACE_MS
        });
        if hangs {
            fail_search(state, entry, "the search for the position hangs", decision);
        }
    }
}

pub(super) fn ended(
    state: &State,
    now: &Now,
    command: CommandId,
    outcome: &SearchOutcome<'_>,
    decision: &mut Decision,
) {
    // An answer that comes after the command was superseded is still a position worth having.
    let open = state
        .command(command)
        .filter(|entry| !entry.state.is_final());
    match outcome {
        SearchOutcome::Found(position) => {
            let counter = track::report(state, now, *position, decision);
            if let Some(entry) = open {
                let saying = Saying {
                    report: Some(counter),
                    ..Saying::default()
                };
                advance(state, decision, &entry.accepted, CommandState::Done, saying);
            }
        }
        SearchOutcome::Failed(why) => {
            if let Some(entry) = open {
                fail_search(state, entry, why, decision);
            }
        }
    }
}

/// Answers for a search that found nothing, and names the newest position that the phone knows: the last of the sources.
fn fail_search(state: &State, entry: &Entry, why: &str, decision: &mut Decision) {
    let saying = Saying {
        text: Some(why.to_owned()),
        report: state.newest_report(),
        ..Saying::default()
    };
    fail_saying(state, entry, saying, decision);
}

/// After a restart the search begins anew, but not for ever: it may be what ends the agent.
pub(super) fn resume(state: &State, now: &Now, decision: &mut Decision) {
    for entry in state.open() {
        let Op::Locate { search_s } = entry.accepted.op else {
            continue;
        };
        let begun = state
            .search
            .filter(|search| search.command == entry.accepted.id)
            .map_or(0, |search| search.times);
        if begun >= MOST_BEGINNINGS {
            let why = "the agent was restarted in each of three searches";
            fail_search(state, entry, why, decision);
        } else {
            begin(now, entry.accepted.id, search_s, decision);
        }
    }
}
