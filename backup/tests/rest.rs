//! The REST store against a server that is restic's equal in manners, and against one that has none. Backs up little.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

#[expect(dead_code, reason = "this test program uses a part of it")]
mod forest;
#[expect(dead_code, reason = "this test program uses a part of it")]
mod oracle;
mod server;

use forest::Forest;
use homing_backup::archiver::{self, Done, Unobserved};
use homing_backup::clock::SystemClock;
use homing_backup::repository::Repository;
use homing_backup::store::{
    Class, Going, Kind, Name, Patience, PatientStore, RestOptions, RestStore, Store, StoreError,
    conformance,
};
use homing_backup::verify::{self, Depth};
use homing_backup::{Error, Id, Timestamp};
use oracle::{PASSWORD, Restic};
use server::{Server, Treat, Version};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use zeroize::Zeroizing;

/// Gives up soon: for servers that hang or would never end. Whether one that is well answers in time is not asked with this.
fn hasty() -> RestOptions {
    RestOptions {
        silence: Duration::from_secs(2),
        slowest_bytes_per_second: 10 << 20,
        ..RestOptions::default()
    }
}

/// Waits as in use, a minute and longer.
fn store(server: &Server, path: &str) -> RestStore {
    RestStore::new(&server.address(path), &RestOptions::default()).unwrap()
}

fn hasty_store(server: &Server) -> RestStore {
    RestStore::new(&server.address("r"), &hasty()).unwrap()
}

/// Pauses that take no time; counts them.
#[derive(Clone, Default)]
struct Fast(Rc<Cell<Duration>>);

impl Patience for Fast {
    fn now(&self) -> Duration {
        self.0.get()
    }

    fn wait(&self, time: Duration, _: &StoreError) -> Going {
        self.0.set(self.0.get() + time);
        Going::On
    }
}

fn patient(server: &Server) -> PatientStore<RestStore, Fast> {
    PatientStore::new(store(server, "r"), Fast::default(), Duration::from_secs(60))
}

fn back_up<S: Store>(repository: &Repository<S>, forest: &Forest) -> Result<Done, Error> {
    archiver::backup(
        repository,
        &[forest.path()],
        &forest::options(),
        &SystemClock,
        &mut Unobserved,
    )
}

#[test]
fn a_server_of_either_version_conforms() {
    for version in [Version::One, Version::Two] {
        let server = Server::start(version, None);
        conformance::check(&|case| store(&server, case)).unwrap();
    }
}

#[test]
fn restic_and_we_work_on_one_server_in_turns() {
    let server = Server::start(Version::Two, None);
    let Some(restic) = Restic::at(&format!("rest:{}", server.address("r"))) else {
        return;
    };
    restic.run(&["init", "--repository-version", "2"]);
    let forest = Forest::grow(31);
    restic.run(&["backup", "--host", "other", forest.path().to_str().unwrap()]);
    let ours = Repository::open(store(&server, "r"), PASSWORD.as_bytes()).unwrap();
    let done = back_up(&ours, &forest).unwrap();
    assert_eq!(done.stored.data_blobs, 0, "restic's own cuts are used");
    restic.check();
    let target = tempfile::tempdir().unwrap();
    let to = target.path().to_str().unwrap();
    restic.run(&["restore", &done.id.to_string(), "--target", to]);
    let inside = target.path().join(forest.path().strip_prefix("/").unwrap());
    forest::assert_same(forest.path(), &inside);
}

#[test]
fn a_login_is_sent_and_a_wrong_one_is_refused_as_denied() {
    // base64("anna:hunter2")
    let server = Server::start(Version::Two, Some("Basic YW5uYTpodW50ZXIy"));
    let denied = store(&server, "r").prepare().unwrap_err();
    assert_eq!(denied.class, Class::Denied, "{denied}");
    let options = RestOptions {
        login: Some(("anna".into(), Zeroizing::new("hunter2".into()))),
        ..RestOptions::default()
    };
    RestStore::new(&server.address("r"), &options)
        .unwrap()
        .prepare()
        .unwrap();
}

