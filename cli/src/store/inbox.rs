//! What phones say, stored as it came, and the news that other processes read. Verified before it gets here.
use super::past::{self, Lineage};
use super::{Store, count, fixed, int, order};
use crate::clock::UnixMs;
use crate::error::Error;
use homing_owner::chain::Link;
use homing_owner::delivery::State;
use homing_owner::phone::{Answer, Heard, Meaning};
use homing_protocol::beacon::{Beacon, ClockTrust};
use homing_protocol::id::{CommandId, DeviceId};
use rusqlite::{OptionalExtension, Transaction, params};

/// How many news are kept; watch and log read them within seconds.
const NEWS_KEPT: i64 = 20_000;

/// How many alarms of a kind are kept of each phone: the first ones and the newest. Whoever has a copy of a bundle can raise as many as he likes.
const FIRST_ALARMS_KEPT: u32 = 8;
const NEWEST_ALARMS_KEPT: u32 = 56;

/// How many receipts are kept of each phone: a few hundred orders.
const RECEIPTS_KEPT: u32 = 2_000;

/// How many beacons are remembered by number: those of ten days, or of half an hour of a phone that connects every other second.
const VOUCHED_KEPT: i64 = 1_024;

/// How much later than promised a phone may be heard of before what it vouched for counts as withheld, milliseconds.
const GRACE_MS: i64 = 60_000;

/// Whether a message was made just now or kept by the broker for who comes later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Passed on as it came.
    Live,
    /// Kept by the broker.
    Retained,
}

/// The newest beacon of a phone.
#[derive(Clone, Debug)]
pub(crate) struct BeaconRow {
    /// As it came; verified anew when it is used.
    pub(crate) bytes: Vec<u8>,
    /// When it was received as it was made; `None` when only the broker's copy is known.
    pub(crate) live_at: Option<UnixMs>,
}

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NewsKind {
    /// An order took a step; the detail is its state and, after a space, a reason.
    State,
    /// A phone showed itself.
    Beacon,
    /// Positions came in; the detail is the number of the newest.
    Position,
    /// A phone has claimed a bundle; the detail is its fingerprint.
    Claim,
    /// Somebody else has claimed the same bundle; the detail is the fingerprint.
    RivalClaim,
    /// A phone's keys were signed.
    Enrolled,
    /// A phone was put out.
    Revoked,
    /// The phone signed two histories; the detail is the receipt's number.
    BrokenChain,
    /// The phone's state was set back to an older one; the detail is the beacon number that was known.
    RolledBack,
    /// It counts on from what was known before its state was set back.
    Resumed,
    /// A bundle was written with which it can be enrolled again; the detail is the new enrolment number.
    InvitedAgain,
    /// The phone's user took it out of the account.
    Left,
}

impl NewsKind {
    const ALL: [Self; 12] = [
        Self::State,
        Self::Beacon,
        Self::Position,
        Self::Claim,
        Self::RivalClaim,
        Self::Enrolled,
        Self::Revoked,
        Self::BrokenChain,
        Self::RolledBack,
        Self::Resumed,
        Self::InvitedAgain,
        Self::Left,
    ];
    /// What somebody should look at, and what is kept longer than other news.
    const ALARMS: [Self; 4] = [
        Self::RivalClaim,
        Self::BrokenChain,
        Self::RolledBack,
        Self::Left,
    ];
    /// What ends alarms, and is kept as long.
    const ENDS: [Self; 2] = [Self::Resumed, Self::InvitedAgain];
    /// Whether somebody should look at it.
    pub(crate) fn is_alarm(self) -> bool {
        Self::ALARMS.contains(&self)
    }
    /// The word stored and printed.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Beacon => "beacon",
            Self::Position => "position",
            Self::Claim => "claim",
            Self::RivalClaim => "rival-claim",
            Self::Enrolled => "enrolled",
            Self::Revoked => "revoked",
            Self::BrokenChain => "broken-chain",
            Self::RolledBack => "rolled-back",
            Self::Resumed => "resumed",
            Self::InvitedAgain => "invited-again",
            Self::Left => "left",
        }
    }
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub(crate) struct News {
    /// Grows; never used twice.
    pub(crate) id: i64,
    /// When it was stored.
    pub(crate) at: UnixMs,
    /// Which phone.
    pub(crate) device: DeviceId,
    /// Which order, if one.
    pub(crate) command: Option<CommandId>,
    /// What.
    pub(crate) kind: NewsKind,
    /// See [`NewsKind`].
    pub(crate) detail: String,
}

