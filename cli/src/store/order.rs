//! Orders and their way: the durable outbox, the sequence numbers, the steps with times. Signs nothing itself.
use super::operation::{op_from_text, op_text};
use super::{NewsKind, Store, count, fixed, int, news::tell};
use crate::clock::UnixMs;
use crate::error::Error;
use homing_owner::delivery::{Progress, Recorded, State, Step, Witness};
use homing_owner::sign::Intent;
use homing_protocol::command::Op;
use homing_protocol::id::{CommandId, DeviceId};
use rusqlite::{OptionalExtension, Row, Transaction, params};

/// One order with its steps.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// What was ordered, under which id.
    pub(crate) intent: Intent,
    /// Its steps.
    pub(crate) progress: Progress,
    /// The report that holds the position asked for.
    pub(crate) report: Option<u64>,
}

/// Whether an order could be ended without its phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Withdrawn {
    /// It had never left this machine.
    Here,
    /// It was signed: it may be anywhere.
    TooLate,
}

/// One order that has not ended, as the outbox needs it.
#[derive(Clone, Debug)]
pub(crate) struct OutboxRow {
    /// The phone.
    pub(crate) device: DeviceId,
    /// What was ordered, under which id.
    pub(crate) intent: Intent,
    /// Where it stands.
    pub(crate) state: State,
    /// The number under which it is signed now.
    pub(crate) seq: Option<u64>,
    /// The signed and sealed bytes; `None` when it has to be signed (again).
    pub(crate) envelope: Option<Vec<u8>>,
    /// How often it was signed.
    pub(crate) signed_times: u32,
    /// When it was last handed to a broker.
    pub(crate) published_at: Option<UnixMs>,
    /// How often, since it was last signed.
    pub(crate) published_times: u32,
}

struct RawOrder {
    id: Vec<u8>,
    device: Vec<u8>,
    op: String,
    state: String,
    issued_at: i64,
    not_after: Option<i64>,
}

impl RawOrder {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            device: row.get("device")?,
            op: row.get("op")?,
            state: row.get("state")?,
            issued_at: row.get("issued_at")?,
            not_after: row.get("not_after_s")?,
        })
    }
    fn parse(self) -> Result<(DeviceId, Intent, State), Error> {
        let damaged = || Error::Damaged("order");
        let intent = Intent {
            id: CommandId(fixed(&self.id, "order")?),
            op: op_from_text(&self.op).ok_or_else(damaged)?,
            issued_at_s: count(self.issued_at / 1_000),
            not_after_s: self.not_after.map(count),
        };
        let state = State::from_word(&self.state).ok_or_else(damaged)?;
        Ok((DeviceId(fixed(&self.device, "order")?), intent, state))
    }
}

pub(super) fn steps(transaction: &rusqlite::Connection, id: CommandId) -> Result<Progress, Error> {
    let mut statement = transaction
        .prepare("SELECT state, at, witness, detail FROM step WHERE command = ? ORDER BY number")?;
    let rows = statement.query_map([id.0], |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, i64>(1)?,
            row.get::<_, String>(2)?,
            row.get::<_, String>(3)?,
        ))
    })?;
    let steps = rows.map(|row| {
        let (state, at, witness, detail) = row?;
        let state = State::from_word(&state).ok_or(Error::Damaged("order's step"))?;
        let witness = if witness == "phone" {
            Witness::Phone
        } else {
            Witness::Owner
        };
        Ok(Step {
            state,
            at,
            witness,
            detail,
        })
    });
    let steps: Vec<Step> = steps.collect::<Result<_, Error>>()?;
    Progress::from_steps(steps).ok_or(Error::Damaged("order's step"))
}

