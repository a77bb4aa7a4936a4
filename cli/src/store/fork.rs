//! What was seen of changes that two machines made apart, of older states that the broker showed, and what became of them. Judges nothing.
use super::{Store, count};
use crate::clock::UnixMs;
use crate::error::Error;
use homing_protocol::keyring::Keyring;
use homing_protocol::keys::sha256;
use rusqlite::{OptionalExtension, params};

/// How many of each are kept.
const KEPT: u32 = 64;

/// One thing that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fork {
    /// When.
    pub(crate) seen_at: UnixMs,
    /// What, as a sentence without its end.
    pub(crate) what: String,
    /// When it came to an end; `None` while it is open.
    pub(crate) ended_at: Option<UnixMs>,
    /// What became of it.
    pub(crate) outcome: String,
}

impl Store {
    /// Remembers something that has to be resolved; once while it is open.
    pub(crate) fn fork_seen(&self, what: &str) -> Result<(), Error> {
        self.connection.execute(
            "INSERT INTO fork (seen_at, what) SELECT ?1, ?2 WHERE NOT EXISTS (SELECT 1 FROM fork WHERE what = ?2 AND ended_at IS NULL)",
            params![UnixMs::now().0, what],
        )?;
        self.forget_old_forks()
    }

    /// Ends what is open; says what became of it.
    pub(crate) fn forks_ended(&self, outcome: &str) -> Result<(), Error> {
        self.connection.execute(
            "UPDATE fork SET ended_at = ?, outcome = ? WHERE ended_at IS NULL",
            params![UnixMs::now().0, outcome],
        )?;
        Ok(())
    }

    /// Everything that is kept, the newest first.
    pub(crate) fn forks(&self) -> Result<Vec<Fork>, Error> {
        let mut statement = self
            .connection
            .prepare("SELECT seen_at, what, ended_at, outcome FROM fork ORDER BY id DESC")?;
        let rows = statement.query_map([], |row| {
            Ok(Fork {
                seen_at: UnixMs(row.get(0)?),
                what: row.get(1)?,
                ended_at: row.get::<_, Option<i64>>(2)?.map(UnixMs),
                outcome: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn forget_old_forks(&self) -> Result<(), Error> {
        let sql = "DELETE FROM fork WHERE id NOT IN (SELECT id FROM fork ORDER BY id DESC LIMIT ?)";
        self.connection.execute(sql, [KEPT])?;
        Ok(())
    }

    /// The broker has shown a keyring: kept aside until somebody unlocks it, unless it was judged before. One that is older than ours is answered with ours, once ours was there before; and that is remembered.
    pub(crate) fn keyring_shown(&mut self, blob: &[u8], generation: u64) -> Result<(), Error> {
        let (held, published): (Vec<u8>, bool) = self.connection.query_row(
            "SELECT keyring, keyring_published FROM account",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let own = Keyring::parse(&held).map_or(0, |keyring| keyring.generation);
        if held == blob || self.is_weighed(blob)? {
            // The broker may have been given it again by somebody: ours takes its place.
            if generation < own && published {
                self.publish_keyring_again()?;
            }
            return Ok(());
        }
        if generation < own {
            if published {
                self.publish_keyring_again()?;
                self.connection.execute(
                    "INSERT INTO fork (seen_at, what, ended_at, outcome) SELECT ?1, ?2, ?1, ?3 WHERE NOT EXISTS (SELECT 1 FROM fork WHERE what = ?2)",
                    params![
                        UnixMs::now().0,
                        format!("the broker showed keyring {generation} although it had been given {own}: it has lost something, or somebody plays an old one"),
                        "it was given the newest again",
                    ],
                )?;
                self.forget_old_forks()?;
            }
            return Ok(());
        }
        if generation == own {
            self.fork_seen("two machines changed the account at the same time")?;
        }
        self.offer_keyring(blob)
    }

    /// Gives the broker our keyring once more.
    pub(crate) fn publish_keyring_again(&self) -> Result<(), Error> {
        let sql = "UPDATE account SET keyring_published = 0";
        self.connection.execute(sql, [])?;
        Ok(())
    }

    /// The offered keyring was compared with ours: it is not looked at again.
    pub(crate) fn weighed(&mut self, blob: &[u8]) -> Result<(), Error> {
        let transaction = self.write()?;
        let digest = sha256(blob);
        transaction.execute(
            "INSERT OR IGNORE INTO weighed (digest) VALUES (?)",
            [digest],
        )?;
        transaction.execute(
            "DELETE FROM weighed WHERE number NOT IN (SELECT number FROM weighed ORDER BY number DESC LIMIT ?)",
            [KEPT],
        )?;
        transaction.execute(
            "UPDATE account SET keyring_offered = NULL WHERE keyring_offered = ?",
            [blob],
        )?;
        transaction.commit()?;
        Ok(())
    }

    fn is_weighed(&self, blob: &[u8]) -> Result<bool, Error> {
        let sql = "SELECT 1 FROM weighed WHERE digest = ?";
        let found = self
            .connection
            .query_row(sql, [sha256(blob)], |row| row.get::<_, i64>(0));
        Ok(found.optional()?.is_some_and(|one| count(one) == 1))
    }
}