/// Writes one piece of news as part of a transaction.
pub(super) fn tell(
    transaction: &Transaction<'_>,
    device: DeviceId,
    command: Option<CommandId>,
    kind: NewsKind,
    detail: &str,
) -> Result<(), Error> {
    transaction.execute(
        "INSERT INTO news (at, device, command, kind, detail) VALUES (?, ?, ?, ?, ?)",
        params![
            UnixMs::now().0,
            device.0,
            command.map(|id| id.0),
            kind.word(),
            detail.trim_end()
        ],
    )?;
    let newest = transaction.last_insert_rowid();
    let kept: Vec<String> = NewsKind::ALARMS
        .iter()
        .chain(&NewsKind::ENDS)
        .map(|kind| format!("'{}'", kind.word()))
        .collect();
    let old = "DELETE FROM news WHERE id <= ? AND kind NOT IN";
    transaction.execute(
        &format!("{old} ({})", kept.join(", ")),
        [newest - NEWS_KEPT],
    )?;
    if kind.is_alarm() {
        transaction.execute(
            "DELETE FROM news WHERE device = ?1 AND kind = ?2
               AND id NOT IN (SELECT id FROM news WHERE device = ?1 AND kind = ?2 ORDER BY id LIMIT ?3)
               AND id NOT IN (SELECT id FROM news WHERE device = ?1 AND kind = ?2 ORDER BY id DESC LIMIT ?4)",
            params![device.0, kind.word(), FIRST_ALARMS_KEPT, NEWEST_ALARMS_KEPT],
        )?;
    }
    Ok(())
}

pub(super) fn touch(
    transaction: &Transaction<'_>,
    device: DeviceId,
    at: UnixMs,
) -> Result<(), Error> {
    // A contact that lies in the future was written while this machine's clock was wrong.
    transaction.execute(
        "UPDATE device SET last_contact = ?1
         WHERE id = ?2 AND (last_contact IS NULL OR last_contact < ?1 OR last_contact > ?3)",
        params![at.0, device.0, UnixMs::now().0],
    )?;
    Ok(())
}

/// Remembers what the newest beacon vouches for, and until when that may be on its way.
fn vouch(
    transaction: &Transaction<'_>,
    device: DeviceId,
    beacon: &Beacon,
    at: UnixMs,
) -> Result<(), Error> {
    let counter = int(beacon.counter);
    let due = i64::from(beacon.next_contact_s) * 1_000 + GRACE_MS;
    transaction.execute(
        "INSERT OR IGNORE INTO vouched (device, counter, receipts, heard_at, due_at) VALUES (?, ?, ?, ?, ?)",
        params![
            device.0, counter, int(beacon.receipts), at.0, at.0.saturating_add(due),
        ],
    )?;
    transaction.execute(
        "DELETE FROM vouched WHERE device = ? AND counter <= ?",
        params![device.0, counter - VOUCHED_KEPT],
    )?;
    Ok(())
}

/// Forgets the oldest receipts of a phone once there are more than are kept. What lies before the oldest is not missed.
fn forget_old_receipts(transaction: &Transaction<'_>, device: DeviceId) -> Result<(), Error> {
    let oldest =
        "SELECT counter FROM receipt WHERE device = ? ORDER BY counter DESC LIMIT 1 OFFSET ?";
    let last: Option<i64> = transaction
        .query_row(oldest, params![device.0, RECEIPTS_KEPT], |row| row.get(0))
        .optional()?;
    if let Some(last) = last {
        let delete = "DELETE FROM receipt WHERE device = ? AND counter <= ?";
        transaction.execute(delete, params![device.0, last])?;
        let from = "UPDATE device SET receipts_from = ? WHERE id = ?";
        transaction.execute(from, params![last + 1, device.0])?;
    }
    Ok(())
}

