//! All that a phone remembers, built from records alone. Reading it never changes it.

use crate::record::{Accepted, Place, Record};
use crate::track::MOST_REPORTS;
use crate::window::{Space, Verdict};
use homing_protocol::beacon::{MOST_WINDOWS, Window};
use homing_protocol::command::{BeaconReference, Op};
use homing_protocol::id::{BeaconNonce, BootId, ClientId, CommandId, SessionId};
use homing_protocol::receipt::CommandState;
use std::collections::{BTreeMap, VecDeque};

/// Sequence spaces kept, newest first (protocol v1).
pub const MOST_SPACES: usize = 64;
/// Sequence spaces kept of one client: who opens many must not push out the others'.
pub const MOST_SPACES_OF_CLIENT: usize = 16;
/// Beacons kept, about 40 days at one each quarter of an hour (protocol v1).
pub const MOST_BEACONS: usize = 4096;
/// Tombstones kept; a stop names at most 16 rings, so these are the last 64 stops at least.
pub const MOST_TOMBSTONES: usize = 1024;
/// Digests kept of commands whose senders were told to sign again.
const MOST_TOLD: usize = 64;
/// Commands kept at most, whatever the beacons say: 40 days at 200 a day.
pub const MOST_COMMANDS: usize = 8192;

/// A beacon that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeaconMark {
    /// Its number.
    pub counter: u64,
    /// Its random part.
    pub nonce: BeaconNonce,
    /// In which start of the phone.
    pub boot: BootId,
    /// When, milliseconds since that start.
    pub boottime_ms: u64,
}

/// A command that was taken on, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As it came.
    pub accepted: Accepted,
    /// Where it stands.
    pub state: CommandState,
}

/// The siren as it was last ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SirenOrder {
    /// For which ring.
    pub ring: CommandId,
    /// In which start of the phone.
    pub boot: BootId,
    /// Until when, milliseconds since that start.
    pub deadline_ms: u64,
    /// How often it was ordered for this ring: once, and again after each restart of the phone.
    pub times: u32,
}

/// The state.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct State {
    /// Version and signed bytes of the authority list in force.
    pub authority: (u64, Vec<u8>),
    /// Version and signed bytes of the key set in force.
    pub key_set: (u64, Vec<u8>),
    /// Number of the newest receipt.
    pub receipts: u64,
    /// Number of the newest report.
    pub reports: u64,
    /// Reports up to here are stored by a reader.
    pub reports_stored: u64,
    /// Reports up to here were forgotten.
    pub reports_forgotten: u64,
    /// When the last periodic search began: in which start, milliseconds since it.
    pub track_search: Option<(BootId, u64)>,
    /// Where the phone was last found.
    pub place: Option<Place>,
    /// Whether the last position before the battery is empty was taken.
    pub gasped: bool,
    /// The siren's last order.
    pub siren: Option<SirenOrder>,
    /// The first command of a session must quote a newer beacon than this number: what has been forgotten since was
    /// signed before it, and must not have an effect once more.
    pub floor: u64,
    spaces: VecDeque<Space>,
    beacons: VecDeque<BeaconMark>,
    commands: BTreeMap<CommandId, Entry>,
    /// In the order in which they were taken on.
    order: VecDeque<CommandId>,
    tombstones: VecDeque<CommandId>,
    told: VecDeque<[u8; 32]>,
}

impl State {
    /// A newly enrolled phone.
    #[must_use]
    pub fn new(authority: (u64, Vec<u8>), key_set: (u64, Vec<u8>)) -> Self {
        Self {
            authority,
            key_set,
            ..Self::default()
        }
    }