#[test]
fn each_misbehaviour_is_told_for_what_it_is() {
    let server = Server::start(Version::Two, None);
    let (store, hasty) = (store(&server, "r"), hasty_store(&server));
    let content = vec![7; 300_000];
    let name = Name::File(Kind::Pack, Id::of(&content));
    store.put(name, &content).unwrap();
    for (treat, class) in [
        (Treat::Status(500), Class::Temporary),
        (Treat::Status(503), Class::Temporary),
        (Treat::Status(429), Class::Temporary),
        (Treat::Status(507), Class::Full),
        (Treat::Status(403), Class::Denied),
        (Treat::Status(302), Class::Permanent),
        (Treat::Status(400), Class::Permanent),
        (Treat::Status(404), Class::Missing),
        (Treat::Hang, Class::Temporary),
        (Treat::DoAndReset, Class::Temporary),
        (Treat::ResetInBody, Class::Temporary),
        (Treat::TooShort, Class::Temporary),
        (Treat::Trickle, Class::Temporary),
        (Treat::TrickleHead, Class::Temporary),
        (Treat::Status(204), Class::Permanent),
        (Treat::Status(206), Class::Permanent),
        (
            Treat::Lie("200 x\r\nContent-Length: 300010"),
            Class::Temporary,
        ),
        (
            Treat::Lie("200 x\r\nContent-Length: 99999999999999"),
            Class::Permanent,
        ),
        (
            Treat::Lie("200 x\r\nContent-Length: many"),
            Class::Temporary,
        ),
    ] {
        server.treat(std::slice::from_ref(&treat));
        // Those of whom only time tells are given little; the others must be told apart however long it takes.
        let endless = matches!(treat, Treat::Hang | Treat::Trickle | Treat::TrickleHead);
        let asked = if endless { &hasty } else { &store };
        let failed = asked.get(name).unwrap_err();
        assert_eq!(failed.class, class, "{treat:?}: {failed}");
        assert_eq!(store.get(name).unwrap(), content, "after {treat:?}");
    }
    server.treat(&[Treat::Slow]);
    assert_eq!(store.get(name).unwrap(), content);
}

#[test]
fn no_answer_but_a_success_is_taken_for_one_by_any_request() {
    let server = Server::start(Version::Two, None);
    let store = store(&server, "r");
    let name = Name::File(Kind::Index, Id::of(b"index"));
    store.put(name, b"index").unwrap();
    let requests: [fn(&RestStore, Name) -> Option<StoreError>; 7] = [
        |store, _| store.prepare().err(),
        |store, _| store.list(Kind::Index, &mut |_, _| {}).err(),
        |store, name| store.size(name).err(),
        |store, name| store.written(name).err(),
        |store, name| store.get(name).err(),
        |store, name| store.get_range(name, 1, 2, &mut Vec::new()).err(),
        |store, name| store.remove(name).err(),
    ];
    for code in (200..=599).filter(|code| ![200, 201, 204, 206].contains(code)) {
        for (number, request) in requests.iter().enumerate() {
            // A list that is missing is empty; a part that is not to be had is cut from the whole.
            if (number == 1 && [404, 410].contains(&code)) || (number == 5 && code == 416) {
                continue;
            }
            server.treat(&[Treat::Status(code)]);
            assert!(
                request(&store, name).is_some(),
                "{code} to request {number}"
            );
            server.treat(&[]);
        }
    }
    assert_eq!(store.get(name).unwrap(), b"index");
}

#[test]
fn a_server_that_lies_about_parts_or_gives_none_is_seen_through() {
    let server = Server::start(Version::Two, None);
    let store = store(&server, "r");
    let content: Vec<u8> = (0..100).collect();
    let name = Name::File(Kind::Pack, Id::of(&content));
    store.put(name, &content).unwrap();
    let mut buffer = Vec::new();
    server.treat(&[Treat::NoParts]);
    store.get_range(name, 10, 5, &mut buffer).unwrap();
    assert_eq!(buffer, content[10..15]);
    for lie in [
        // Another place, another length, no place, a place beyond the end, an end before its time, more than was asked for.
        "206 x\r\nContent-Length: 5\r\nContent-Range: bytes 11-15/100",
        "206 x\r\nContent-Length: 5\r\nContent-Range: bytes 10-13/100",
        "206 x\r\nContent-Length: 5",
        "206 x\r\nContent-Length: 5\r\nContent-Range: bytes 10-14/12",
        "206 x\r\nContent-Length: 5\r\nContent-Range: bytes 14-10/100",
        "206 x\r\nContent-Length: 4\r\nContent-Range: bytes 10-13/100",
        "206 x\r\nContent-Length: 4\r\nContent-Range: bytes 10-13/*",
        "206 x\r\nContent-Length: 6\r\nContent-Range: bytes 10-15/100",
        "206 x\r\nContent-Length: 5\r\nContent-Range: bytes 0-18446744073709551615/*",
    ] {
        server.treat(&[Treat::Lie(lie)]);
        assert!(store.get_range(name, 10, 5, &mut buffer).is_err(), "{lie}");
        server.treat(&[]);
    }
    // A listing or a size that is not true is found out when the file is read.
    server.treat(&[Treat::Lie("200 x\r\nContent-Length: 7")]);
    assert_eq!(store.size(name).unwrap(), 7);
    assert_eq!(store.get(name).unwrap(), content);
}

