//! The owner's durable state: one SQLite database, safe with several processes at once. Sends nothing and decides nothing.

mod again;
mod client;
mod device;
mod farewell;
mod fork;
mod inbox;
mod migration;
mod news;
mod notice;
mod operation;
mod order;
mod past;
#[cfg(test)]
mod tests;
mod track;

pub(crate) use device::{DeviceRow, LONGEST_NAME, Standing};
pub(crate) use inbox::Origin;
pub(crate) use news::{News, NewsKind};
pub(crate) use order::{Order, OutboxRow, Withdrawn};
pub(crate) use track::StoredReport;

use crate::clock::UnixMs;
use crate::error::Error;
use crate::file;
use homing_owner::account::{ClientKeys, Unlocked};
use homing_protocol::authority::AuthorityList;
use homing_protocol::id::{AccountId, SessionId};
use homing_protocol::keyring::{Keyring, KitSecret, KnownDevice};
use homing_protocol::keys::{KemSecret, SigningKey, VerifyingKey};
use rusqlite::{
    Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params,
};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// How long one process waits for another's transaction; the longest takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// Version of the database's schema; `PRAGMA user_version`.
const FORMAT: i64 = 4;

/// The database in the owner's folder.
#[derive(Debug)]
pub(crate) struct Store {
    connection: Connection,
    home: PathBuf,
    /// Which file was opened: device and inode.
    file: (u64, u64),
}

/// The account as this client holds it while locked.
pub(crate) struct Account {
    /// Its id.
    pub(crate) id: AccountId,
    /// `mqtts://HOST:PORT`.
    pub(crate) broker: String,
    /// Trusted authorities, PEM: the household's first, perhaps the broker's own after it.
    pub(crate) ca: String,
    /// ROOT's public half.
    pub(crate) root: VerifyingKey,
    /// Second half of the full key; a delegate has none.
    pub(crate) kit: Option<KitSecret>,
    /// Finds, rings and reads.
    pub(crate) client: ClientKeys,
    /// Client certificate, PEM.
    pub(crate) tls_certificate: String,
    /// Its key, PEM.
    pub(crate) tls_key: Zeroizing<String>,
    /// This key store's sequence space.
    pub(crate) session: SessionId,
    /// The newest ROOT-signed authority list.
    pub(crate) authority: Vec<u8>,
    /// Its version.
    pub(crate) authority_version: u64,
    /// The keyring blob; empty for a delegate.
    pub(crate) keyring: Vec<u8>,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Account({}, redacted)", self.id)
    }
}

/// What is known of an account without its secrets, from the unlocked keyring or from an answer to `client request`.
#[derive(Debug)]
pub(crate) struct Membership<'a> {
    /// Its id.
    pub(crate) account: AccountId,
    /// ROOT's public half.
    pub(crate) root: VerifyingKey,
    /// `mqtts://HOST:PORT`.
    pub(crate) broker: &'a str,
    /// Trusted authorities, PEM.
    pub(crate) ca_pem: &'a str,
    /// ROOT-signed authority list.
    pub(crate) authority: &'a [u8],
    /// The phones.
    pub(crate) devices: &'a [KnownDevice],
}

impl<'a> From<&'a Unlocked> for Membership<'a> {
    fn from(account: &'a Unlocked) -> Self {
        let find = &account.find;
        Self {
            account: find.account,
            root: find.root,
            broker: &find.broker,
            ca_pem: &find.ca_pem,
            authority: &find.authority,
            devices: &find.devices,
        }
    }
}

/// What a new client brings into a fresh state. Holds private keys.
pub(crate) struct Newcomer<'a> {
    /// Second half of the full key; a delegate has none.
    pub(crate) kit: Option<&'a KitSecret>,
    /// Its own keys.
    pub(crate) client: &'a ClientKeys,
    /// Its TLS certificate, PEM.
    pub(crate) tls_certificate: &'a str,
    /// Its key, PEM.
    pub(crate) tls_key: &'a str,
    /// Its sequence space, made anew for each key store.
    pub(crate) session: SessionId,
    /// Number of the newest revocation list.
    pub(crate) crl_number: u64,
}

/// What became of a newer keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Renewal {
    /// It is stored.
    Stored,
    /// Another process has stored one that is as new; nothing changed.
    Missed,
}

/// A blob of a fixed length, or the name of what is damaged.
pub(crate) fn fixed<const N: usize>(bytes: &[u8], what: &'static str) -> Result<[u8; N], Error> {
    bytes.try_into().map_err(|_| Error::Damaged(what))
}

/// SQLite's integers are signed; counters of the protocol stay below half of the range.
pub(crate) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The way back of [`int`].
pub(crate) fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Which file the database in a folder is.
fn identity(home: &Path) -> Result<(u64, u64), Error> {
    let path = home.join("homing.db");
    match std::fs::metadata(&path) {
        Ok(found) => Ok((found.dev(), found.ino())),
        Err(source) => Err(Error::Read { path, source }),
    }
}

