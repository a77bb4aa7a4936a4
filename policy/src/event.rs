//! What may happen to a phone, and the time at which it happened. Carries no unverified bytes.

use crate::track::TrackSettings;
use homing_protocol::Refusal;
use homing_protocol::authority::Capabilities;
use homing_protocol::beacon::ClockTrust;
use homing_protocol::command::{Command, Verified};
use homing_protocol::id::{BeaconNonce, BootId, CommandId};
use homing_protocol::lost::Attestation;
use homing_protocol::measure::{Battery, Position};

/// The time of an event on every clock the phone has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The start of the phone that is running.
    pub boot: BootId,
    /// Time since that start, sleep included, milliseconds.
    pub boottime_ms: u64,
    /// The wall clock, seconds since 1970 UTC. It may refuse, never permit.
    pub wall_unix_s: u64,
    /// Whether the wall clock was set from outside.
    pub clock: ClockTrust,
}

/// How a search for the position ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchOutcome<'a> {
    /// A position, with source and radius.
    Found(Position),
    /// None; a sentence for the owner.
    Failed(&'a str),
}

/// What the siren process says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SirenPhase<'a> {
    /// Samples reach the speaker.
    Sounding,
    /// Silent again, because of the deadline or a stop.
    Ended,
    /// It cannot sound; it goes on trying until the deadline. A sentence for the owner.
    Failing(&'a str),
}

/// What the phone's privileged half answers to a command that was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActorAnswer<'a> {
    /// It was carried out, now or before.
    Outcome {
        /// What was done, under ACT_SIG.
        attestation: Attestation,
        /// What is still open of a phone that is locked in part.
        text: Option<&'a str>,
    },
    /// It will not be carried out.
    Refused(Refusal),
    /// It could not be carried out now, or nobody answers. A sentence for the log: it is handed over again.
    Failing(&'a str),
}

/// Who made a beacon's nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonceMaker {
    /// The agent: random bytes.
    Agent,
    /// The privileged half: a challenge of its own, without which it ends no lost mode.
    Actor,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// The daemon has started; unfinished business is taken up again.
    Started,
    /// What the configuration allows, at each start and when it was read again.
    Configured {
        /// How long one ring may sound, seconds.
        ring_longest_s: u32,
    },
    /// A verified command came in.
    Command(&'a Verified),
    /// A command of a known client that may not be done.
    Refused(Refusal, &'a Command),
    /// A ROOT-signed authority list, verified; the bytes are what was signed.
    Authority {
        /// Its version.
        version: u64,
        /// What ROOT signed.
        signed: &'a [u8],
    },
    /// A ROOT-signed key set, verified.
    KeySet {
        /// Its version.
        version: u64,
        /// What ROOT signed.
        signed: &'a [u8],
    },
    /// A reader has stored every report up to here.
    ReportsStored {
        /// The number.
        through: u64,
        /// What the reader may order, by the authority list in force.
        rights: Capabilities,
    },
    /// The search for a command ended.
    SearchEnded {
        /// Which command.
        command: CommandId,
        /// How.
        outcome: SearchOutcome<'a>,
    },
    /// It may be time for a position of the movement history.
    TrackLook {
        /// What was agreed and configured.
        settings: TrackSettings,
        /// The battery now.
        battery: Battery,
    },
    /// A periodic search ended.
    TrackEnded {
        /// How.
        outcome: SearchOutcome<'a>,
    },
    /// Positions up to here are older than what may be kept.
    ReportsExpired {
        /// The number.
        through: u64,
    },
    /// The siren process changed its mind.
    Siren {
        /// The ring that it serves.
        command: CommandId,
        /// What it says.
        phase: SirenPhase<'a>,
    },
    /// The privileged half answered.
    Actor {
        /// Which command.
        command: CommandId,
        /// What.
        answer: ActorAnswer<'a>,
    },
    /// The privileged half has begun or ended an episode of lost mode, or could not answer a while ago: what is open is
    /// asked for again.
    ActorStirred,
    /// It is time for a sign of life.
    BeaconDue {
        /// Bytes that nobody could know before.
        nonce: BeaconNonce,
        /// Who made them.
        maker: NonceMaker,
    },
    /// Time has passed since the last event; something may be overdue.
    Tick,
}
