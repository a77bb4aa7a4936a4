//! All that a phone remembers, built from records alone. Reading it never changes it.

use crate::event::NonceMaker;
use crate::record::{Accepted, Pace, Place, Record};
use crate::track::MOST_REPORTS;
use crate::window::{Space, Verdict};
use homing_protocol::beacon::{MOST_WINDOWS, Window};
use homing_protocol::command::{BeaconReference, Op};
use homing_protocol::id::{BeaconNonce, BootId, ClientId, CommandId, SessionId};
use homing_protocol::receipt::CommandState;
use std::collections::{BTreeMap, VecDeque};

mod facts;
mod forgetting;

/// Sequence spaces kept, newest first (protocol v1); who has most loses its oldest first.
pub const MOST_SPACES: usize = 64;
/// Sequence spaces kept of one client: who opens many must not push out the others'.
pub const MOST_SPACES_OF_CLIENT: usize = 16;
/// Beacons kept, about 40 days at one each quarter of an hour (protocol v1).
pub const MOST_BEACONS: usize = 4096;
/// Tombstones kept; a stop names at most 16 rings, so these are the last 64 stops at least. Who has left most loses its
/// oldest first: a client that stops what it likes pushes out its own.
pub const MOST_TOMBSTONES: usize = 1024;
/// Clients whose pace is kept: as many as an authority list has (protocol v1).
pub const MOST_PACES: usize = 64;
/// Runs of numbers kept that resumes passed over; each costs the owner a resume by hand.
const MOST_PASSED_OVER: usize = 64;
/// Clients that may have a floor of their own: as many as an authority list has (protocol v1).
pub const MOST_FLOORS: usize = 64;
/// Digests kept of commands whose senders were told to sign again.
pub(crate) const MOST_TOLD: usize = 64;
/// Commands kept at most, whatever the beacons say: 40 days at 200 a day. Who has most loses its oldest first.
pub const MOST_COMMANDS: usize = 8192;

/// A beacon that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeaconMark {
    /// Its number.
    pub counter: u64,
    /// Its random part.
    pub nonce: BeaconNonce,
    /// Who made that.
    pub maker: NonceMaker,
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

