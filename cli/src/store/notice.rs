//! What the owner tells delegates about their phones, on both sides: kept until it is published, and taken over where it is newer. Signs and opens nothing.
use super::{Store, count, device, int};
use crate::error::Error;
use crate::store::Membership;
use homing_owner::account::Unlocked;
use homing_protocol::admission::Notice;
use homing_protocol::authority::AuthorityList;
use homing_protocol::topic::Topic;
use rusqlite::{OptionalExtension, Transaction, params};

/// Replaces what every delegate is told by what the account says now.
pub(super) fn put(
    transaction: &Transaction<'_>,
    account: &Unlocked,
    published: bool,
) -> Result<(), Error> {
    transaction.execute("DELETE FROM notice", [])?;
    for (client, payload) in account.notices(&mut crate::exchange::rng())? {
        let topic = Topic::Notice(account.find.account, client).to_string();
        transaction.execute(
            "INSERT INTO notice (topic, payload, published) VALUES (?, ?, ?)",
            params![topic, payload, published],
        )?;
    }
    Ok(())
}

impl Store {
    /// What delegates are told, as topic and payload: what was not published yet, or everything.
    pub(crate) fn notices(&self, everything: bool) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let sql = "SELECT topic, payload FROM notice WHERE published = 0 OR ?";
        let mut statement = self.connection.prepare(sql)?;
        let rows = statement.query_map([everything], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The broker has taken one, unless another has taken its place here.
    pub(crate) fn notice_published(&self, topic: &str, payload: &[u8]) -> Result<(), Error> {
        self.connection.execute(
            "UPDATE notice SET published = 1 WHERE topic = ? AND payload = ?",
            params![topic, payload],
        )?;
        Ok(())
    }

    /// A delegate takes over what the owner says, if it is newer than what was said before.
    pub(crate) fn take_notice(&mut self, notice: &Notice) -> Result<(), Error> {
        let held = self.account()?;
        let list = AuthorityList::verify(&notice.authority, &held.root, held.id)
            .map_err(homing_owner::Error::Stored)?;
        let transaction = self.write()?;
        let known: Option<i64> = transaction
            .query_row("SELECT number FROM noticed", [], |row| row.get(0))
            .optional()?;
        if known.is_some_and(|known| count(known) >= notice.number) {
            return Ok(());
        }
        let membership = Membership {
            account: held.id,
            root: held.root,
            broker: &held.broker,
            ca_pem: &held.ca,
            authority: &notice.authority,
            devices: &notice.devices,
        };
        device::merge_known(&transaction, &membership)?;
        transaction.execute(
            "UPDATE account SET authority = ?1, authority_version = ?2 WHERE authority_version < ?2",
            params![notice.authority, int(list.version)],
        )?;
        transaction.execute(
            "INSERT INTO noticed (one, number) VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET number = ?1",
            [int(notice.number)],
        )?;
        transaction.commit()?;
        Ok(())
    }
}
