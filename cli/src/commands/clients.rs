//! `clients`: who may order and read what, and what became of changes that two machines made apart. Changes nothing.
use super::client::reads_word;
use super::show::ended_forks;
use super::table::Table;
use super::{Context, glance};
use crate::error::Error;
use crate::output::harmless;
use crate::store::{Account, Standing, Store};
use homing_protocol::authority::{AuthorityList, Capability, ClientKind};
use homing_protocol::id::ClientId;
use homing_protocol::readers::{KeySet, Reads};
use serde_json::json;

/// The most that a client reads of any phone, by the newest key sets.
fn reads_of(store: &Store, account: &Account, client: ClientId) -> Result<Option<Reads>, Error> {
    let mut most: Option<Reads> = None;
    for row in store.devices()? {
        if row.key_set.is_empty() || row.standing == Standing::Revoked {
            continue;
        }
        let set = KeySet::verify(&row.key_set, &account.root, &row.address(account.id))
            .map_err(homing_owner::Error::Stored)?;
        let found = set.readers.iter().find(|reader| reader.client == client);
        if let Some(found) = found
            && most.is_none_or(|most| (most as u8) < found.reads as u8)
        {
            most = Some(found.reads);
        }
    }
    Ok(most)
}

/// `homing clients`.
pub(crate) fn list(context: &Context) -> Result<(), Error> {
    let store = glance(context, Store::open(&context.home)?)?;
    let account = store.account()?;
    let list = AuthorityList::verify(&account.authority, &account.root, account.id)
        .map_err(homing_owner::Error::Stored)?;
    let names = store.client_names()?;
    let mut table = Table::new(["ID", "NAME", "KIND", "READS", "MAY ORDER"]);
    for entry in &list.entries {
        let id = entry.key.client_id();
        let kind = match entry.kind {
            ClientKind::CommandLine => "command-line",
            ClientKind::Browser => "browser",
            ClientKind::Find => "find",
        };
        let name = names.get(&id).map(String::as_str);
        let shown = name.unwrap_or(match entry.kind {
            ClientKind::Find => "whoever signs in with the passphrase",
            // No machine has this right; only the full key is listed with it.
            _ if entry.capabilities.allows(Capability::Unlock) => {
                "the account's full key, with passphrase and kit"
            }
            _ => "name unknown here",
        });
        let is_here = id == account.client.id();
        let (can, reads) = (
            entry.capabilities.words(),
            reads_word(reads_of(&store, &account, id)?),
        );
        context.out.json(&json!({ "id": id.to_string(), "name": name, "kind": kind, "can": can, "reads": reads, "this_machine": is_here }))?;
        let mut shown = harmless(shown);
        if is_here {
            shown.push_str(" (this machine)");
        }
        table.row([
            id.to_string(),
            shown,
            kind.to_owned(),
            reads.to_owned(),
            can.join(", "),
        ]);
    }
    for line in table.lines().into_iter().chain(remarks(&store)?) {
        context.out.text(&line)?;
    }
    Ok(())
}

/// What was seen of changes that two machines made apart, and what became of them.
fn remarks(store: &Store) -> Result<Vec<String>, Error> {
    let forks = store.forks()?.into_iter();
    let open = forks.filter(|fork| fork.ended_at.is_none());
    let open = open.map(|fork| format!("{}: see homing status", harmless(&fork.what)));
    let ended = ended_forks(store)?.into_iter();
    Ok(open.chain(ended.map(|line| harmless(&line))).collect())
}
