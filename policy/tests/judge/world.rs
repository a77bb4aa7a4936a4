//! The world around a judge: a siren process, a search and a daemon that may die; it checks after each step what must always hold.

use crate::house::*;
use crate::locate::PLACE;
use homing_policy::{Effect, Event, Outgoing, SearchOutcome, SirenPhase};
use homing_protocol::command::{Op, Verified};
use homing_protocol::id::CommandId;
use homing_protocol::receipt::CommandState;
use std::collections::{BTreeMap, BTreeSet};

/// When the daemon dies in the middle of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// It lives.
    No,
    /// Before the journal has it.
    BeforeCommit,
    /// After the journal has it, before anything was done.
    BeforeEffects,
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) phone: Phone,
    /// The siren's intent file: it survives the daemon, and orders nothing after a restart of the phone.
    pub(crate) intent: Option<CommandId>,
    pub(crate) search: Option<CommandId>,
    /// Receipts and states that were checked already.
    checked: usize,
    receipts: u64,
    states: BTreeMap<CommandId, CommandState>,
    /// Which command had an effect under which number.
    doers: BTreeMap<(u8, [u8; 8], u64), CommandId>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            phone: Phone::new(),
            intent: None,
            search: None,
            checked: 0,
            receipts: 0,
            states: BTreeMap::new(),
            doers: BTreeMap::new(),
        }
    }

    /// One event, with everything that follows from it.
    pub(crate) fn happen(&mut self, event: &Event<'_>, death: Death) {
        self.phone.journal.is_broken = death == Death::BeforeCommit;
        let before = (death == Death::BeforeCommit).then(|| self.phone.state.clone());
        let effects = self.phone.hear(event);
        self.phone.journal.is_broken = false;
        if let Some(before) = before {
            assert_eq!(before, self.phone.state, "a failed commit changes nothing");
        }
        self.check_receipts();
        if death == Death::No {
            self.act(&effects);
        } else {
            self.restart();
        }
        self.check_world();
    }

    pub(crate) fn receive(&mut self, verified: &Verified, death: Death) {
        self.happen(&Event::Command(verified), death);
    }

    pub(crate) fn restart(&mut self) {
        self.search = None;
        let effects = self.phone.restart();
        self.check_receipts();
        self.act(&effects);
        self.check_world();
    }

    pub(crate) fn reboot(&mut self) {
        self.search = None;
        self.intent = None;
        let effects = self.phone.reboot();
        self.check_receipts();
        self.act(&effects);
        self.check_world();
    }

    /// The siren process speaks, if it has an order.
    pub(crate) fn siren(&mut self, phase: SirenPhase<'_>, death: Death) {
        if let Some(command) = self.intent {
            if phase == SirenPhase::Ended {
                self.intent = None;
            }
            self.happen(&Event::Siren { command, phase }, death);
        }
    }

    /// The search ends, if one is on.
    pub(crate) fn find(&mut self, outcome: SearchOutcome<'_>, death: Death) {
        if let Some(command) = self.search.take() {
            self.happen(&Event::SearchEnded { command, outcome }, death);
        }
    }

    /// Everything comes to its end: searches end, and the siren process has died without a word.
    pub(crate) fn settle(&mut self) {
        self.find(SearchOutcome::Found(PLACE), Death::No);
        self.phone.later(2 * HOUR_MS);
        self.happen(&Event::Tick, Death::No);
        self.happen(&Event::Tick, Death::No);
        let open: Vec<_> = self.phone.state.open().collect();
        assert!(open.is_empty(), "never answered: {open:?}");
        assert_eq!(self.search, None);
        for (command, state) in &self.states {
            assert!(state.is_final(), "{command:?} ended as {state:?}");
        }
    }

    fn act(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Sound { ring, boot, .. } => {
                    assert_eq!(*boot, self.phone.now.boot);
                    assert!(!self.phone.state.is_dead(*ring), "a stopped ring sounds");
                    self.check_doer(*ring);
                    self.intent = Some(*ring);
                }
                Effect::Search { command, .. } => {
                    self.check_doer(*command);
                    self.search = Some(*command);
                }
                Effect::Silence => self.intent = None,
                Effect::HandOver { .. }
                | Effect::PublishBeacon { .. }
                | Effect::BeaconSoon
                | Effect::TrackSearch
                | Effect::ResendReports { .. }
                | Effect::AuthorityChanged
                | Effect::ReadersChanged => {}
            }
        }
    }

    /// An effect belongs to a command that was written down and is open, and one number has one command.
    fn check_doer(&mut self, command: CommandId) {
        let entry = self.phone.state.command(command);
        let entry = entry.unwrap_or_else(|| panic!("an effect of an unknown command"));
        assert!(!entry.state.is_final(), "an effect of an ended command");
        let accepted = &entry.accepted;
        let space = (accepted.client.0[0], accepted.session.0, accepted.seq);
        let doer = *self.doers.entry(space).or_insert(command);
        assert_eq!(doer, command, "two effects under one number");
    }

    fn check_receipts(&mut self) {
        let sent = &self.phone.journal.sent;
        for message in &sent[self.checked..] {
            let Outgoing::Receipt {
                counter,
                command,
                state,
                refusal,
                ..
            } = message
            else {
                continue;
            };
            self.receipts += 1;
            assert_eq!(*counter, self.receipts, "the receipts have a gap");
            let again = ["seq-too-old", "unknown-beacon", "busy"];
            let asks_again = refusal.is_some_and(|refusal| again.contains(&refusal.word()));
            if asks_again {
                continue;
            }
            let before = self.states.insert(*command, *state);
            assert!(
                before.is_none_or(|before| !before.is_final()),
                "{command:?} ended twice: {before:?}, {state:?}"
            );
            assert!(
                before.is_none_or(|before| before < *state),
                "{command:?} went back from {before:?} to {state:?}"
            );
        }
        self.checked = sent.len();
        assert_eq!(self.phone.state.receipts, self.receipts);
    }

    fn check_world(&self) {
        let open = |op: fn(&Op) -> bool| -> BTreeSet<CommandId> {
            let entries = self.phone.state.open().map(|entry| &entry.accepted);
            entries
                .filter(|accepted| op(&accepted.op))
                .map(|accepted| accepted.id)
                .collect()
        };
        let rings = open(|op| matches!(op, Op::Ring { .. }));
        let searches = open(|op| matches!(op, Op::Locate { .. }));
        assert!(
            rings.len() <= 1 && searches.len() <= 1,
            "{rings:?} {searches:?}"
        );
        assert!(
            self.intent.is_none_or(|ring| rings.contains(&ring)),
            "the siren serves a ring that is over"
        );
        assert!(
            searches.iter().all(|id| self.search == Some(*id)),
            "a search was forgotten"
        );
        self.phone.check_facts();
    }
}
