//! Every shape of tree there and back: the rare ones each time, random ones by the hundred as a campaign. Kills nothing.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

#[expect(dead_code, reason = "this test program uses a part of it")]
mod forest;
#[expect(dead_code, reason = "this test program uses a part of it")]
mod oracle;
#[expect(dead_code, reason = "this test program uses a part of it")]
mod victim;

use forest::Forest;
use homing_backup::archiver::{self, Done, Unobserved};
use homing_backup::clock::SystemClock;
use homing_backup::reader::Reader;
use homing_backup::repository::Repository;
use homing_backup::restore::{self, Conflicts, Selection, Unwatched};
use homing_backup::store::{LocalStore, MemoryStore, Store};
use homing_backup::verify::{self, Depth};
use oracle::{PASSWORD, Restic};
use rustix::fs::{CWD, FileType, Mode, XattrFlags};
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::Path;
use std::time::Instant;

fn create<S: Store>(store: S) -> Repository<S> {
    Repository::create(store, PASSWORD.as_bytes(), &forest::maker()).unwrap()
}

fn back_up<S: Store>(ours: &Repository<S>, path: &Path) -> Done {
    let clock = SystemClock;
    let done =
        archiver::backup(ours, &[path], &forest::options(), &clock, &mut Unobserved).unwrap();
    let summary = done.snapshot.summary.clone().unwrap();
    assert_eq!(summary.errors, 0, "{:?}", summary.unreadable);
    done
}

/// Restores a snapshot; the folder that lies below the target as `path` lies below `/`.
fn there_and_back<S: Store>(ours: &Repository<S>, done: &Done, path: &Path, target: &Path) {
    let mut reader = Reader::new(ours).unwrap();
    let restored = restore::execute(
        &mut reader,
        done.snapshot.tree,
        &Selection::default(),
        target,
        Conflicts::Keep,
        &mut Unwatched,
    )
    .unwrap();
    assert_eq!((restored.errors, restored.already_there), (0, 0));
    assert!(target.join(path.strip_prefix("/").unwrap()).is_dir());
}

#[test]
fn sockets_default_lists_of_access_and_links_of_all_kinds_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    rustix::fs::mknodat(
        CWD,
        path.join("socket"),
        FileType::Socket,
        Mode::from(0o750),
        0,
    )
    .unwrap();
    std::fs::create_dir(path.join("shared")).unwrap();
    // A file system without lists of access is fine.
    let _ = rustix::fs::lsetxattr(
        path.join("shared"),
        "system.posix_acl_default",
        &forest::acl(),
        XattrFlags::empty(),
    );
    // Only the superuser may set these.
    let _ = rustix::fs::lsetxattr(path.join("shared"), "trusted.x", b"", XattrFlags::empty());
    for (name, leads) in [("dangling", "nowhere"), ("self", "self"), ("up", "../..")] {
        symlink(leads, path.join(name)).unwrap();
    }
    symlink("x".repeat(4_000), path.join("long")).unwrap();
    // Pipes have several names too.
    rustix::fs::mknodat(CWD, path.join("pipe"), FileType::Fifo, Mode::from(0o600), 0).unwrap();
    for number in 0..3 {
        std::fs::write(path.join(format!("empty {number}")), "").unwrap();
    }
    std::fs::hard_link(path.join("empty 0"), path.join("shared/of empty 0")).unwrap();
    let mut deep = path.clone();
    for _ in 0..60 {
        deep.push("deeper and deeper");
        std::fs::create_dir(&deep).unwrap();
    }
    let ours = create(MemoryStore::default());
    let done = back_up(&ours, &path);
    let target = tempfile::tempdir().unwrap();
    there_and_back(&ours, &done, &path, target.path());
    forest::assert_same(&path, &target.path().join(path.strip_prefix("/").unwrap()));
}