    /// The command with this id.
    #[must_use]
    pub fn command(&self, id: CommandId) -> Option<&Entry> {
        self.commands.get(&id)
    }
    /// Every remembered command, oldest first.
    #[must_use]
    pub fn commands(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.order.iter().filter_map(|id| self.commands.get(id))
    }
    /// Commands that were taken on and not brought to an end, oldest first.
    pub fn open(&self) -> impl Iterator<Item = &Entry> {
        self.commands().filter(|entry| !entry.state.is_final())
    }
    /// The ring that is open.
    #[must_use]
    pub fn open_ring(&self) -> Option<&Entry> {
        self.open()
            .filter(|entry| matches!(entry.accepted.op, Op::Ring { .. }))
            .last()
    }
    /// Whether this ring is over, whether or not it has arrived.
    #[must_use]
    pub fn is_dead(&self, ring: CommandId) -> bool {
        self.tombstones.contains(&ring)
    }
    /// The space of a session.
    #[must_use]
    pub fn space(&self, client: ClientId, session: SessionId) -> Option<&Space> {
        self.spaces
            .iter()
            .find(|space| space.client == client && space.session == session)
    }
    /// The beacon that a command quotes, if this phone made it and still knows it.
    #[must_use]
    pub fn beacon(&self, reference: BeaconReference) -> Option<&BeaconMark> {
        let index = self
            .beacons
            .binary_search_by_key(&reference.counter, |mark| mark.counter)
            .ok()?;
        self.beacons
            .get(index)
            .filter(|mark| mark.nonce == reference.nonce)
    }
    /// The newest beacon.
    #[must_use]
    pub fn newest_beacon(&self) -> Option<&BeaconMark> {
        self.beacons.back()
    }
    /// Number of the newest beacon, 0 before the first.
    #[must_use]
    pub fn beacons(&self) -> u64 {
        self.newest_beacon().map_or(0, |mark| mark.counter)
    }
    pub(crate) fn was_told(&self, digest: &[u8; 32]) -> bool {
        self.told.contains(digest)
    }
    /// The windows for a beacon, newest session first.
    #[must_use]
    pub fn windows(&self) -> Vec<Window> {
        self.spaces
            .iter()
            .take(MOST_WINDOWS)
            .map(Space::shown)
            .collect()
    }

