//! A judgement and its conditions: what must be durable first, what goes out, what may then be done. Effects leave only through `commit`.

use crate::record::Record;
use crate::state::State;
use homing_protocol::Refusal;
use homing_protocol::id::{BootId, CommandId, SessionId};
use homing_protocol::lost::Attestation;
use homing_protocol::measure::Position;
use homing_protocol::receipt::CommandState;

/// A message for the owner that must be in the outbox in the same transaction as the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// A new receipt.
    Receipt {
        /// Its number.
        counter: u64,
        /// The command.
        command: CommandId,
        /// Where it came in.
        session: SessionId,
        /// Under which number.
        seq: u64,
        /// Where it stands.
        state: CommandState,
        /// Why it was refused.
        refusal: Option<Refusal>,
        /// A sentence for the owner.
        text: Option<String>,
        /// The report that holds the answer.
        report: Option<u64>,
        /// What the phone's privileged half says it did.
        attestation: Option<Attestation>,
    },
    /// The newest receipt of this command once more, byte for byte.
    Repeat {
        /// The command.
        command: CommandId,
    },
    /// A position for the readers.
    Report {
        /// Its number.
        counter: u64,
        /// The position.
        position: Position,
    },
}

/// Something to do in the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Search for the position; ends a search that runs for another command.
    Search {
        /// For which command.
        command: CommandId,
        /// At most so long, seconds.
        search_s: u16,
    },
    /// Search for the position for the movement history, unless a search is on.
    TrackSearch,
    /// Publish these positions once more, those that are still kept.
    ResendReports {
        /// Number of the first one.
        first: u64,
        /// Number of the last one.
        last: u64,
    },
    /// Let the siren sound; harmless to repeat for the same ring.
    Sound {
        /// The ring.
        ring: CommandId,
        /// In which start of the phone the deadline counts.
        boot: BootId,
        /// Until when, milliseconds since that start.
        deadline_ms: u64,
    },
    /// Let the siren be silent; harmless to repeat.
    Silence,
    /// Hand this command over to the phone's privileged half; harmless to repeat.
    HandOver {
        /// The command, whose signed bytes [`State::handed`] has.
        command: CommandId,
    },
    /// Publish the beacon with this number.
    PublishBeacon {
        /// The number.
        counter: u64,
    },
    /// Ask for another beacon soon, by [`crate::Event::BeaconDue`].
    BeaconSoon,
    /// The authority list changed: commands that waited for it may be tried again.
    AuthorityChanged,
    /// The readers changed: what is sealed from now on is sealed to them.
    ReadersChanged,
}

/// What must be made durable, all or nothing.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Journal rows.
    pub records: &'a [Record],
    /// Outbox rows.
    pub outgoing: &'a [Outgoing],
}

/// Where decisions are made durable.
pub trait Journal {
    /// What can go wrong.
    type Error;
    /// Makes a batch durable, all or nothing; returns after it has reached the disk.
    ///
    /// # Errors
    /// When nothing of the batch is durable.
    fn commit(&mut self, batch: Batch<'_>) -> Result<(), Self::Error>;
}

/// What was decided.
#[derive(Debug, Default)]
#[must_use = "a decision that is not committed is forgotten"]
pub struct Decision {
    records: Vec<Record>,
    outgoing: Vec<Outgoing>,
    effects: Vec<Effect>,
    refusal: Option<Refusal>,
}

impl Decision {
    pub(crate) fn record(&mut self, record: Record) {
        self.records.push(record);
    }
    pub(crate) fn send(&mut self, message: Outgoing) {
        self.outgoing.push(message);
    }
    pub(crate) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }
    pub(crate) fn count_refusal(&mut self, refusal: Refusal) {
        self.refusal = Some(refusal);
    }
    /// The number of the newest receipt once this is committed on top of so many.
    pub(crate) fn receipts_after(&self, before: u64) -> u64 {
        self.records
            .iter()
            .fold(before, |newest, record| match record {
                Record::Receipt { .. } => newest + 1,
                Record::Resumed { receipts, .. } => newest.max(*receipts),
                _ => newest,
            })
    }

    /// The refusal to be counted, if the event was refused.
    #[must_use]
    pub const fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// Whether there is anything to make durable.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.outgoing.is_empty()
    }

    /// Makes everything durable, then applies it to the state, then releases the effects.
    ///
    /// # Errors
    /// The journal's; then nothing has changed and nothing may be done.
    pub fn commit<J: Journal>(
        self,
        state: &mut State,
        journal: &mut J,
    ) -> Result<Vec<Effect>, J::Error> {
        if !self.is_empty() {
            journal.commit(Batch {
                records: &self.records,
                outgoing: &self.outgoing,
            })?;
            for record in &self.records {
                state.apply(record);
            }
        }
        Ok(self.effects)
    }
}