/// Files of a folder with so many of them.
fn crowded(entries: u32) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    for number in 0..entries {
        std::fs::write(path.join(format!("photo {number}")), number.to_le_bytes()).unwrap();
    }
    let ours = create(MemoryStore::default());
    let done = back_up(&ours, &path);
    let target = tempfile::tempdir().unwrap();
    there_and_back(&ours, &done, &path, target.path());
    let inside = target.path().join(path.strip_prefix("/").unwrap());
    for number in 0..entries {
        let content = std::fs::read(inside.join(format!("photo {number}"))).unwrap();
        assert_eq!(content, number.to_le_bytes());
    }
    assert_eq!(std::fs::read_dir(inside).unwrap().count(), entries as usize);
}

#[test]
fn a_crowded_folder_comes_back() {
    crowded(2_000);
}

/// A file of that many bytes with a few bytes at its end and nothing before them.
fn sparse(bytes: u64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    let file = std::fs::File::create(path.join("sparse")).unwrap();
    file.set_len(bytes).unwrap();
    file.write_at(b"the end", bytes - 7).unwrap();
    let ours = create(MemoryStore::default());
    let done = back_up(&ours, &path);
    let target = tempfile::tempdir().unwrap();
    there_and_back(&ours, &done, &path, target.path());
    let back = target
        .path()
        .join(path.strip_prefix("/").unwrap())
        .join("sparse");
    let stat = back.metadata().unwrap();
    assert_eq!(stat.len(), bytes);
    let most = 20 << 20;
    assert!(stat.blocks() * 512 < most, "{} blocks", stat.blocks());
    let mut end = [1; 1007];
    let back = std::fs::File::open(back).unwrap();
    back.read_exact_at(&mut end, bytes - 1007).unwrap();
    assert!(end[..1000].iter().all(|byte| *byte == 0) && &end[1000..] == b"the end");
}

#[test]
fn holes_come_back_as_holes() {
    sparse(100 << 20);
}

#[test]
#[ignore = "by hand: cargo xtask campaign archive-trees"]
fn a_campaign_of_random_trees() {
    let (trees, seed) = victim::wanted(100);
    let began = Instant::now();
    let (mut snapshots, mut by_restic) = (0, 0);
    crowded(100_000);
    sparse(5 << 30);
    let mut repository = None;
    for tree in 0..trees {
        // Several repositories, so that none grows without bounds.
        if tree % 20 == 0 {
            repository = None;
        }
        let (folder, ours) = repository.get_or_insert_with(|| {
            let folder = tempfile::tempdir().unwrap();
            let ours = create(LocalStore::new(folder.path()));
            (folder, ours)
        });
        let restic = Restic::on(folder.path());
        let mut forest = Forest::grow(seed + tree);
        for _ in 0..3 {
            let done = back_up(ours, forest.path());
            snapshots += 1;
            let inside = forest.path().strip_prefix("/").unwrap().to_path_buf();
            let target = tempfile::tempdir().unwrap();
            there_and_back(ours, &done, forest.path(), target.path());
            forest::assert_same(forest.path(), &target.path().join(&inside));
            if let Some(restic) = &restic {
                let target = tempfile::tempdir().unwrap();
                let to = target.path().to_str().unwrap();
                restic.run(&["restore", &done.id.to_string(), "--target", to]);
                forest::assert_same(forest.path(), &target.path().join(&inside));
                by_restic += 1;
            }
            forest.change();
        }
        if tree % 20 == 19 || tree + 1 == trees {
            let found = verify::verify(ours, Depth::All, &mut |_, _| false).unwrap();
            assert_eq!((found.damage, found.unindexed_packs), (Vec::new(), 0));
            restic.iter().for_each(Restic::check);
            eprintln!("{} of {trees} trees", tree + 1);
        }
    }
    let seconds = began.elapsed().as_secs();
    victim::tell(&format!(
        "{{\n  \"campaign\": \"archive-trees\",\n  \"first_seed\": {seed},\n  \"trees\": {trees},\n  \"snapshots\": {snapshots},\n  \"restored_by_homing\": {snapshots},\n  \"restored_by_restic\": {by_restic},\n  \"entries_in_one_folder\": 100000,\n  \"sparse_file_bytes\": {},\n  \"differences\": 0,\n  \"seconds\": {seconds}\n}}",
        5_u64 << 30
    ));
}
