//! The facts that a phone remembers, one journal row each. Applying them in order gives the state; nothing else does.

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
        /// The ring.
        ring: CommandId,
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
    /// A client was told to sign a command again; it is not told twice for the same bytes.
    Told {
        /// SHA-256 of the signed command.
        digest: [u8; 32],
    },
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
