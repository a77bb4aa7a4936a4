//! What a harness saw, one fact at a time. Holds no judgement.

use homing_protocol::command::Op;
use homing_protocol::id::{BeaconNonce, ClientId, CommandId, DeviceId, SessionId};
use homing_protocol::receipt::CommandState;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Something that was seen to happen. Facts of several phones may be mixed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// An owner's client signed an order (again).
    Signed(Signed),
    /// A search or a sound began in the world.
    Began(Effect),
    /// It ended.
    Ended(Effect),
    /// So many milliseconds of sound were heard so far, for whatever ring: where a harness cannot tell them apart.
    Played(DeviceId, u64),
    /// Something was cut off without a warning.
    Crashed(DeviceId, Crash),
    /// The agent has opened its state.
    Opened(DeviceId, Duration),
    /// The agent could not open its state; why.
    StayedShut(DeviceId, String),
    /// What the journal says now.
    Journal(DeviceId, Journal),
    /// The phone handed a receipt to the broker, for the first time or again.
    Published(Receipt),
    /// The owner verified and stored a receipt.
    Told(Receipt),
    /// The phone handed a beacon to the broker.
    Beaconed(DeviceId, Beacon),
    /// The owner stored the positions from the first to the second number.
    Stored(DeviceId, u64, u64),
    /// The phone told the broker that this order is safe with it.
    Acknowledged(DeviceId, CommandId),
    /// From now on no write of the phone reaches its disk.
    DiskFails(DeviceId),
    /// Its disk works again.
    DiskWorks(DeviceId),
    /// Nothing moves any more.
    AtRest(DeviceId, Rest),
}

/// An order as a client signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// For which phone.
    pub phone: DeviceId,
    /// The idempotency key.
    pub command: CommandId,
    /// What is ordered.
    pub op: Op,
    /// Whether its signer may order it.
    pub right: Right,
}

/// Whether a client has the capability that its order needs, by every list in which it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// It may order this.
    Has,
    /// It may not: the order must have no effect and no end but a refusal.
    Lacks,
}

/// What an order does in the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A search for the position.
    Search,
    /// The siren.
    Sound,
}

/// A search or a sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    /// On which phone.
    pub phone: DeviceId,
    /// For which order.
    pub command: CommandId,
    /// What.
    pub kind: Kind,
    /// When, milliseconds by the world's clock, which never stops.
    pub at_ms: u64,
}

/// What was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The agent's process.
    Agent,
    /// The whole phone: the clock since boot begins anew.
    Phone,
}

/// What a receipt asks of its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Meaning {
    /// The order takes this step.
    Step,
    /// The order is to be signed again; it has not been taken on.
    SignAgain,
}

/// A receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Whose.
    pub phone: DeviceId,
    /// Its number.
    pub counter: u64,
    /// The order.
    pub command: CommandId,
    /// Where the order stands.
    pub state: CommandState,
    /// Whether that is a step.
    pub meaning: Meaning,
}

/// The clear part of a beacon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beacon {
    /// Its number.
    pub counter: u64,
    /// Its random part.
    pub nonce: BeaconNonce,
    /// How many receipts there are.
    pub receipts: u64,
    /// Version of the authority list in force.
    pub authority: u64,
    /// Version of the key set in force.
    pub key_set: u64,
}

/// An order in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Sequence space and number under which it was taken on; `None` where the harness cannot see it, or where it was
    /// only refused, which takes no number.
    pub place: Option<(ClientId, SessionId, u64)>,
    /// Where it stands.
    pub state: CommandState,
}

/// What the phone's journal says.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Journal {
    /// Number of the newest beacon.
    pub beacons: u64,
    /// Number of the newest receipt.
    pub receipts: u64,
    /// Number of the newest position.
    pub reports: u64,
    /// Positions up to here are stored by a reader.
    pub reports_stored: u64,
    /// Positions up to here were forgotten on purpose.
    pub reports_forgotten: u64,
    /// Numbers that no position ever had, first and last of each run.
    pub passed_over: Vec<(u64, u64)>,
    /// Version of the authority list in force.
    pub authority: u64,
    /// Version of the key set in force.
    pub key_set: u64,
    /// Every order that is remembered.
    pub commands: BTreeMap<CommandId, Entry>,
}

/// What must have happened by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// What is not delivered may still wait.
    NothingLost,
    /// Everybody has behaved for long enough: every order has ended and every position has come.
    AllDelivered,
}

/// What still waits when nothing moves any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    /// Numbers of the receipts in the phone's outbox.
    pub outbox: BTreeSet<u64>,
    /// Numbers of the positions that the phone keeps.
    pub kept: BTreeSet<u64>,
    /// Orders whose end the owner still asks for: the phone answers each repetition with all its receipts.
    pub asked: BTreeSet<CommandId>,
    /// What must have happened.
    pub expected: Expected,
}