#[test]
fn a_server_that_takes_a_pack_too_slowly_is_given_up_in_time() {
    let server = Server::start(Version::Two, None);
    let store = hasty_store(&server);
    // At the server's pace it would take more than ten minutes, and the test its time out.
    let content = forest::noise(5, 16 << 20);
    server.treat(&[Treat::TakeSlowly]);
    let failed = store
        .put(Name::File(Kind::Pack, Id::of(&content)), &content)
        .unwrap_err();
    assert_eq!(failed.class, Class::Temporary, "{failed}");
}

#[test]
fn a_servers_own_date_of_a_file_is_read() {
    let server = Server::start(Version::Two, None);
    let store = patient(&server);
    let name = Name::File(Kind::Lock, Id::of(b"lock"));
    store.put(name, b"lock").unwrap();
    assert_eq!(
        store.written(name).unwrap(),
        Some(Timestamp::new(784_111_777, 0))
    );
}

#[test]
fn nobody_there_is_temporary() {
    // The near end of a connection: the port is taken for as long as it lasts, and nobody listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let address = format!("http://{}/r", taken.local_addr().unwrap());
    let store = RestStore::new(&address, &RestOptions::default()).unwrap();
    assert_eq!(store.prepare().unwrap_err().class, Class::Temporary);
}

#[test]
fn a_file_whose_acknowledgement_was_lost_is_stored_once_and_believed() {
    let server = Server::start(Version::Two, None);
    let store = patient(&server);
    let name = Name::File(Kind::Pack, Id::of(b"pack"));
    server.treat(&[Treat::DoAndReset]);
    store.put(name, b"pack").unwrap();
    assert_eq!(store.get(name).unwrap(), b"pack");
    server.treat(&[Treat::DoAndReset]);
    store.remove(name).unwrap();
    assert_eq!(store.get(name).unwrap_err().class, Class::Missing);
}

#[test]
fn a_backup_through_a_server_with_bad_days_is_complete() {
    let server = Server::start(Version::Two, None);
    let repository =
        Repository::create(patient(&server), PASSWORD.as_bytes(), &forest::maker()).unwrap();
    let forest = Forest::grow(32);
    let bad_day: Vec<Treat> = [
        Treat::Status(500),
        Treat::Well,
        Treat::DoAndReset,
        Treat::Well,
        Treat::ResetInBody,
        Treat::TooShort,
        Treat::Slow,
        Treat::Status(503),
    ]
    .into_iter()
    .cycle()
    .take(80)
    .collect();
    server.treat(&bad_day);
    let done = back_up(&repository, &forest).unwrap();
    assert_eq!(done.snapshot.summary.unwrap().errors, 0);
    let found = verify::verify(&repository, Depth::All, &mut |_, _| false).unwrap();
    assert_eq!((found.damage, found.unindexed_packs), (Vec::new(), 0));
}

#[test]
fn a_server_that_stays_broken_ends_the_run_without_a_snapshot_and_without_spinning() {
    let server = Server::start(Version::Two, None);
    let repository =
        Repository::create(patient(&server), PASSWORD.as_bytes(), &forest::maker()).unwrap();
    let forest = Forest::grow(33);
    for (status, class) in [(500, Class::Temporary), (507, Class::Full)] {
        let before = server.requests();
        server.treat(&vec![Treat::Status(status); 300]);
        let failed = back_up(&repository, &forest).unwrap_err();
        assert!(
            matches!(failed, Error::Store(ref error) if error.class == class),
            "{failed}"
        );
        let asked = server.requests() - before;
        assert!(
            asked < 60,
            "{asked} requests to a server that answers {status}"
        );
        server.treat(&[]);
        assert!(repository.list(Kind::Snapshot).unwrap().is_empty());
    }
    back_up(&repository, &forest).unwrap();
}