/// Writes the steps after the first `known` ones, and where the order stands now.
pub(super) fn write_steps(
    transaction: &Transaction<'_>,
    device: DeviceId,
    id: CommandId,
    progress: &Progress,
    known: usize,
) -> Result<(), Error> {
    for (index, step) in progress.steps().iter().enumerate().skip(known) {
        let witness = match step.witness {
            Witness::Owner => "owner",
            Witness::Phone => "phone",
        };
        transaction.execute(
            "INSERT INTO step (command, number, state, at, witness, detail) VALUES (?, ?, ?, ?, ?, ?)",
            params![id.0, int(index as u64), step.state.word(), step.at, witness, step.detail],
        )?;
        let detail = format!("{} {}", step.state, step.detail);
        tell(transaction, device, Some(id), NewsKind::State, &detail)?;
    }
    let state = progress.state();
    transaction.execute(
        "UPDATE command SET state = ?1, finished = ?2, envelope = CASE WHEN ?2 THEN NULL ELSE envelope END WHERE id = ?3",
        params![state.word(), state.is_final(), id.0],
    )?;
    Ok(())
}

/// Records a step of an order if this client knows the order; part of the caller's transaction.
pub(super) fn record(
    transaction: &Transaction<'_>,
    id: CommandId,
    step: Step,
) -> Result<(), Error> {
    let Some(device) = device_of(transaction, id)? else {
        return Ok(());
    };
    let mut progress = steps(transaction, id)?;
    let known = progress.steps().len();
    match progress.record(step) {
        Recorded::Advanced => write_steps(transaction, device, id, &progress, known),
        Recorded::Nothing => Ok(()),
    }
}

/// Puts an order back so that it is signed again; part of the caller's transaction.
pub(super) fn requeue(
    transaction: &Transaction<'_>,
    id: CommandId,
    seq: u64,
    at: UnixMs,
    reason: &str,
) -> Result<(), Error> {
    let Some(device) = device_of(transaction, id)? else {
        return Ok(());
    };
    // A late answer to an earlier signature must not throw away the newer one.
    let sql = "UPDATE command SET envelope = NULL, seq = NULL, published_times = 0 WHERE id = ? AND seq = ? AND finished = 0";
    if transaction.execute(sql, params![id.0, int(seq)])? == 0 {
        return Ok(());
    }
    let mut progress = steps(transaction, id)?;
    let known = progress.steps().len();
    match progress.requeue(at.0, reason) {
        Recorded::Advanced => write_steps(transaction, device, id, &progress, known),
        Recorded::Nothing => Ok(()),
    }
}

/// Ends every open order of a phone here, because it will never be done; part of the caller's transaction.
pub(super) fn cancel_open(
    transaction: &Transaction<'_>,
    device: DeviceId,
    why: &str,
) -> Result<(), Error> {
    let open = "SELECT id FROM command WHERE device = ? AND finished = 0";
    let mut statement = transaction.prepare(open)?;
    let ids = statement.query_map([device.0], |row| row.get::<_, Vec<u8>>(0))?;
    for id in ids.collect::<Result<Vec<_>, _>>()? {
        let step = Step {
            state: State::Cancelled,
            at: UnixMs::now().0,
            witness: Witness::Owner,
            detail: why.to_owned(),
        };
        record(transaction, CommandId(fixed(&id, "order")?), step)?;
    }
    Ok(())
}

/// Whether this is an order of ours to count on after a state was set back; part of the caller's transaction.
pub(super) fn is_resume(transaction: &Transaction<'_>, id: CommandId) -> Result<bool, Error> {
    let sql = "SELECT count(*) > 0 FROM command WHERE id = ? AND op LIKE 'resume %'";
    Ok(transaction.query_row(sql, [id.0], |row| row.get(0))?)
}

/// Whether only the phone's privileged half carries this order of ours out; part of the caller's transaction.
pub(super) fn is_attested(transaction: &Transaction<'_>, id: CommandId) -> Result<bool, Error> {
    let sql = "SELECT count(*) > 0 FROM command WHERE id = ? AND (op LIKE 'lost %' OR op LIKE 'lost-off %')";
    Ok(transaction.query_row(sql, [id.0], |row| row.get(0))?)
}

