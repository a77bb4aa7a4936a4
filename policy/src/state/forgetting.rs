//! What is forgotten when there is too much: always of the client that has most, so that nobody pushes out what others left. It must not forget what is open, nor raise the floor of anybody else.

use super::{
    MOST_BEACONS, MOST_COMMANDS, MOST_FLOORS, MOST_PACES, MOST_SPACES, MOST_SPACES_OF_CLIENT,
    MOST_TOMBSTONES, State,
};
use crate::record::Pace;
use crate::window::Space;
use homing_protocol::id::{ClientId, CommandId, SessionId};
use std::collections::BTreeMap;

impl State {
    /// The space, moved to the front: the newest sessions are the ones in use.
    pub(super) fn space_mut(&mut self, client: ClientId, session: SessionId) -> &mut Space {
        let found = self
            .spaces
            .iter()
            .position(|space| space.client == client && space.session == session);
        let space = found
            .and_then(|index| self.spaces.remove(index))
            .unwrap_or_else(|| Space::new(client, session));
        self.spaces.push_front(space);
        if let Some(space) = self
            .excess_space(client)
            .and_then(|index| self.spaces.remove(index))
        {
            self.keep_floor(space.client, self.beacons());
        }
        &mut self.spaces[0]
    }

    /// The space that is one too many after this client's newest has come to the front; never that one.
    fn excess_space(&self, client: ClientId) -> Option<usize> {
        let mut of_client = 0;
        let excess = self.spaces.iter().position(|space| {
            of_client += usize::from(space.client == client);
            of_client > MOST_SPACES_OF_CLIENT
        });
        if excess.is_some() || self.spaces.len() <= MOST_SPACES {
            return excess;
        }
        let counts = counted(self.spaces.iter().map(|space| space.client));
        let most = counts.values().max();
        let oldest = |space: &Space| counts.get(&space.client) == most;
        self.spaces.iter().rposition(oldest)
    }

    /// Remembers that a ring is over; forgets the oldest of who has left most such marks.
    pub(super) fn bury(&mut self, client: ClientId, ring: CommandId) {
        if self.has_stopped(client, ring) {
            return;
        }
        self.tombstones.push_back((client, ring));
        if self.tombstones.len() <= MOST_TOMBSTONES {
            return;
        }
        let left = counted(self.tombstones.iter().map(|(client, _)| *client));
        let greediest = left.into_iter().max_by_key(|(_, count)| *count);
        let oldest = greediest.and_then(|(greedy, _)| {
            let mut marks = self.tombstones.iter();
            marks.position(|(client, _)| *client == greedy)
        });
        if let Some((client, _)) = oldest.and_then(|index| self.tombstones.remove(index)) {
            self.keep_floor(client, self.beacons());
        }
    }

    /// Keeps a client's pace; of too many, the one that matters least is forgotten.
    pub(super) fn keep_pace(&mut self, client: ClientId, pace: Pace) {
        self.paces.insert(client, pace);
        if self.paces.len() > MOST_PACES {
            let others = self.paces.iter().filter(|(other, _)| **other != client);
            if let Some(least) = others
                .min_by_key(|(_, pace)| pace.debt_ms)
                .map(|(id, _)| *id)
            {
                self.paces.remove(&least);
            }
        }
    }

    /// Something of this client was forgotten that a hostile broker may have kept. Of too many floors the lowest becomes
    /// one for all: it lies deepest in the past.
    pub(super) fn keep_floor(&mut self, client: ClientId, beacon: u64) {
        if beacon <= self.floor_of(client) {
            return;
        }
        self.floors.insert(client, beacon);
        if self.floors.len() > MOST_FLOORS
            && let Some(lowest) = self.floors.values().min().copied()
        {
            self.raise_floor_of_all(lowest);
        }
    }

    /// What was forgotten may be anybody's.
    pub(super) fn raise_floor_of_all(&mut self, beacon: u64) {
        self.floor = self.floor.max(beacon);
        let of_all = self.floor;
        self.floors.retain(|_, own| *own > of_all);
    }

    /// Forgets ended commands that no new session could replay any more, and of too many the oldest of who has most.
    pub(super) fn forget_commands(&mut self) {
        let oldest_beacon = if self.beacons.len() < MOST_BEACONS {
            0
        } else {
            self.beacons.front().map_or(0, |mark| mark.counter)
        };
        while self.is_ended_before(oldest_beacon) {
            self.forget_command(0);
        }
        while self.order.len() > MOST_COMMANDS {
            let Some(index) = self.excess_command() else {
                break;
            };
            if let Some(client) = self.forget_command(index) {
                self.keep_floor(client, self.beacons());
            }
        }
    }

    /// Whether the oldest command has ended and came before this beacon.
    fn is_ended_before(&self, beacon: u64) -> bool {
        let oldest = self.order.front();
        let oldest = oldest.and_then(|(_, id)| self.commands.get(id));
        oldest.is_some_and(|entry| entry.state.is_final() && entry.accepted.at_beacon < beacon)
    }

    /// The oldest ended command of the client that has most, else of anybody.
    fn excess_command(&self) -> Option<usize> {
        let most = self.remembered.iter().max_by_key(|(_, count)| **count);
        let greedy = most.map(|(client, _)| *client);
        let has_ended = |id: &CommandId| {
            let entry = self.commands.get(id);
            entry.is_some_and(|entry| entry.state.is_final())
        };
        let mut all = self.order.iter();
        all.position(|(client, id)| Some(*client) == greedy && has_ended(id))
            .or_else(|| self.order.iter().position(|(_, id)| has_ended(id)))
    }

    /// Gives whose it was.
    fn forget_command(&mut self, index: usize) -> Option<ClientId> {
        let (client, id) = self.order.remove(index)?;
        self.commands.remove(&id);
        if let Some(count) = self.remembered.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                self.remembered.remove(&client);
            }
        }
        Some(client)
    }
}

fn counted(clients: impl Iterator<Item = ClientId>) -> BTreeMap<ClientId, usize> {
    let mut counts = BTreeMap::new();
    for client in clients {
        *counts.entry(client).or_default() += 1;
    }
    counts
}
