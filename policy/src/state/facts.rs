//! A state told by as few facts as possible; it must not leave anything out, nor know why it is so.

use super::State;
use crate::record::Record;
use crate::window::Space;
use homing_protocol::id::CommandId;
use homing_protocol::receipt::CommandState;

impl State {
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
        facts.extend(self.resume_facts());
        facts.extend(self.beacons.iter().map(|mark| Record::Beacon {
            counter: mark.counter,
            nonce: mark.nonce,
            maker: mark.maker,
            boot: mark.boot,
            boottime_ms: mark.boottime_ms,
        }));
        facts.extend(self.spaces.iter().rev().flat_map(space_facts));
        for entry in self.commands() {
            facts.push(Record::Accepted(entry.accepted.clone()));
            let id = entry.accepted.id;
            facts.extend(self.handed.get(&id).map(|signed| Record::Handed {
                command: id,
                signed: signed.clone(),
            }));
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
                .map(|(client, ring)| Record::Tombstone {
                    client: *client,
                    ring: *ring,
                }),
        );
        facts.extend(
            self.ring_longest_s
                .map(|seconds| Record::RingLongest { seconds }),
        );
        facts.extend(self.paces.iter().map(|(client, pace)| Record::Paced {
            client: *client,
            pace: *pace,
        }));
        if let Some(search) = self.search {
            let again = Record::SearchOrdered {
                command: search.command,
                boot: search.boot,
                deadline_ms: search.deadline_ms,
            };
            facts.extend((0..search.times).map(|_| again.clone()));
        }
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
        facts.extend(self.floor_facts());
        facts.extend(
            self.told
                .iter()
                .map(|digest| Record::Told { digest: *digest }),
        );
        facts
    }

    /// The part of [`Self::facts`] that is about what was forgotten.
    fn floor_facts(&self) -> impl Iterator<Item = Record> {
        let of_all = (self.floor > 0).then_some(Record::Floor { beacon: self.floor });
        let floors = self.floors.iter();
        let own = floors.map(|(client, beacon)| Record::ClientFloor {
            client: *client,
            beacon: *beacon,
        });
        of_all.into_iter().chain(own)
    }

    /// The part of [`Self::facts`] that is about a state that was set back. It stands before the beacons: a resume
    /// forgets those, and a state that was set back forbids what was signed before the newest of them.
    fn resume_facts(&self) -> Vec<Record> {
        let mut facts = Vec::new();
        for &(first, last) in &self.passed_over {
            facts.push(Record::Report { counter: first - 1 });
            facts.push(self.resumed(last));
        }
        if self.passed_over.is_empty() && self.resumed_at > 0 {
            facts.push(self.resumed(0));
        }
        facts.extend(self.set_back.map(|quoted| Record::SetBack { quoted }));
        facts
    }

    const fn resumed(&self, reports: u64) -> Record {
        Record::Resumed {
            beacon: self.resumed_at,
            receipts: 0,
            head: None,
            reports,
        }
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
}

/// What is known of one space, as facts.
fn space_facts(space: &Space) -> Vec<Record> {
    let (client, session) = (space.client, space.session);
    let seen = space.seen().map(|seq| Record::Seen {
        client,
        session,
        seq,
    });
    let stop = (space.stop > 0 || space.high == 0).then_some(Record::StopMark {
        client,
        session,
        seq: space.stop,
    });
    seen.chain(stop).collect()
}
