//! The facts that a phone remembers, one journal row each. Applying them in order gives the state; nothing else does.

use crate::event::NonceMaker;
use homing_protocol::command::Op;
use homing_protocol::id::{BeaconNonce, BootId, ClientId, CommandId, SessionId};
use homing_protocol::receipt::CommandState;

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A newer authority list is in force.
    Authority {
        /// Its version.
        version: u64,
        /// What ROOT signed.
        signed: Vec<u8>,
    },
    /// A newer key set is in force.
    KeySet {
        /// Its version.
        version: u64,
        /// What ROOT signed.
        signed: Vec<u8>,
    },
    /// A beacon was made and may have been seen.
    Beacon {
        /// Its number.
        counter: u64,
        /// Its random part.
        nonce: BeaconNonce,
        /// Who made that.
        maker: NonceMaker,
        /// In which start of the phone.
        boot: BootId,
        /// When, milliseconds since that start.
        boottime_ms: u64,
    },
    /// A number of a sequence space was used.
    Seen {
        /// The client.
        client: ClientId,
        /// Its session.
        session: SessionId,
        /// The number.
        seq: u64,
    },
    /// A command was taken on: it will be answered, come what may.
    Accepted(Accepted),
    /// A receipt was made.
    Receipt {
        /// Its number.
        counter: u64,
        /// The command.
        command: CommandId,
        /// Where the command stands now.
        state: CommandState,
    },
    /// All rings of this space with a lower number are over.
    StopMark {
        /// The client.
        client: ClientId,
        /// Its session.
        session: SessionId,
        /// The stop's number.
        seq: u64,
    },
    /// This ring is over, also if it has not arrived yet.
    Tombstone {
        /// Who said so; all zeros in journals of schema 1, which did not keep it.
        client: ClientId,
        /// The command that began it.
        ring: CommandId,
    },
    /// Every client must quote a newer beacon than this one: what any of them signed before may be forgotten here.
    Floor {
        /// Number of the newest beacon when something was forgotten.
        beacon: u64,
    },
    /// This client must quote a newer beacon than this one: something that it signed before was forgotten here.
    ClientFloor {
        /// The client.
        client: ClientId,
        /// Number of the newest beacon when something of it was forgotten.
        beacon: u64,
    },
    /// How long one ring may sound, by this phone's configuration.
    RingLongest {
        /// That, seconds.
        seconds: u32,
    },
    /// A search for an order began, once more after each restart.
    SearchOrdered {
        /// For which order.
        command: CommandId,
        /// In which start of the phone.
        boot: BootId,
        /// Until when it must have ended, milliseconds since that start.
        deadline_ms: u64,
    },
    /// What a client has used up of the orders that it may give.
    Paced {
        /// The client.
        client: ClientId,
        /// How it stands.
        pace: Pace,
    },
    /// Somebody knows more of this phone's past than it does: its state was set back to an older one.
    SetBack {
        /// The highest beacon number quoted to it; 0 when another thing gave it away.
        quoted: u64,
    },
    /// The owner told from which numbers to count on; what was signed before must be signed again.
    Resumed {
        /// Number that counts as the newest beacon's.
        beacon: u64,
        /// Number that counts as the newest receipt's.
        receipts: u64,
        /// Head of the chain after that receipt; `None` leaves this phone's own.
        head: Option<[u8; 32]>,
        /// Number that counts as the newest report's.
        reports: u64,
    },
    /// A command is for the phone's privileged half, which checks it again: as its client signed it, kept while it is open.
    Handed {
        /// The command.
        command: CommandId,
        /// What its client signed.
        signed: Vec<u8>,
    },
    /// The siren was told to sound.
    SirenOrdered {
        /// For which ring.
        ring: CommandId,
        /// In which start of the phone.
        boot: BootId,
        /// Until when, milliseconds since that start.
        deadline_ms: u64,
    },
    /// A position was given a number.
    Report {
        /// The number, gap-free from 1.
        counter: u64,
    },
    /// A reader has stored every report up to here.
    ReportsStored {
        /// The number.
        through: u64,
    },
    /// Positions up to here were forgotten: too old, or too many came after them.
    ReportsForgotten {
        /// The number.
        through: u64,
    },
    /// A periodic search for the position began.
    TrackSearch {
        /// In which start of the phone.
        boot: BootId,
        /// When, milliseconds since that start.
        boottime_ms: u64,
    },
    /// Where the phone was last found.
    TrackPlace(Place),
    /// The last position before the battery is empty was taken, or may be taken again.
    LastGasp {
        /// Whether it was taken.
        spent: bool,
    },
    /// A client was told to sign a command again; it is not told twice for the same bytes.
    Told {
        /// SHA-256 of the signed command.
        digest: [u8; 32],
    },
}

/// How fast a client orders: each order is a debt that time pays off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// In which start of the phone this was so.
    pub boot: BootId,
    /// When, milliseconds since that start.
    pub boottime_ms: u64,
    /// The debt then, milliseconds until it is paid off.
    pub debt_ms: u64,
    /// How often the client was told that it is too fast, since its last order that was taken.
    pub told: u64,
    /// The debt of what may be copies: orders to be signed again, used numbers, known ids. It is apart, so that nobody who
    /// plays what a client once signed uses up what that client may order; milliseconds.
    pub copies_ms: u64,
}

/// A place that the phone is compared with to see whether it moves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// In which start of the phone the newest position was found.
    pub boot: BootId,
    /// When, milliseconds since that start.
    pub boottime_ms: u64,
    /// Latitude, 10⁻⁷ degrees.
    pub latitude_e7: i32,
    /// Longitude, 10⁻⁷ degrees.
    pub longitude_e7: i32,
    /// Radius of 95 %, decimetres.
    pub accuracy_dm: u32,
    /// Whether the newest position was elsewhere than the one before.
    pub moving: bool,
}

/// Places are personal: debug output never carries one.
impl core::fmt::Debug for Place {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Place(moving: {}, redacted)", self.moving)
    }
}

/// A command as it was taken on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The idempotency key.
    pub id: CommandId,
    /// Who ordered.
    pub client: ClientId,
    /// In which sequence space.
    pub session: SessionId,
    /// Under which number.
    pub seq: u64,
    /// What.
    pub op: Op,
    /// After this time of the owner's clock it is pointless, seconds since 1970 UTC.
    pub not_after: Option<u64>,
    /// Number of the newest beacon at that moment: once all beacons up to it are forgotten, no new session can replay the command.
    pub at_beacon: u64,
    /// The phone's wall clock then, for the ledger, seconds since 1970 UTC.
    pub at_unix_s: u64,
}
