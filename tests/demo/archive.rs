//! The tour's last step: a folder with a phone's files is kept in a repository, lost, and brought back byte for byte. It must not compare anything but the files themselves.

use crate::household::Household;
use crate::stage::Stage;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The folder that stands for a phone's files, beside the owner's.
const FILES: &str = "pictures";

/// Where they are kept.
const REPOSITORY: &str = "backups";

/// Size of a picture, bytes: about what a phone's camera writes.
const PICTURE: usize = 2_500_000;

/// Backs up, changes a little, backs up again, loses everything, restores.
pub(crate) fn brought_back(stage: &Stage, household: &Household) {
    stage.heading("7. What was on it: kept encrypted, in a repository that plain restic reads");
    stage.say("(from folders, by hand, today; phones do not do it by themselves yet)");
    let work = household.owner.work();
    let files = work.join(FILES);
    for number in 1..=4u64 {
        write(
            &files.join(format!("2026/IMG_{number}.jpg")),
            &picture(number),
        );
    }
    write(
        &files.join("notes.txt"),
        b"the key is under the third flowerpot\n",
    );
    let password = work.join("password");
    write(&password, b"only for this tour\n");
    let run = |words: &[&str]| {
        let at = ["--repository", REPOSITORY, "--password-file", "password"];
        household.homing(stage, &[words, &at].concat())
    };
    run(&["init-repository"]);
    run(&["backup", FILES]);
    write(&files.join("2026/IMG_5.jpg"), &picture(5));
    stage.say("(a picture is taken)");
    run(&["backup", FILES]);
    let before = content(&files);
    // As the archive names it: the temporary folder may be a link.
    let whole = files
        .canonicalize()
        .unwrap_or_else(|error| panic!("could not find {}: {error}", files.display()));
    remove(&files);
    stage.say("(everything is lost)");
    run(&["restore", "latest", "--to", "."]);
    // A restore puts things where they were: below its target, at their whole path.
    let restored = work.join(whole.strip_prefix("/").unwrap_or(&whole));
    assert_eq!(before.len(), 6, "{:?}", before.keys());
    assert!(
        content(&restored) == before,
        "what came back is not what was lost"
    );
    run(&["verify", "--all"]);
    stage.say("All six files are back, byte for byte.");
}

/// Bytes that look like nothing and are the same at each tour (xorshift64, Marsaglia 2003).
fn picture(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..PICTURE / 8).flat_map(|_| word()).collect()
}

/// Every file below a folder, by its path in it.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(next) = open.pop() {
        let entries = std::fs::read_dir(&next)
            .unwrap_or_else(|error| panic!("could not list {}: {error}", next.display()));
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                open.push(path);
            } else {
                let bytes = std::fs::read(&path)
                    .unwrap_or_else(|error| panic!("could not read {}: {error}", path.display()));
                let inside = path.strip_prefix(folder).unwrap_or(&path);
                found.insert(inside.to_path_buf(), bytes);
            }
        }
    }
    found
}

fn write(path: &Path, bytes: &[u8]) {
    let above = path.parent().unwrap_or(path);
    std::fs::create_dir_all(above)
        .and_then(|()| std::fs::write(path, bytes))
        .unwrap_or_else(|error| panic!("could not write {}: {error}", path.display()));
}

fn remove(folder: &Path) {
    std::fs::remove_dir_all(folder)
        .unwrap_or_else(|error| panic!("could not remove {}: {error}", folder.display()));
}
