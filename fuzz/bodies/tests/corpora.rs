//! Every input of the committed corpora goes through its target once more; nothing is searched for here.
#![forbid(unsafe_code)]

use homing_fuzz::TARGETS;
use std::path::PathBuf;

fn corpus(name: &str) -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../corpus")
        .join(name);
    let entries = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("no corpus {}: {error}", folder.display()));
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("the folder can be read").path())
        .collect();
    files.sort();
    files
}

#[test]
fn every_input_of_the_corpora_keeps_every_promise() {
    for target in TARGETS {
        let files = corpus(target.name);
        assert!(!files.is_empty(), "{} has no corpus", target.name);
        for file in files {
            let bytes = std::fs::read(&file).unwrap();
            let told = std::panic::catch_unwind(|| (target.run)(&bytes));
            assert!(told.is_ok(), "{} broke a promise", file.display());
        }
    }
}

#[test]
fn the_corpora_stay_small() {
    let files = TARGETS.iter().flat_map(|target| corpus(target.name));
    let bytes: u64 = files.map(|file| file.metadata().unwrap().len()).sum();
    assert!(bytes <= 200_000, "{bytes} bytes of corpora");
}

#[test]
fn each_target_has_an_engine() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz_targets");
    for target in TARGETS {
        let text = std::fs::read_to_string(folder.join(format!("{}.rs", target.name)));
        assert!(
            text.unwrap().contains(&format!("\"{}\"", target.name)),
            "{}",
            target.name
        );
    }
}