fn device_of(transaction: &Transaction<'_>, id: CommandId) -> Result<Option<DeviceId>, Error> {
    let found = transaction.query_row("SELECT device FROM command WHERE id = ?", [id.0], |row| {
        row.get::<_, Vec<u8>>(0)
    });
    found
        .optional()?
        .map(|bytes| Ok(DeviceId(fixed(&bytes, "order")?)))
        .transpose()
}

impl Store {
    /// Writes an order into the outbox: from here on it will be delivered.
    pub(crate) fn queue(
        &mut self,
        device: DeviceId,
        intent: &Intent,
        at: UnixMs,
    ) -> Result<(), Error> {
        let transaction = self.write()?;
        transaction.execute(
            "INSERT INTO command (id, device, op, issued_at, not_after_s, state) VALUES (?, ?, ?, ?, ?, 'queued')",
            params![intent.id.0, device.0, op_text(&intent.op), at.0, intent.not_after_s.map(int)],
        )?;
        write_steps(&transaction, device, intent.id, &Progress::queued(at.0), 0)?;
        transaction.commit()?;
        Ok(())
    }

    /// One order.
    pub(crate) fn order(&self, id: CommandId) -> Result<Order, Error> {
        let mut statement = self
            .connection
            .prepare("SELECT * FROM command WHERE id = ?")?;
        let (raw, report) = statement.query_row([id.0], |row| {
            Ok((RawOrder::read(row)?, row.get::<_, Option<i64>>("report")?))
        })?;
        let (_, intent, _) = raw.parse()?;
        Ok(Order {
            progress: steps(&self.connection, intent.id)?,
            intent,
            report: report.map(count),
        })
    }

    /// The ids of a phone's orders, oldest first.
    pub(crate) fn orders_of(&self, device: DeviceId) -> Result<Vec<CommandId>, Error> {
        let mut statement = self
            .connection
            .prepare("SELECT id FROM command WHERE device = ? ORDER BY issued_at, rowid")?;
        let rows = statement.query_map([device.0], |row| row.get::<_, Vec<u8>>(0))?;
        rows.map(|id| Ok(CommandId(fixed(&id?, "order")?)))
            .collect()
    }

    /// Every order that has not ended; ring stops first, then oldest first.
    pub(crate) fn outbox(&self) -> Result<Vec<OutboxRow>, Error> {
        let mut statement = self.connection.prepare(
            "SELECT * FROM command WHERE finished = 0 ORDER BY op NOT LIKE 'ring-stop%', issued_at, rowid",
        )?;
        let rows = statement.query_map([], |row| {
            let extra = (
                row.get::<_, Option<i64>>("seq")?,
                row.get::<_, Option<Vec<u8>>>("envelope")?,
                row.get::<_, u32>("signed_times")?,
                row.get::<_, Option<i64>>("published_at")?,
                row.get::<_, u32>("published_times")?,
            );
            Ok((RawOrder::read(row)?, extra))
        })?;
        rows.map(|row| {
            let (raw, (seq, envelope, signed_times, published_at, published_times)) = row?;
            let (device, intent, state) = raw.parse()?;
            let published_at = published_at.map(UnixMs);
            Ok(OutboxRow {
                device,
                intent,
                state,
                seq: seq.map(count),
                envelope,
                signed_times,
                published_at,
                published_times,
            })
        })
        .collect()
    }