impl Store {
    /// Opens the state in `home`.
    pub(crate) fn open(home: &Path) -> Result<Self, Error> {
        if !home.join("homing.db").exists() {
            return Err(Error::NoAccount(home.to_owned()));
        }
        let mut store = Self::connect(home)?;
        if migration::version(&store.connection)? == 0 {
            return Err(Error::NoAccount(home.to_owned()));
        }
        migration::migrate(&mut store.connection)?;
        if store.is_recovering()? {
            return Err(Error::HalfRecovered(home.to_owned()));
        }
        store.forget_old_positions(UnixMs::now())?;
        Ok(store)
    }

    /// Makes an empty state in `home` (0700); refused where there is an account.
    pub(crate) fn create(home: &Path) -> Result<Self, Error> {
        file::private_folder(home)?;
        let path = home.join("homing.db");
        // SQLite would create the file with the umask's mode; its journal files take this one's.
        let made = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path);
        made.map_err(|source| Error::Write { path, source })?;
        let mut store = Self::connect(home)?;
        let transaction = store.write()?;
        if migration::version(&transaction)? == 0 {
            transaction.execute_batch(include_str!("schema.sql"))?;
            transaction.pragma_update(None, "user_version", FORMAT)?;
            transaction.commit()?;
        } else {
            // An attempt that ended before it had an account leaves nothing worth keeping.
            let accounts: i64 =
                transaction.query_row("SELECT count(*) FROM account", [], |row| row.get(0))?;
            if accounts > 0 {
                return Err(Error::AccountExists(home.to_owned()));
            }
            drop(transaction);
            migration::migrate(&mut store.connection)?;
        }
        Ok(store)
    }

    fn connect(home: &Path) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(home.join("homing.db"), flags)?;
        connection.busy_timeout(PATIENCE)?;
        migration::refuse_newer(&connection, home)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", "ON")?;
        Ok(Self {
            connection,
            home: home.to_owned(),
            file: identity(home)?,
        })
    }

    /// Refuses to go on with a database that somebody has removed or replaced: what is written to it is lost.
    ///
    /// # Errors
    /// [`Error::StateReplaced`].
    pub(crate) fn still_in_place(&self) -> Result<(), Error> {
        match identity(&self.home) {
            Ok(found) if found == self.file => Ok(()),
            _ => Err(Error::StateReplaced(self.home.clone())),
        }
    }

    /// The folder it lives in.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// Starts a transaction that may write; it waits for other processes at once and not half-way.
    fn write(&mut self) -> Result<Transaction<'_>, Error> {
        Ok(self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?)
    }

    /// Stores the account of a fresh state, in one transaction with its phones.
    pub(crate) fn begin_account(
        &mut self,
        membership: &Membership<'_>,
        blob: &[u8],
        newcomer: &Newcomer<'_>,
    ) -> Result<(), Error> {
        let client = newcomer.client;
        let list =
            AuthorityList::verify(membership.authority, &membership.root, membership.account);
        let version = list.map_err(homing_owner::Error::Stored)?.version;
        let kit = newcomer.kit.map_or(&[][..], |kit| kit.0.as_slice());
        let transaction = self.write()?;
        transaction.execute(
            "INSERT INTO account (one, id, broker, ca, root, kit, signing, reading, tls_certificate, tls_key, session, authority, authority_version, crl_number, keyring, keyring_published)
             VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                membership.account.0, membership.broker, membership.ca_pem, membership.root.0,
                kit, client.signing.to_bytes().as_slice(), client.reading.to_bytes().as_slice(),
                newcomer.tls_certificate, newcomer.tls_key, newcomer.session.0, membership.authority, int(version),
                int(newcomer.crl_number), blob, blob.is_empty(),
            ],
        )?;
        device::merge_known(&transaction, membership)?;
        transaction.commit()?;
        Ok(())
    }

    /// The account.
    pub(crate) fn account(&self) -> Result<Account, Error> {
        let row = self
            .connection
            .query_row("SELECT * FROM account", [], |row| {
                let blob = |name| row.get::<_, Vec<u8>>(name);
                Ok((
                    [
                        blob("id")?,
                        blob("root")?,
                        blob("session")?,
                        blob("authority")?,
                        blob("keyring")?,
                    ],
                    [blob("kit")?, blob("signing")?, blob("reading")?].map(Zeroizing::new),
                    [
                        row.get::<_, String>("broker")?,
                        row.get("ca")?,
                        row.get("tls_certificate")?,
                    ],
                    Zeroizing::new(row.get::<_, String>("tls_key")?),
                    row.get::<_, i64>("authority_version")?,
                ))
            });
        let found = row
            .optional()?
            .ok_or_else(|| Error::NoAccount(self.home.clone()))?;
        let (
            [id, root, session, authority, keyring],
            [kit, signing, reading],
            [broker, ca, tls_certificate],
            tls_key,
            version,
        ) = found;
        Ok(Account {
            id: AccountId(fixed(&id, "account id")?),
            broker,
            ca,
            root: VerifyingKey(fixed(&root, "root key")?),
            kit: if kit.is_empty() {
                None
            } else {
                Some(KitSecret(Zeroizing::new(fixed(&kit, "kit secret")?)))
            },
            client: ClientKeys {
                signing: SigningKey::from_bytes(&Zeroizing::new(fixed(&signing, "client key")?)),
                reading: KemSecret::from_bytes(&Zeroizing::new(fixed(&reading, "client key")?)),
            },
            tls_certificate,
            tls_key,
            session: SessionId(fixed(&session, "session id")?),
            authority,
            authority_version: count(version),
            keyring,
        })
    }

    /// Stores a newer keyring blob of the unlocked account, with what it says about lists and phones; it waits to be published. It must be newer than what is stored: nobody's change is undone by one who has not seen it.
    pub(crate) fn renew_keyring(
        &mut self,
        account: &Unlocked,
        blob: &[u8],
    ) -> Result<Renewal, Error> {
        self.put_keyring(account, blob, "0")
    }

    /// Stores a newer blob that another machine wrote; what was changed here and is in no keyring yet stays so.
    pub(crate) fn adopt_keyring(
        &mut self,
        account: &Unlocked,
        blob: &[u8],
    ) -> Result<Renewal, Error> {
        self.put_keyring(account, blob, "keyring_stale")
    }

    fn put_keyring(
        &mut self,
        account: &Unlocked,
        blob: &[u8],
        stale: &str,
    ) -> Result<Renewal, Error> {
        let version = account.authority()?.version;
        let transaction = self.write()?;
        let held: Vec<u8> =
            transaction.query_row("SELECT keyring FROM account", [], |row| row.get(0))?;
        if Keyring::parse(&held).is_ok_and(|held| held.generation >= account.generation()) {
            return Ok(Renewal::Missed);
        }
        transaction.execute(
            &format!("UPDATE account SET keyring = ?, keyring_published = 0, keyring_stale = {stale}, keyring_offered = NULL, authority = ?, authority_version = ?"),
            params![blob, account.find.authority, int(version)],
        )?;
        device::merge_known(&transaction, &account.into())?;
        client::merge_names(&transaction, &account.full.clients)?;
        // Another machine's keyring came with its own notices.
        notice::put(&transaction, account, stale != "0")?;
        transaction.commit()?;
        Ok(Renewal::Stored)
    }

    /// The keyring blob that still has to be published, if there is one.
    pub(crate) fn unpublished_keyring(&self) -> Result<Option<Vec<u8>>, Error> {
        let sql = "SELECT keyring FROM account WHERE keyring_published = 0";
        Ok(self
            .connection
            .query_row(sql, [], |row| row.get(0))
            .optional()?)
    }

    /// Marks a blob as published, unless a newer one has taken its place.
    pub(crate) fn keyring_published(&self, blob: &[u8]) -> Result<(), Error> {
        self.connection.execute(
            "UPDATE account SET keyring_published = 1 WHERE keyring = ?",
            [blob],
        )?;
        Ok(())
    }

    /// Keeps a blob that the broker offers until somebody unlocks it: only then it is known to be ours.
    pub(crate) fn offer_keyring(&self, blob: &[u8]) -> Result<(), Error> {
        self.connection.execute(
            "UPDATE account SET keyring_offered = ?1 WHERE keyring <> ?1",
            [blob],
        )?;
        Ok(())
    }

    /// The blob that was offered last.
    pub(crate) fn offered_keyring(&self) -> Result<Option<Vec<u8>>, Error> {
        Ok(self
            .connection
            .query_row("SELECT keyring_offered FROM account", [], |row| row.get(0))?)
    }

    /// Remembers that the keyring does not yet hold what this state holds (a new name).
    pub(crate) fn keyring_is_stale(&self) -> Result<(), Error> {
        self.connection
            .execute("UPDATE account SET keyring_stale = 1", [])?;
        Ok(())
    }

    /// Whether there is something the keyring does not hold.
    pub(crate) fn is_keyring_stale(&self) -> Result<bool, Error> {
        let sql = "SELECT keyring_stale FROM account";
        Ok(self.connection.query_row(sql, [], |row| row.get(0))?)
    }

    /// The number of the revocation list that is written next; each is used once.
    pub(crate) fn next_crl_number(&mut self) -> Result<u64, Error> {
        let sql = "UPDATE account SET crl_number = crl_number + 1 RETURNING crl_number";
        Ok(count(self.connection.query_row(sql, [], |row| row.get(0))?))
    }

    /// A number that changes whenever another process has written (SQLite's `data_version`).
    pub(crate) fn foreign_writes(&self) -> Result<i64, Error> {
        Ok(self
            .connection
            .query_row("PRAGMA data_version", [], |row| row.get(0))?)
    }
}
