//! What goes out and when it is over: receipts until the broker took them, reports until a reader has stored them. It must not change a message.

use std::collections::BTreeSet;

use homing_link::drain::Drained;
use homing_link::{Drain, LinkEvent, Publication, Retention, Transport};
use homing_protocol::envelope::Address;
use homing_protocol::topic::{Channel, Topic};

use crate::error::Error;
use crate::journal::{Journal, Waiting};

/// The outbox's part that lives with a connection.
#[derive(Debug, Default)]
pub struct Outbox {
    drain: Drain<Waiting>,
    /// Reports that the broker took on this connection; offered again on the next one until a reader confirms.
    taken: BTreeSet<u64>,
}

impl Outbox {
    /// Takes in an event of the link.
    ///
    /// # Errors
    /// The journal's.
    pub fn note(&mut self, event: &LinkEvent, journal: &mut Journal) -> Result<(), Error> {
        if let LinkEvent::Disconnected { .. } = event {
            self.taken.clear();
        }
        match self.drain.note(event) {
            Some(Drained::Published(Waiting::Report(counter))) => {
                self.taken.insert(counter);
            }
            Some(Drained::Published(receipt)) => journal.sent(receipt)?,
            Some(Drained::Refused(waiting, reason)) => {
                tracing::warn!("the broker did not take {waiting:?}: {reason}")
            }
            None => {}
        }
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
        reports_stored: u64,
    ) -> Result<(), Error> {
        self.taken.retain(|counter| *counter > reports_stored);
        let taken = &self.taken;
        let rows = journal
            .waiting(reports_stored)?
            .into_iter()
            .filter(|row| match row {
                Waiting::Receipt(_) => true,
                Waiting::Report(counter) => !taken.contains(counter),
            });
        let mut fault = None;
        let impossible = self.drain.fill(transport, rows, |row| {
            let channel = match row {
                Waiting::Receipt(_) => Channel::Receipt,
                Waiting::Report(_) => Channel::Report,
            };
            let payload = journal.load(*row).unwrap_or_else(|error| {
                fault = Some(error);
                None
            })?;
            let topic = Topic::Device(address.device, channel).to_string();
            Some(Publication {
                topic,
                payload,
                retention: Retention::Live,
            })
        });
        for (row, reason) in impossible {
            tracing::error!("{row:?} can never be sent: {reason}");
        }
        fault.map_or(Ok(()), Err)
    }
}
