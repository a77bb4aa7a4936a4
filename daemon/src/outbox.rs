//! What goes out and when it is over: receipts until the broker took them, positions until a reader has stored them, up to 32 in a report. It must not change a message.

use std::collections::BTreeSet;

use homing_link::drain::Drained;
use homing_link::{Drain, LinkEvent, Publication, Retention, Transport};
use homing_policy::State;
use homing_protocol::envelope::Address;
use homing_protocol::report::MOST_POSITIONS;
use homing_protocol::topic::{Channel, Topic};

use crate::error::Error;
use crate::journal::{Journal, Waiting};

/// Unconfirmed positions offered to the broker at a time, oldest first, so that a long absence of every reader costs little.
const OFFERED: u32 = 64;
/// The newest positions, which are always offered: who waits for an answer must not wait until the oldest are confirmed.
const OFFERED_NEWEST: u64 = 16;
/// Positions asked for again that wait at a time: four orders' worth. Who asks for more asks again later.
const MOST_AGAIN: usize = 4096;

/// The outbox's part that lives with a connection.
#[derive(Debug, Default)]
pub struct Outbox {
    drain: Drain<Waiting>,
    /// Positions handed over on this connection; offered again on the next one until a reader confirms.
    offered: BTreeSet<u64>,
    /// Positions that a reader asked for again.
    again: BTreeSet<u64>,
    /// What the broker refused on this connection, or could not be struck off: offering it at once again would be a
    /// loop at the speed of the wire. It rests until a reader says something or the next beacon is due.
    set_aside: BTreeSet<Waiting>,
    /// What the broker had nobody to give to: receipts wait, until a message of a reader shows that somebody listens.
    unheard: BTreeSet<Waiting>,
}

/// Numbers that follow each other, up to a report's length.
fn runs(numbers: impl IntoIterator<Item = u64>) -> Vec<Waiting> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((first, last))
                if *last + 1 == number && number - *first < MOST_POSITIONS as u64 =>
            {
                *last = number;
            }
            _ => runs.push((number, number)),
        }
    }
    runs.into_iter()
        .map(|(first, last)| Waiting::Reports { first, last })
        .collect()
}

impl Outbox {
    /// Takes in an event of the link.
    pub fn note(&mut self, event: &LinkEvent, journal: &mut Journal) {
        if let LinkEvent::Disconnected { .. } = event {
            self.offered.clear();
            self.set_aside.clear();
            self.unheard.clear();
        }
        match self.drain.note(event) {
            Some(Drained::Published(row)) => {
                // It is sent again on the next connection, which is harmless: its number tells.
                if let Err(error) = journal.sent(row) {
                    tracing::warn!("{row:?} was sent and stays in the outbox: {error}");
                    self.set_aside.insert(row);
                }
            }
            Some(Drained::Unheard(row)) => {
                tracing::debug!("nobody listened to {row:?}");
                self.unheard.insert(row);
            }
            Some(Drained::Refused(waiting, reason)) => {
                tracing::warn!("the broker did not take {waiting:?}: {reason}");
                self.set_aside.insert(waiting);
            }
            None => {}
        }
    }

    /// Somebody of the account has just said something: what nobody listened to is worth saying again.
    pub fn somebody_listens(&mut self) {
        let unheard = std::mem::take(&mut self.unheard);
        self.offer_again(unheard);
        self.try_again();
    }

    /// What the broker refused is worth another attempt: a connection may last for months, and whoever waits for an
    /// answer must not wait for its end.
    pub fn try_again(&mut self) {
        let refused = std::mem::take(&mut self.set_aside);
        self.offer_again(refused);
    }

    fn offer_again(&mut self, rows: BTreeSet<Waiting>) {
        for row in rows {
            if let Waiting::Reports { first, last } = row {
                self.offered
                    .retain(|number| !(first..=last).contains(number));
            }
        }
    }

    /// A reader asks for positions again, whether or not somebody has confirmed them.
    ///
    /// # Errors
    /// The journal's.
    pub fn again(&mut self, journal: &Journal, first: u64, last: u64) -> Result<(), Error> {
        let room = MOST_AGAIN.saturating_sub(self.again.len());
        let most = u32::try_from(room).unwrap_or(u32::MAX);
        self.again.extend(journal.kept(first, last, most)?);
        Ok(())
    }

    /// Publishes what waits, as far as the link takes it.
    ///
    /// # Errors
    /// The journal's.
    pub fn fill<T: Transport>(
        &mut self,
        transport: &mut T,
        journal: &Journal,
        address: &Address,
        state: &State,
    ) -> Result<(), Error> {
        let rows = self.rows(journal, state)?;
        let (mut fault, mut loaded) = (None, Vec::new());
        let impossible = self.drain.fill(transport, rows, |row| {
            let channel = match row {
                Waiting::Receipt(_) => Channel::Receipt,
                Waiting::Reports { .. } => Channel::Report,
            };
            let payload = journal.load(*row).unwrap_or_else(|error| {
                fault = Some(error);
                None
            })?;
            loaded.push(*row);
            let topic = Topic::Device(address.device, channel).to_string();
            Some(Publication {
                topic,
                payload,
                retention: Retention::Live,
            })
        });
        for row in loaded {
            if let Waiting::Reports { first, last } = row
                && self.drain.contains(&row)
            {
                self.offered.extend(first..=last);
                self.again.retain(|number| !(first..=last).contains(number));
            }
        }
        for (row, reason) in impossible {
            tracing::error!("{row:?} cannot be sent on this connection: {reason}");
            self.set_aside.insert(row);
        }
        fault.map_or(Ok(()), Err)
    }

    /// Receipts first, then what was asked for again, then what nobody has confirmed.
    fn rows(&mut self, journal: &Journal, state: &State) -> Result<Vec<Waiting>, Error> {
        let stored = state.reports_stored;
        self.offered.retain(|counter| *counter > stored);
        self.again
            .retain(|counter| *counter > state.reports_forgotten);
        let mut rows = journal.waiting()?;
        rows.extend(runs(self.again.iter().copied()));
        let newest = state.reports.saturating_sub(OFFERED_NEWEST) + 1;
        let mut unconfirmed = BTreeSet::from_iter(journal.kept(stored + 1, u64::MAX, OFFERED)?);
        unconfirmed.extend(journal.kept(newest.max(stored + 1), u64::MAX, OFFERED)?);
        let fresh = unconfirmed
            .into_iter()
            .filter(|number| !self.offered.contains(number) && !self.again.contains(number));
        rows.extend(runs(fresh));
        rows.retain(|row| !self.set_aside.contains(row) && !self.unheard.contains(row));
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_heard_rests_until_somebody_listens() {
        let run = Waiting::Reports { first: 2, last: 3 };
        let mut outbox = Outbox {
            offered: BTreeSet::from([1, 2, 3]),
            unheard: BTreeSet::from([Waiting::Receipt(7), run]),
            ..Outbox::default()
        };
        outbox.somebody_listens();
        assert!(outbox.unheard.is_empty());
        // The first was heard by somebody, who has not confirmed it yet.
        assert_eq!(outbox.offered, BTreeSet::from([1]));
    }

    #[test]
    fn positions_travel_in_runs_without_gaps_of_at_most_32() {
        let run = |first, last| Waiting::Reports { first, last };
        assert_eq!(runs([]), []);
        assert_eq!(runs([4, 5, 6, 9]), [run(4, 6), run(9, 9)]);
        assert_eq!(runs(1..=70), [run(1, 32), run(33, 64), run(65, 70)]);
    }
}
