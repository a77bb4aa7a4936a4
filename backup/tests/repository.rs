//! Repositories of ours under restic's eyes and repositories of restic under ours. Backs up nothing with our archiver.
#![forbid(unsafe_code)]

#[expect(dead_code, reason = "this test program uses a part of it")]
mod oracle;

use homing_backup::key::Maker;
use homing_backup::pack::BlobKind;
use homing_backup::repository::Repository;
use homing_backup::store::{Kind, LocalStore};
use homing_backup::{Error, Id, Timestamp, tree};
use oracle::{PASSWORD, Restic};

fn maker() -> Maker {
    Maker {
        user: "anna".into(),
        host: "phone".into(),
        at: Timestamp::new(1_790_000_000, 5),
    }
}

#[test]
fn restic_opens_a_repository_that_we_made() {
    let folder = tempfile::tempdir().unwrap();
    let Some(restic) = Restic::on(folder.path()) else {
        return;
    };
    let store = LocalStore::new(folder.path());
    let ours = Repository::create(store.clone(), PASSWORD.as_bytes(), &maker()).unwrap();
    assert!(
        restic
            .run(&["cat", "config"])
            .contains(&ours.config().id.to_string())
    );
    restic.check();
    assert!(matches!(
        Repository::create(store.clone(), b"x", &maker()),
        Err(Error::AlreadyARepository)
    ));
    assert!(matches!(
        Repository::open(store, b"wrong"),
        Err(Error::WrongPassword { keys: 1 })
    ));
    let nothing = LocalStore::new(folder.path().join("nothing"));
    assert!(matches!(
        Repository::open(nothing, b"x"),
        Err(Error::NotARepository)
    ));
}

#[test]
fn we_read_a_repository_that_restic_made() {
    let folder = tempfile::tempdir().unwrap();
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("a"), b"content of a ".repeat(1000)).unwrap();
    std::fs::write(files.path().join("b"), b"b").unwrap();
    let Some(restic) = Restic::on(folder.path()) else {
        return;
    };
    restic.run(&["init", "--repository-version", "2"]);
    restic.run(&["backup", "--tag", "t", files.path().to_str().unwrap()]);

    let ours = Repository::open(LocalStore::new(folder.path()), PASSWORD.as_bytes()).unwrap();
    ours.chunker().unwrap();
    let snapshots = ours.snapshots().unwrap();
    assert_eq!(snapshots.len(), 1);
    let snapshot = &snapshots[0].1;
    assert_eq!((snapshot.tags.len(), snapshot.paths.len()), (1, 1));
    let index = ours.load_index().unwrap();
    let (mut sealed, mut out) = (Vec::new(), Vec::new());
    let mut tree = snapshot.tree;
    for part in files.path().components().skip(1) {
        ours.load_blob(&index, BlobKind::Tree, &tree, &mut sealed, &mut out)
            .unwrap();
        let nodes = tree::parse(&out).unwrap();
        let name = part.as_os_str().to_str().unwrap().as_bytes();
        tree = nodes
            .iter()
            .find(|node| node.name == name)
            .unwrap()
            .subtree
            .unwrap();
    }
    ours.load_blob(&index, BlobKind::Tree, &tree, &mut sealed, &mut out)
        .unwrap();
    let nodes = tree::parse(&out).unwrap();
    assert_eq!(nodes.len(), 2);
    let blob = nodes[0].content.as_ref().unwrap()[0];
    ours.load_blob(&index, BlobKind::Data, &blob, &mut sealed, &mut out)
        .unwrap();
    assert_eq!(out, b"content of a ".repeat(1000));
    let mut again = tree::TreeWriter::default();
    nodes.iter().for_each(|node| again.push(node));
    assert_eq!(
        Id::of(&again.finish()),
        tree,
        "a tree of restic must be written back byte for byte"
    );
    for (pack, size) in ours.list(Kind::Pack).unwrap() {
        let entries = ours.pack_entries(pack, size).unwrap();
        assert!(entries.iter().all(|entry| {
            index
                .find(entry.kind, &entry.id)
                .is_some_and(|(_, known)| known == *entry)
        }));
    }
}

#[test]
fn a_repository_of_version_1_is_read_but_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let Some(restic) = Restic::on(folder.path()) else {
        return;
    };
    restic.run(&["init", "--repository-version", "1"]);
    let ours = Repository::open(LocalStore::new(folder.path()), PASSWORD.as_bytes()).unwrap();
    assert!(matches!(ours.writable(), Err(Error::OldVersion)));
}
