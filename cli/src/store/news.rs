//! What happened, for every process that waits for it, and the alarms among it. Verified before it gets here; decides nothing.
use super::{Store, fixed};
use crate::clock::UnixMs;
use crate::error::Error;
use homing_protocol::id::{CommandId, DeviceId};
use rusqlite::{Transaction, params};

/// How many news are kept; watch and log read them within seconds.
const NEWS_KEPT: i64 = 20_000;

/// How many alarms of a kind are kept of each phone: the first ones and the newest. Whoever has a copy of a bundle can raise as many as he likes.
const FIRST_ALARMS_KEPT: u32 = 8;
const NEWEST_ALARMS_KEPT: u32 = 56;

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

impl Store {
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
}