impl Store {
    /// Stores a beacon when it is newer than the one that is known.
    pub(crate) fn heard_beacon(
        &mut self,
        device: DeviceId,
        heard: &Heard,
        bytes: &[u8],
        origin: Origin,
        at: UnixMs,
    ) -> Result<(), Error> {
        let transaction = self.write()?;
        let counter = int(heard.beacon.counter);
        let live_at = (origin == Origin::Live).then_some(at.0);
        // What the broker kept may be old: only the phone's own synchronised clock tells when it was made.
        let synchronised = heard
            .status
            .as_ref()
            .filter(|status| status.clock == ClockTrust::Synchronised);
        let made_at = synchronised
            .map(|status| UnixMs(int(status.time_unix_s).saturating_mul(1_000).min(at.0)));
        match past::judge(&transaction, device, heard, made_at)? {
            Lineage::Follows => {}
            Lineage::Lost => return Ok(()),
            Lineage::SetBack => {
                past::alarm(&transaction, device)?;
                past::put_away(&transaction, device, heard)?;
            }
        }
        past::mark(&transaction, device, heard)?;
        let newer = transaction.execute(
            "UPDATE device SET beacon = ?, beacon_counter = ?, beacon_live_at = ?, beacon_made_at = ?, answer = NULL
             WHERE id = ? AND beacon_counter < ?",
            params![bytes, counter, live_at, made_at.unwrap_or(at).0, device.0, counter],
        )?;
        if newer > 0 {
            tell(&transaction, device, None, NewsKind::Beacon, "")?;
            // A beacon that is played again is no contact, and the broker says what it likes about which were retained.
            touch(&transaction, device, made_at.unwrap_or(at))?;
            vouch(&transaction, device, &heard.beacon, at)?;
            past::look_for_resume(&transaction, device, heard)?;
            if heard
                .status
                .as_ref()
                .is_some_and(|status| status.left_at.is_some())
            {
                order::cancel_open(&transaction, device, "the phone has left the account")?;
                tell(&transaction, device, None, NewsKind::Left, "")?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// The newest beacon of a phone.
    pub(crate) fn beacon(&self, device: DeviceId) -> Result<Option<BeaconRow>, Error> {
        let sql = "SELECT beacon, beacon_live_at FROM device WHERE id = ? AND beacon IS NOT NULL";
        let found = self.connection.query_row(sql, [device.0], |row| {
            let live_at: Option<i64> = row.get(1)?;
            Ok(BeaconRow {
                bytes: row.get(0)?,
                live_at: live_at.map(UnixMs),
            })
        });
        Ok(found.optional()?)
    }

    /// Stores a receipt and lets its order take the step, in one transaction.
    pub(crate) fn heard_receipt(
        &mut self,
        device: DeviceId,
        answer: &Answer,
        bytes: &[u8],
        at: UnixMs,
    ) -> Result<(), Error> {
        let receipt = &answer.receipt;
        let transaction = self.write()?;
        if past::is_put_away(&transaction, device, int(receipt.counter), &answer.head)? {
            return Ok(());
        }
        // One that was stored and is forgotten says nothing new.
        let new = transaction.execute(
            "INSERT OR IGNORE INTO receipt (device, counter, command, previous, head, bytes, received_at)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 FROM device WHERE id = ?1 AND receipts_from <= ?2",
            params![device.0, int(receipt.counter), receipt.command.0, receipt.previous, answer.head, bytes, at.0],
        )?;
        if new > 0 {
            touch(&transaction, device, at)?;
            let others = "SELECT count(*) FROM receipt WHERE device = ? AND counter = ?";
            let same: i64 =
                transaction.query_row(others, params![device.0, int(receipt.counter)], |row| {
                    row.get(0)
                })?;
            if same > 1 {
                tell(
                    &transaction,
                    device,
                    Some(receipt.command),
                    NewsKind::BrokenChain,
                    &receipt.counter.to_string(),
                )?;
            }
            match answer.meaning(at.0) {
                Meaning::Step(step) => {
                    if step.state == State::Done && order::is_resume(&transaction, receipt.command)?
                    {
                        past::resumed(&transaction, device)?;
                    }
                    order::record(&transaction, receipt.command, step)?;
                }
                Meaning::SignAgain(reason) => order::requeue(
                    &transaction,
                    receipt.command,
                    receipt.seq,
                    at,
                    reason.word(),
                )?,
            }
            if let Some(report) = answer.detail.as_ref().and_then(|detail| detail.report) {
                transaction.execute(
                    "UPDATE command SET report = ? WHERE id = ?",
                    params![int(report), receipt.command.0],
                )?;
                super::track::gone_for_good(&transaction, device, receipt.command, report)?;
            }
            forget_old_receipts(&transaction, device)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// The chain of a phone's stored receipts.
    pub(crate) fn chain(&self, device: DeviceId) -> Result<Vec<Link>, Error> {
        let mut statement = self.connection.prepare(
            "SELECT counter, previous, head FROM receipt WHERE device = ? ORDER BY counter",
        )?;
        let rows = statement.query_map([device.0], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, Vec<u8>>(1)?,
                row.get::<_, Vec<u8>>(2)?,
            ))
        })?;
        rows.map(|row| {
            let (counter, previous, head) = row?;
            Ok(Link {
                counter: count(counter),
                previous: fixed(&previous, "receipt")?,
                head: fixed(&head, "receipt")?,
            })
        })
        .collect()
    }

    /// The highest number among a phone's stored receipts, if there are any.
    pub(crate) fn newest_receipt(&self, device: DeviceId) -> Result<Option<u64>, Error> {
        let sql = "SELECT max(counter) FROM receipt WHERE device = ?";
        let newest: Option<i64> = self
            .connection
            .query_row(sql, [device.0], |row| row.get(0))?;
        Ok(newest.map(count))
    }

    /// Up to which number a phone's receipts must be here, or somebody keeps them back: a beacon has vouched for them, its time for the next one has passed and a minute more, and after that the phone was heard of again.
    pub(crate) fn receipts_due(&self, device: DeviceId) -> Result<u64, Error> {
        let sql = "SELECT coalesce(max(receipts), 0) FROM vouched WHERE device = ?1
                   AND due_at <= (SELECT max(heard_at) FROM vouched WHERE device = ?1)";
        let due = self
            .connection
            .query_row(sql, [device.0], |row| row.get(0))?;
        Ok(count(due))
    }

    /// What happened after the piece of news with this id, oldest first.
    pub(crate) fn news_after(&self, id: i64) -> Result<Vec<News>, Error> {
        let mut statement = self.connection.prepare(
            "SELECT id, at, device, command, kind, detail FROM news WHERE id > ? ORDER BY id",
        )?;
        let rows = statement.query_map([id], |row| {
            let parts = (
                row.get::<_, Vec<u8>>(2)?,
                row.get::<_, Option<Vec<u8>>>(3)?,
                row.get::<_, String>(4)?,
            );
            Ok((
                row.get::<_, i64>(0)?,
                UnixMs(row.get(1)?),
                parts,
                row.get::<_, String>(5)?,
            ))
        })?;
        rows.map(|row| {
            let (id, at, (device, command, kind), detail) = row?;
            let kind = NewsKind::ALL
                .into_iter()
                .find(|known| known.word() == kind)
                .ok_or(Error::Damaged("piece of news"))?;
            let command = command
                .map(|id| fixed(&id, "piece of news").map(CommandId))
                .transpose()?;
            Ok(News {
                id,
                at,
                device: DeviceId(fixed(&device, "piece of news")?),
                command,
                kind,
                detail,
            })
        })
        .collect()
    }

    /// The id of the newest piece of news, 0 when there is none.
    pub(crate) fn newest_news(&self) -> Result<i64, Error> {
        Ok(self
            .connection
            .query_row("SELECT coalesce(max(id), 0) FROM news", [], |row| {
                row.get(0)
            })?)
    }

    /// The alarms that were raised about a phone and are not over: a resume ends what a state that was set back explains, another enrolment ends all.
    pub(crate) fn alarms(&self, device: DeviceId) -> Result<Vec<News>, Error> {
        let mut news = self.news_after(0)?;
        let last = |kind| {
            let of_kind = news
                .iter()
                .rev()
                .find(|news| news.device == device && news.kind == kind);
            of_kind.map_or(0, |news| news.id)
        };
        let (resumed, again) = (last(NewsKind::Resumed), last(NewsKind::InvitedAgain));
        // A phone that shows itself after it has said goodbye was cut off while it left, and is still there.
        let shown = last(NewsKind::Beacon);
        news.retain(|news| {
            let began = match news.kind {
                NewsKind::RivalClaim => again,
                NewsKind::Left => again.max(shown),
                _ => again.max(resumed),
            };
            news.id > began
        });
        news.retain(|news| news.device == device && news.kind.is_alarm());
        Ok(news)
    }

    /// Sets when the newest beacon was made, as if time had passed.
    #[cfg(test)]
    pub(crate) fn beacon_was_made(&self, device: DeviceId, at: UnixMs) -> Result<(), Error> {
        let sql = "UPDATE device SET beacon_made_at = ? WHERE id = ?";
        self.connection.execute(sql, params![at.0, device.0])?;
        Ok(())
    }

    /// Sets when a phone was last heard of, as if time had passed.
    #[cfg(test)]
    pub(crate) fn contact_was(&self, device: DeviceId, at: UnixMs) -> Result<(), Error> {
        let sql = "UPDATE device SET last_contact = ? WHERE id = ?";
        self.connection.execute(sql, params![at.0, device.0])?;
        Ok(())
    }
}