    /// Takes the next number of this client's sequence space and stores what `seal` makes of it, both or neither. Nothing happens when another process has signed it meanwhile.
    pub(crate) fn sign(
        &mut self,
        id: CommandId,
        seal: impl FnOnce(u64) -> Result<Vec<u8>, Error>,
    ) -> Result<(), Error> {
        let transaction = self.write()?;
        let open = "SELECT 1 FROM command WHERE id = ? AND envelope IS NULL AND finished = 0";
        if transaction
            .query_row(open, [id.0], |_| Ok(()))
            .optional()?
            .is_none()
        {
            return Ok(());
        }
        let next = "UPDATE account SET next_seq = next_seq + 1 RETURNING next_seq - 1";
        let seq: i64 = transaction.query_row(next, [], |row| row.get(0))?;
        let envelope = seal(count(seq))?;
        transaction.execute(
            "UPDATE command SET envelope = ?, seq = ?, signed_times = signed_times + 1, published_times = 0 WHERE id = ?",
            params![envelope, seq, id.0],
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// Claims the next publication of an order for this process; `None` when another process was quicker or it has ended.
    pub(crate) fn take(&self, row: &OutboxRow, now: UnixMs) -> Result<Option<Vec<u8>>, Error> {
        let sql = "UPDATE command SET published_at = ?, published_times = published_times + 1
                   WHERE id = ? AND seq = ? AND published_at IS ? AND finished = 0 RETURNING envelope";
        let seq = row.seq.map(int);
        let before = row.published_at.map(|at| at.0);
        let taken =
            self.connection
                .query_row(sql, params![now.0, row.intent.id.0, seq, before], |row| {
                    row.get(0)
                });
        Ok(taken.optional()?)
    }

    /// Ends an order that has never left this machine, unless another process has signed it meanwhile: one that was
    /// signed may have arrived, and only the phone knows how it ends.
    pub(crate) fn end_unsent(&mut self, id: CommandId, end: State) -> Result<Withdrawn, Error> {
        let step = Step {
            state: end,
            at: UnixMs::now().0,
            witness: Witness::Owner,
            detail: "before it was sent".to_owned(),
        };
        let transaction = self.write()?;
        let unsigned = "SELECT count(*) > 0 FROM command WHERE id = ? AND signed_times = 0";
        let is_here: bool = transaction.query_row(unsigned, [id.0], |row| row.get(0))?;
        if !is_here {
            return Ok(Withdrawn::TooLate);
        }
        record(&transaction, id, step)?;
        transaction.commit()?;
        Ok(Withdrawn::Here)
    }

    /// Records what this client did or concluded itself.
    pub(crate) fn conclude(
        &mut self,
        id: CommandId,
        state: State,
        detail: &str,
    ) -> Result<(), Error> {
        let step = Step {
            state,
            at: UnixMs::now().0,
            witness: Witness::Owner,
            detail: detail.to_owned(),
        };
        let transaction = self.write()?;
        record(&transaction, id, step)?;
        transaction.commit()?;
        Ok(())
    }

    /// A phone's orders of one kind that have not ended, newest first.
    pub(crate) fn open_orders(
        &self,
        device: DeviceId,
        kind: fn(&Op) -> bool,
    ) -> Result<Vec<OutboxRow>, Error> {
        let mut rows = self.outbox()?;
        rows.retain(|row| row.device == device && kind(&row.intent.op));
        rows.reverse();
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homing_protocol::lost::CodeVerifier;

    #[test]
    fn every_operation_reads_back_as_it_was_stored() {
        for op in [
            Op::Locate { search_s: 60 },
            Op::Ring { for_s: 300 },
            Op::RingStop {
                rings: vec![CommandId([1; 16]), CommandId([2; 16])],
            },
            Op::RingStop { rings: Vec::new() },
            Op::Status,
            Op::ResendReports { first: 3, last: 40 },
            Op::Resume {
                beacon: 120,
                receipts: 9,
                head: [0xa5; 32],
                reports: 230,
            },
            Op::Lost {
                message: "Please call, or bring me home".into(),
                contact: Some("+49 30 1234567".into()),
                code: Some(CodeVerifier::from_bytes([0xa5; 32])),
            },
            Op::Lost {
                message: "lost".into(),
                contact: None,
                code: None,
            },
            Op::LostOff {
                episodes: vec![CommandId([1; 16])],
            },
        ] {
            assert_eq!(op_from_text(&op_text(&op)), Some(op));
        }
        assert_eq!(op_from_text("explode 1"), None);
    }
}
