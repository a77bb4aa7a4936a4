//! What this machine knows of other clients beside the lists that ROOT signed: their names; and what is to be cleared at the broker. Decides nothing.
use super::{Store, fixed};
use crate::error::Error;
use homing_protocol::id::ClientId;
use homing_protocol::keyring::KnownClient;
use rusqlite::{Transaction, params};
use std::collections::HashMap;

/// Takes over what the unlocked keyring says.
pub(super) fn merge_names(
    transaction: &Transaction<'_>,
    clients: &[KnownClient],
) -> Result<(), Error> {
    transaction.execute("DELETE FROM client", [])?;
    for client in clients {
        transaction.execute(
            "INSERT OR REPLACE INTO client (id, name) VALUES (?, ?)",
            params![client.client.0, client.name],
        )?;
    }
    Ok(())
}

impl Store {
    /// Marks a state whose account is not a client of itself yet: until [`Store::admitted`], there is no account in it for anybody else.
    pub(crate) fn begin_recovery(&self) -> Result<(), Error> {
        let sql = "INSERT OR IGNORE INTO recovering (one) VALUES (1)";
        self.connection.execute(sql, [])?;
        Ok(())
    }

    /// The account's own lists name this client now.
    pub(crate) fn admitted(&self) -> Result<(), Error> {
        self.connection.execute("DELETE FROM recovering", [])?;
        Ok(())
    }

    pub(super) fn is_recovering(&self) -> Result<bool, Error> {
        let sql = "SELECT count(*) > 0 FROM recovering";
        Ok(self.connection.query_row(sql, [], |row| row.get(0))?)
    }

    /// The names of the account's clients, as the keyring said when it was last open here.
    pub(crate) fn client_names(&self) -> Result<HashMap<ClientId, String>, Error> {
        let mut statement = self.connection.prepare("SELECT id, name FROM client")?;
        let rows = statement.query_map([], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?))
        })?;
        rows.map(|row| {
            let (id, name) = row?;
            Ok((ClientId(fixed(&id, "client id")?), name))
        })
        .collect()
    }

    /// Remembers a topic whose retained message has to go, until the broker has taken the order.
    pub(crate) fn clear_retained(&self, topic: &str) -> Result<(), Error> {
        let sql = "INSERT OR IGNORE INTO unwanted (topic) VALUES (?)";
        self.connection.execute(sql, [topic])?;
        Ok(())
    }

    /// The topics whose retained messages still have to go.
    pub(crate) fn unwanted_topics(&self) -> Result<Vec<String>, Error> {
        let mut statement = self.connection.prepare("SELECT topic FROM unwanted")?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The broker has taken the order to forget.
    pub(crate) fn cleared(&self, topic: &str) -> Result<(), Error> {
        self.connection
            .execute("DELETE FROM unwanted WHERE topic = ?", [topic])?;
        Ok(())
    }
}
