//! Locate: at most one search runs; the newest order takes its place, the older one is answered *superseded*.

use super::{Saying, accept, advance, is_overtaken, is_search, track};
use crate::decision::{Decision, Effect};
use crate::event::{Now, SearchOutcome};
use crate::state::State;
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
    decision.effect(Effect::Search {
        command: command.id,
        search_s,
    });
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
                let saying = Saying {
                    text: Some((*why).to_owned()),
                    ..Saying::default()
                };
                advance(
                    state,
                    decision,
                    &entry.accepted,
                    CommandState::Failed,
                    saying,
                );
            }
        }
    }
}

/// After a restart the search begins anew.
pub(super) fn resume(state: &State, decision: &mut Decision) {
    for entry in state.open() {
        if let Op::Locate { search_s } = entry.accepted.op {
            decision.effect(Effect::Search {
                command: entry.accepted.id,
                search_s,
            });
        }
    }
}
