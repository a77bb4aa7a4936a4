//! Older states become newer ones: one step for each version, all of them in one transaction. Must not touch a state that is newer than this program.
use super::FORMAT;
use crate::error::Error;
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;

/// What leads from each version to the next, the first from 1 to 2. A step never changes once it has shipped.
const STEPS: [&str; 3] = [
    include_str!("migrations/2.sql"),
    include_str!("migrations/3.sql"),
    include_str!("migrations/4.sql"),
];

/// The version a database says it has; 0 for one that is empty.
pub(super) fn version(connection: &Connection) -> Result<i64, Error> {
    Ok(connection.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

/// Refuses a database of a later version: what it means is not known here.
///
/// # Errors
/// [`Error::NewerState`].
pub(super) fn refuse_newer(connection: &Connection, home: &Path) -> Result<(), Error> {
    let found = version(connection)?;
    if (0..=FORMAT).contains(&found) {
        return Ok(());
    }
    Err(Error::NewerState {
        path: home.join("homing.db"),
        found,
        known: FORMAT,
    })
}

/// Brings a database that is not empty to [`FORMAT`], all or nothing; several processes may try at once.
///
/// # Errors
/// The database's.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), Error> {
    if version(connection)? == FORMAT {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have done it meanwhile: then no step is left.
    let found = version(&transaction)?;
    let done = usize::try_from(found).unwrap_or(0).max(1) - 1;
    for step in STEPS.iter().skip(done) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use crate::store::device::Standing;
    use homing_owner::account::Unlocked;
    use homing_owner::delivery::State;
    use std::collections::BTreeMap;

    /// An owner's folder with the state that the first version wrote.
    fn first_version() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("folder");
        let connection = Connection::open(folder.path().join("homing.db")).expect("made");
        connection
            .execute_batch(include_str!("fixtures/schema-1.sql"))
            .expect("filled");
        folder
    }

    /// Every table with its columns: name, type, whether it may be null, default, place in the key.
    fn shape(connection: &Connection) -> BTreeMap<String, Vec<String>> {
        let mut shape = BTreeMap::new();
        let mut tables = connection
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")
            .expect("asked");
        let names = tables.query_map([], |row| row.get::<_, String>(0));
        for name in names.expect("asked") {
            let name = name.expect("name");
            let mut columns = connection
                .prepare("SELECT name || ' ' || type || ' ' || \"notnull\" || ' ' || coalesce(dflt_value, '') || ' ' || pk FROM pragma_table_info(?)")
                .expect("asked");
            let columns = columns.query_map([&name], |row| row.get(0));
            let columns = columns.expect("asked").collect::<Result<_, _>>();
            shape.insert(name, columns.expect("columns"));
        }
        shape
    }

    #[test]
    fn a_state_of_the_first_version_is_opened_and_goes_on() {
        let folder = first_version();
        let mut store = Store::open(folder.path()).expect("opened");
        assert_eq!(version(&store.connection).expect("asked"), FORMAT);
        let account = store.account().expect("account");
        let kit = account.kit.clone().expect("kit");
        let passphrase = crate::pretend::PASSPHRASE;
        Unlocked::open(&account.keyring, passphrase, &kit).expect("the keyring opens");
        let row = store.device_named("pocket").expect("the phone");
        assert_eq!(row.standing, Standing::Enrolled);
        let phone = row.phone(account.id, &account.root).expect("certified");
        let beacon = store.beacon(row.id).expect("asked").expect("a beacon");
        let heard = phone
            .expect("joined")
            .hear_beacon(&beacon.bytes, &account.client.reading)
            .expect("genuine");
        assert_eq!(heard.beacon.counter, 41);
        let states: Vec<_> = store
            .orders_of(row.id)
            .expect("orders")
            .into_iter()
            .map(|id| store.order(id).expect("order").progress.state())
            .collect();
        assert_eq!(states, [State::Done, State::Queued]);
        assert_eq!(store.unacknowledged(row.id).expect("asked"), Some(2));
        assert_eq!(store.alarms(row.id).expect("asked").len(), 1);
        // It goes on with the number after the last one that was used.
        let open = store.outbox().expect("outbox").remove(0).intent.id;
        let mut number = 0;
        let seal = |seq| {
            number = seq;
            Ok(vec![1])
        };
        store.sign(open, seal).expect("signed");
        assert_eq!(number, 2);
    }

    #[test]
    fn a_state_that_was_brought_up_has_the_shape_of_a_new_one() {
        let old = first_version();
        let new = tempfile::tempdir().expect("folder");
        let new = Store::create(new.path()).expect("made");
        let old = Store::open(old.path()).expect("opened");
        assert_eq!(shape(&old.connection), shape(&new.connection));
    }

    #[test]
    fn several_processes_that_open_an_old_state_at_once_bring_it_up_once() {
        let folder = first_version();
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| Store::open(folder.path()).expect("opened"));
            }
        });
        let store = Store::open(folder.path()).expect("opened");
        assert_eq!(version(&store.connection).expect("asked"), FORMAT);
    }

    #[test]
    fn a_step_that_fails_changes_nothing() {
        let folder = first_version();
        let path = folder.path().join("homing.db");
        let connection = Connection::open(&path).expect("opened");
        // The step meets a table that is there already, at its very end.
        connection
            .execute_batch("CREATE TABLE vouched (other INTEGER)")
            .expect("made");
        let before = shape(&connection);
        assert!(Store::open(folder.path()).is_err());
        assert_eq!(version(&connection).expect("asked"), 1);
        assert_eq!(shape(&connection), before);
    }

    #[test]
    fn a_state_of_a_later_version_is_refused_and_not_touched() {
        let folder = first_version();
        let path = folder.path().join("homing.db");
        Connection::open(&path)
            .and_then(|connection| connection.pragma_update(None, "user_version", FORMAT + 1))
            .expect("marked");
        let before = std::fs::read(&path).expect("read");
        for opened in [Store::open(folder.path()), Store::create(folder.path())] {
            let error = opened.expect_err("refused");
            assert!(
                matches!(error, Error::NewerState { found, known, .. } if (found, known) == (FORMAT + 1, FORMAT)),
                "{error}"
            );
        }
        assert_eq!(std::fs::read(&path).expect("read"), before);
        let files = std::fs::read_dir(folder.path()).expect("listed");
        assert_eq!(files.count(), 1, "nothing was written beside it");
    }
}