    /// Applies one fact.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Authority { version, signed } => self.authority = (*version, signed.clone()),
            Record::KeySet { version, signed } => self.key_set = (*version, signed.clone()),
            Record::Beacon {
                counter,
                nonce,
                boot,
                boottime_ms,
            } => {
                if self.beacons.len() >= MOST_BEACONS {
                    self.beacons.pop_front();
                }
                self.beacons.push_back(BeaconMark {
                    counter: *counter,
                    nonce: *nonce,
                    boot: *boot,
                    boottime_ms: *boottime_ms,
                });
                self.forget_commands();
            }
            Record::Seen {
                client,
                session,
                seq,
            } => self.space_mut(*client, *session).mark(*seq),
            Record::Accepted(accepted) => {
                self.order.push_back(accepted.id);
                self.commands.insert(
                    accepted.id,
                    Entry {
                        accepted: accepted.clone(),
                        state: CommandState::Accepted,
                    },
                );
                self.forget_commands();
            }
            Record::Receipt {
                counter,
                command,
                state,
            } => {
                self.receipts = *counter;
                if let Some(entry) = self.commands.get_mut(command) {
                    entry.state = *state;
                }
                // What was kept only because it was open goes now, not with the next order: so the state's facts
                // give the same state again.
                self.forget_commands();
            }
            Record::StopMark {
                client,
                session,
                seq,
            } => {
                let space = self.space_mut(*client, *session);
                space.stop = space.stop.max(*seq);
            }
            Record::Tombstone { ring } => {
                let before = self.tombstones.front().copied();
                push_bounded(&mut self.tombstones, *ring, MOST_TOMBSTONES);
                if before.is_some() && before != self.tombstones.front().copied() {
                    self.raise_floor();
                }
            }
            Record::Floor { beacon } => self.floor = self.floor.max(*beacon),
            Record::SirenOrdered {
                ring,
                boot,
                deadline_ms,
            } => {
                let before = self
                    .siren
                    .filter(|order| order.ring == *ring)
                    .map_or(0, |order| order.times);
                self.siren = Some(SirenOrder {
                    ring: *ring,
                    boot: *boot,
                    deadline_ms: *deadline_ms,
                    times: before + 1,
                });
            }
            Record::Report { counter } => {
                self.reports = *counter;
                let kept = counter.saturating_sub(MOST_REPORTS);
                self.reports_forgotten = self.reports_forgotten.max(kept);
            }
            Record::ReportsForgotten { through } => {
                self.reports_forgotten = self.reports_forgotten.max(*through);
            }
            Record::TrackSearch { boot, boottime_ms } => {
                self.track_search = Some((*boot, *boottime_ms));
            }
            Record::TrackPlace(place) => self.place = Some(*place),
            Record::LastGasp { spent } => self.gasped = *spent,
            Record::ReportsStored { through } => self.reports_stored = *through,
            Record::Told { digest } => push_bounded(&mut self.told, *digest, MOST_TOLD),
        }
    }

    /// The space, moved to the front: the newest sessions are the ones in use.
    fn space_mut(&mut self, client: ClientId, session: SessionId) -> &mut Space {
        let found = self
            .spaces
            .iter()
            .position(|space| space.client == client && space.session == session);
        let space = found
            .and_then(|index| self.spaces.remove(index))
            .unwrap_or_else(|| Space::new(client, session));
        self.spaces.push_front(space);
        let mut of_client = 0;
        let excess = self.spaces.iter().position(|space| {
            of_client += usize::from(space.client == client);
            of_client > MOST_SPACES_OF_CLIENT
        });
        if let Some(index) = excess.or((self.spaces.len() > MOST_SPACES).then_some(MOST_SPACES)) {
            self.spaces.remove(index);
            self.raise_floor();
        }
        &mut self.spaces[0]
    }

    /// Something was forgotten that a hostile broker may have kept.
    fn raise_floor(&mut self) {
        self.floor = self.floor.max(self.beacons());
    }

    /// Forgets ended commands that no new session could replay any more.
    fn forget_commands(&mut self) {
        let oldest_beacon = if self.beacons.len() < MOST_BEACONS {
            0
        } else {
            self.beacons.front().map_or(0, |mark| mark.counter)
        };
        while let Some(entry) = self.order.front().and_then(|id| self.commands.get(id)) {
            let replayable = entry.accepted.at_beacon >= oldest_beacon;
            if !entry.state.is_final() || (replayable && self.order.len() <= MOST_COMMANDS) {
                break;
            }
            let id = entry.accepted.id;
            self.commands.remove(&id);
            self.order.pop_front();
            if replayable {
                self.raise_floor();
            }
        }
    }

    /// The shortest list of facts that gives this state again; the journal is compacted to it.
    #[must_use]
    pub fn facts(&self) -> Vec<Record> {
        let mut facts = vec![
            Record::Authority {
                version: self.authority.0,
                signed: self.authority.1.clone(),
            },
            Record::KeySet {
                version: self.key_set.0,
                signed: self.key_set.1.clone(),
            },
        ];
        facts.extend(self.beacons.iter().map(|mark| Record::Beacon {
            counter: mark.counter,
            nonce: mark.nonce,
            boot: mark.boot,
            boottime_ms: mark.boottime_ms,
        }));
        for space in self.spaces.iter().rev() {
            let (client, session) = (space.client, space.session);
            facts.extend(space.seen().map(|seq| Record::Seen {
                client,
                session,
                seq,
            }));
            if space.stop > 0 || space.high == 0 {
                facts.push(Record::StopMark {
                    client,
                    session,
                    seq: space.stop,
                });
            }
        }
        for entry in self.commands() {
            facts.push(Record::Accepted(entry.accepted.clone()));
            if entry.state != CommandState::Accepted {
                facts.push(Record::Receipt {
                    counter: self.receipts,
                    command: entry.accepted.id,
                    state: entry.state,
                });
            }
        }
        facts.push(Record::Receipt {
            counter: self.receipts,
            command: CommandId([0; 16]),
            state: CommandState::Accepted,
        });
        facts.extend(
            self.tombstones
                .iter()
                .map(|ring| Record::Tombstone { ring: *ring }),
        );
        if let Some(order) = self.siren {
            let again = Record::SirenOrdered {
                ring: order.ring,
                boot: order.boot,
                deadline_ms: order.deadline_ms,
            };
            facts.extend((0..order.times).map(|_| again.clone()));
        }
        facts.push(Record::Report {
            counter: self.reports,
        });
        facts.push(Record::ReportsStored {
            through: self.reports_stored,
        });
        facts.extend(self.track_facts());
        facts.extend((self.floor > 0).then_some(Record::Floor { beacon: self.floor }));
        facts.extend(
            self.told
                .iter()
                .map(|digest| Record::Told { digest: *digest }),
        );
        facts
    }

    /// The part of [`Self::facts`] that is about the movement history.
    fn track_facts(&self) -> impl Iterator<Item = Record> {
        let search = self
            .track_search
            .map(|(boot, boottime_ms)| Record::TrackSearch { boot, boottime_ms });
        let forgotten = Record::ReportsForgotten {
            through: self.reports_forgotten,
        };
        let gasp = Record::LastGasp { spent: self.gasped };
        [
            Some(forgotten),
            search,
            self.place.map(Record::TrackPlace),
            Some(gasp),
        ]
        .into_iter()
        .flatten()
    }

    /// Judges a sequence number.
    pub(crate) fn judge(&self, client: ClientId, session: SessionId, seq: u64) -> Option<Verdict> {
        self.space(client, session).map(|space| space.judge(seq))
    }
}

fn push_bounded<T: PartialEq>(list: &mut VecDeque<T>, item: T, most: usize) {
    if !list.contains(&item) {
        list.push_back(item);
        while list.len() > most {
            list.pop_front();
        }
    }
}