/// The search that was last begun for an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchOrder {
    /// For which order.
    pub command: CommandId,
    /// In which start of the phone.
    pub boot: BootId,
    /// Until when it must have ended, milliseconds since that start.
    pub deadline_ms: u64,
    /// How often it was begun for this order: once, and again after each restart of the agent.
    pub times: u32,
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
    /// The last search for an order.
    pub search: Option<SearchOrder>,
    /// How long one ring may sound, seconds; nothing was said of it before the first start that says so.
    pub ring_longest_s: Option<u32>,
    /// This phone's state was set back and no resume has come: the highest beacon number quoted to it.
    pub set_back: Option<u64>,
    /// Report numbers that resumes passed over, first and last of each run, ascending; no position ever had one.
    pub passed_over: Vec<(u64, u64)>,
    /// Number that counts as the newest beacon's while none was made since the last resume.
    resumed_at: u64,
    /// A new command of any client must quote a newer beacon than this number: what was signed before it may have been
    /// done in a past that this phone lost, and must not have an effect once more.
    pub floor: u64,
    /// The same for clients of whom something was forgotten since; each is higher than the floor of all.
    floors: BTreeMap<ClientId, u64>,
    spaces: VecDeque<Space>,
    beacons: VecDeque<BeaconMark>,
    commands: BTreeMap<CommandId, Entry>,
    /// In the order in which they were taken on.
    order: VecDeque<(ClientId, CommandId)>,
    /// How many of them are of which client.
    remembered: BTreeMap<ClientId, usize>,
    tombstones: VecDeque<(ClientId, CommandId)>,
    paces: BTreeMap<ClientId, Pace>,
    handed: BTreeMap<CommandId, Vec<u8>>,
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
        let ids = self.order.iter().map(|(_, id)| id);
        ids.filter_map(|id| self.commands.get(id))
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
    /// The newest episode of lost mode that is open.
    #[must_use]
    pub fn open_lost(&self) -> Option<&Entry> {
        self.open()
            .filter(|entry| matches!(entry.accepted.op, Op::Lost { .. }))
            .last()
    }
    /// What the client signed of an open command that is for the privileged half.
    #[must_use]
    pub fn handed(&self, command: CommandId) -> Option<&[u8]> {
        self.handed.get(&command).map(Vec::as_slice)
    }
    /// Whether an order is open that is looked after each second. What the privileged half has is its business, for weeks
    /// if need be.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.open()
            .any(|entry| !self.handed.contains_key(&entry.accepted.id))
    }
    /// Whether this ring is over, whether or not it has arrived.
    #[must_use]
    pub fn is_dead(&self, ring: CommandId) -> bool {
        self.tombstones.iter().any(|(_, dead)| *dead == ring)
    }
    /// Whether this client has said that this ring is over.
    pub(crate) fn has_stopped(&self, client: ClientId, ring: CommandId) -> bool {
        self.tombstones.contains(&(client, ring))
    }
    /// How fast this client orders, if it has.
    #[must_use]
    pub fn pace(&self, client: ClientId) -> Option<&Pace> {
        self.paces.get(&client)
    }
    /// What this client signed for beacons up to this number may have been forgotten here.
    #[must_use]
    pub fn floor_of(&self, client: ClientId) -> u64 {
        self.floors.get(&client).copied().unwrap_or(self.floor)
    }
    /// A new order of this client must quote a newer beacon than this number, 0 for any or none: whatever was forgotten
    /// of it was signed for an older one. What is forgotten for its age has no floor of its own; the oldest beacon that
    /// is kept is one.
    #[must_use]
    pub fn least_beacon(&self, client: ClientId) -> u64 {
        let forgotten = if self.beacons.len() < MOST_BEACONS {
            0
        } else {
            self.beacons.front().map_or(0, |mark| mark.counter - 1)
        };
        self.floor_of(client).max(forgotten)
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
        self.newest_beacon()
            .map_or(self.resumed_at, |mark| mark.counter)
    }
    /// Whether this phone remembers another beacon under the number that is quoted.
    pub(crate) fn contradicts(&self, reference: BeaconReference) -> bool {
        let found = self
            .beacons
            .binary_search_by_key(&reference.counter, |mark| mark.counter);
        found.is_ok_and(|index| self.beacons[index].nonce != reference.nonce)
    }
    /// The lowest number from this one on that a position of this phone may have, as far as is known here.
    #[must_use]
    pub fn lowest_report(&self, from: u64) -> u64 {
        let kept = (self.reports_forgotten.min(self.reports) + 1).max(from);
        let mut runs = self.passed_over.iter();
        match runs.find(|(first, last)| (*first..=*last).contains(&kept)) {
            Some((_, last)) => last + 1,
            None => kept.min(self.reports + 1),
        }
    }
    /// The number of the newest position that this phone still has.
    #[must_use]
    pub fn newest_report(&self) -> Option<u64> {
        (self.lowest_report(self.reports) == self.reports).then_some(self.reports)
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
                maker,
                boot,
                boottime_ms,
            } => {
                if self.beacons.len() >= MOST_BEACONS {
                    self.beacons.pop_front();
                }
                self.beacons.push_back(BeaconMark {
                    counter: *counter,
                    nonce: *nonce,
                    maker: *maker,
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
            Record::Accepted(accepted) => self.take_on(accepted),
            Record::Receipt {
                counter,
                command,
                state,
            } => {
                self.receipts = *counter;
                if let Some(entry) = self.commands.get_mut(command) {
                    entry.state = *state;
                }
                if state.is_final() {
                    self.handed.remove(command);
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
            Record::Tombstone { client, ring } => self.bury(*client, *ring),
            Record::RingLongest { seconds } => self.ring_longest_s = Some(*seconds),
            Record::SearchOrdered {
                command,
                boot,
                deadline_ms,
            } => self.search_ordered(*command, *boot, *deadline_ms),
            Record::Paced { client, pace } => self.keep_pace(*client, *pace),
            Record::Floor { beacon } => self.raise_floor_of_all(*beacon),
            Record::ClientFloor { client, beacon } => self.keep_floor(*client, *beacon),
            Record::SetBack { quoted } => {
                if self.set_back.is_none() {
                    self.raise_floor_of_all(self.beacons());
                }
                self.set_back = self.set_back.max(Some(*quoted));
            }
            Record::Resumed {
                beacon,
                receipts,
                reports,
                ..
            } => self.resume(*beacon, *receipts, *reports),
            Record::Handed { command, signed } => {
                self.handed.insert(*command, signed.clone());
            }
            Record::SirenOrdered {
                ring,
                boot,
                deadline_ms,
            } => self.siren_ordered(*ring, *boot, *deadline_ms),
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

    fn take_on(&mut self, accepted: &Accepted) {
        self.order.push_back((accepted.client, accepted.id));
        *self.remembered.entry(accepted.client).or_default() += 1;
        self.commands.insert(
            accepted.id,
            Entry {
                accepted: accepted.clone(),
                state: CommandState::Accepted,
            },
        );
        self.forget_commands();
    }

    fn search_ordered(&mut self, command: CommandId, boot: BootId, deadline_ms: u64) {
        let before = self.search.filter(|search| search.command == command);
        self.search = Some(SearchOrder {
            command,
            boot,
            deadline_ms,
            times: before.map_or(0, |search| search.times) + 1,
        });
    }

    fn siren_ordered(&mut self, ring: CommandId, boot: BootId, deadline_ms: u64) {
        let before = self.siren.filter(|order| order.ring == ring);
        self.siren = Some(SirenOrder {
            ring,
            boot,
            deadline_ms,
            times: before.map_or(0, |order| order.times) + 1,
        });
    }

    /// Counts on from these numbers, and forgets whatever would let in what was signed before.
    fn resume(&mut self, beacon: u64, receipts: u64, reports: u64) {
        self.set_back = None;
        self.spaces.clear();
        self.beacons.clear();
        self.resumed_at = beacon;
        self.raise_floor_of_all(beacon);
        self.receipts = self.receipts.max(receipts);
        if reports > self.reports {
            self.pass_over(self.reports + 1, reports);
            self.reports = reports;
            let kept = reports.saturating_sub(MOST_REPORTS);
            self.reports_forgotten = self.reports_forgotten.max(kept);
        }
    }

    /// These numbers no position will ever have; a run that follows on the one before makes it longer.
    fn pass_over(&mut self, first: u64, last: u64) {
        match self.passed_over.last_mut() {
            Some(run) if run.1 + 1 == first => run.1 = last,
            _ => self.passed_over.push((first, last)),
        }
        if self.passed_over.len() > MOST_PASSED_OVER {
            self.passed_over.remove(0);
        }
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
