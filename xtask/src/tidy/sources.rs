//! Rules about single Rust files: header, length, unsafe code, locks, ignored tests. What clippy can see is left to clippy.

use super::scan::code_only;
use super::{Breach, Source};

/// Longer than this asks for a split; tidy insists at [`HARD_LIMIT`].
const SOFT_LIMIT: usize = 500;
const HARD_LIMIT: usize = 600;

/// The one folder with unsafe code, and the crate root above it, which can only `deny` it.
const UNSAFE_FOLDER: &str = "hal/src/linux/";
const UNSAFE_ROOT: &str = "hal/src/lib.rs";

/// Where a lock is right, each with its reason. Elsewhere one thread owns the state and others send to it.
const LOCKS: &[(&str, &str)] = &[
    (
        "hal/src/sim/",
        "one simulated world answers several connections",
    ),
    (
        "hal/src/bin/",
        "one simulated world answers several connections",
    ),
    (
        "link/src/loopback.rs",
        "the broker in memory serves both ends of a test",
    ),
    (
        "backup/src/lock/",
        "a repository's lock is renewed by a thread while its holder is busy",
    ),
    (
        "face/",
        "one simulated phone answers several requests of its page",
    ),
    ("tests/", "tests wait for what other threads saw"),
    ("bench/", "measurements gather from several threads"),
];

/// Checks every source; `roots` are the first files of all targets.
pub(super) fn check(sources: &[Source], roots: &[String]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for source in sources {
        let code = code_only(&source.text);
        breaches.extend(header(source));
        breaches.extend(length(source));
        breaches.extend(unsafe_code(source, &code, roots.contains(&source.path)));
        breaches.extend(locks(source, &code));
        breaches.extend(ignored_tests(source, &code));
    }
    breaches
}

/// Does the documentation hold an example that rustdoc would run?
pub(super) fn has_example(text: &str) -> bool {
    let mut inside = false;
    for line in text.lines().map(str::trim_start) {
        let Some(words) = line
            .strip_prefix("///")
            .or_else(|| line.strip_prefix("//!"))
        else {
            continue;
        };
        if let Some(kind) = words.trim().strip_prefix("```") {
            if !inside && ["", "rust", "no_run", "should_panic"].contains(&kind.trim()) {
                return true;
            }
            inside = !inside;
        }
    }
    false
}

fn header(source: &Source) -> Option<Breach> {
    let first = source.text.lines().next().unwrap_or_default();
    let words = first.strip_prefix("//! ").unwrap_or_default();
    (words.split_whitespace().count() < 5).then(|| {
        Breach::new(
            &source.path,
            "must open with one `//!` line that says what the file is and what it must not do",
        )
    })
}

fn length(source: &Source) -> Option<Breach> {
    let lines = source.text.lines().count();
    if lines > SOFT_LIMIT && lines <= HARD_LIMIT {
        eprintln!(
            "{}: {lines} lines, think of a split (from {HARD_LIMIT} on it must be)",
            source.path
        );
    }
    (lines > HARD_LIMIT).then(|| {
        Breach::new(
            &source.path,
            format!("has {lines} lines; split it by meaning ({SOFT_LIMIT} is the aim)"),
        )
    })
}

fn unsafe_code(source: &Source, code: &str, is_root: bool) -> Vec<Breach> {
    let mut breaches = Vec::new();
    if is_root && source.path != UNSAFE_ROOT && !code.contains("#![forbid(unsafe_code)]") {
        breaches.push(Breach::new(
            &source.path,
            "a crate root must say #![forbid(unsafe_code)]",
        ));
    }
    if source.path.starts_with(UNSAFE_FOLDER) {
        return breaches;
    }
    for (number, line) in numbered(code) {
        if words(line).any(|word| word == "unsafe") {
            breaches.push(Breach::new(
                format!("{}:{number}", source.path),
                format!("unsafe code belongs in {UNSAFE_FOLDER}"),
            ));
        }
    }
    breaches
}

fn locks(source: &Source, code: &str) -> Vec<Breach> {
    let listed = LOCKS
        .iter()
        .any(|(folder, _)| source.path.starts_with(folder));
    if listed || is_test_file(&source.path) {
        return Vec::new();
    }
    numbered(product(code))
        .filter_map(|(number, line)| {
            let lock = words(line).find(|word| ["Mutex", "RwLock", "Condvar"].contains(word))?;
            Some(Breach::new(
                format!("{}:{number}", source.path),
                format!("{lock}: give the state to one thread instead, or enter the folder with its reason in xtask/src/tidy/sources.rs"),
            ))
        })
        .collect()
}

/// What stands before the unit tests at a file's end.
pub(super) fn product(code: &str) -> &str {
    code.split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(code)
}

/// A module of unit tests in a file of its own, or a crate's own folder of tests.
pub(super) fn is_test_file(path: &str) -> bool {
    // The wiring is the daemon's own test room: its parts meet there in one process.
    path.ends_with("tests.rs") || path.contains("/tests/") || path.contains("/src/wiring/")
}

/// Reasons that name who runs a test instead: a person with a command, or another test that gives it a process.
const RUN_BY_OTHERS: [&str; 2] = ["\"by hand", "\"told by"];

fn ignored_tests(source: &Source, code: &str) -> Vec<Breach> {
    let lines: Vec<&str> = source.text.lines().collect();
    let run_by_others = |number: usize| {
        let line = lines.get(number - 1).copied().unwrap_or_default();
        RUN_BY_OTHERS.iter().any(|reason| line.contains(reason))
    };
    numbered(code)
        .filter(|(number, line)| line.contains("#[ignore") && !run_by_others(*number))
        .map(|(number, _)| {
            Breach::new(
                format!("{}:{number}", source.path),
                "an ignored test proves nothing: make it pass, remove it, or name who runs it (\"by hand: …\")",
            )
        })
        .collect()
}

/// Lines with their numbers, counted from 1.
pub(super) fn numbered(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|character: char| !character.is_alphanumeric() && character != '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches_of(path: &str, text: &str) -> Vec<String> {
        let source = Source {
            path: path.into(),
            text: format!("//! A file for a test; it must not be built.\n{text}"),
        };
        check(
            &[source],
            &["daemon/src/main.rs".into(), "hal/src/lib.rs".into()],
        )
        .into_iter()
        .map(|breach| format!("{}: {}", breach.place, breach.rule))
        .collect()
    }

    #[test]
    fn a_file_without_a_header_is_named() {
        for text in ["fn main() {}\n", "//! (see below)\n", ""] {
            let source = Source {
                path: "daemon/src/a.rs".into(),
                text: text.into(),
            };
            assert!(header(&source).is_some(), "{text:?}");
        }
        assert!(breaches_of("daemon/src/a.rs", "fn a() {}\n").is_empty());
    }

    #[test]
    fn a_file_of_more_than_six_hundred_lines_is_named() {
        let long = "fn a() {}\n".repeat(HARD_LIMIT);
        assert!(breaches_of("daemon/src/a.rs", &long)[0].contains("601 lines"));
        assert!(breaches_of("daemon/src/a.rs", &"fn a() {}\n".repeat(HARD_LIMIT - 1)).is_empty());
    }

    #[test]
    fn unsafe_code_is_named_with_its_line_but_not_the_word_in_a_comment() {
        let found = breaches_of(
            "daemon/src/a.rs",
            "// unsafe in words\nlet s = \"unsafe\";\nunsafe { b() }\n",
        );
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("daemon/src/a.rs:4: unsafe code"));
        assert!(breaches_of("hal/src/linux/pcm.rs", "unsafe { b() }\n").is_empty());
    }

    #[test]
    fn a_crate_root_must_forbid_unsafe_code() {
        assert!(
            breaches_of("daemon/src/main.rs", "fn main() {}\n")[0].contains("forbid(unsafe_code)")
        );
        assert!(breaches_of("daemon/src/main.rs", "#![forbid(unsafe_code)]\n").is_empty());
        assert!(breaches_of("hal/src/lib.rs", "#![deny(unsafe_code)]\n").is_empty());
    }

    #[test]
    fn a_lock_outside_the_list_is_named() {
        assert!(
            breaches_of("daemon/src/a.rs", "use std::sync::Mutex;\n")[0].contains("a.rs:2: Mutex")
        );
        for (path, text) in [
            ("tests/harness/a.rs", "use std::sync::Mutex;\n"),
            ("daemon/src/siren/tests.rs", "use std::sync::Mutex;\n"),
            (
                "daemon/src/a.rs",
                "#[cfg(test)]\nmod tests {\n    use std::sync::Mutex;\n}\n",
            ),
        ] {
            assert!(breaches_of(path, text).is_empty(), "{path}");
        }
    }

    #[test]
    fn an_ignored_test_is_named() {
        assert!(
            breaches_of("daemon/src/a.rs", "#[ignore = \"slow\"]\nfn a() {}\n")[0]
                .contains("ignored test")
        );
        assert!(
            breaches_of(
                "daemon/src/a.rs",
                "//! A file. It must not lie.\n#[ignore = \"by hand: cargo xtask campaign a\"]\nfn a() {}\n"
            )
            .is_empty()
        );
    }

    #[test]
    fn only_examples_that_rustdoc_runs_count() {
        assert!(has_example("/// ```\n/// a();\n/// ```\n"));
        assert!(!has_example("/// ```text\n/// a\n/// ```\n"));
        assert!(!has_example("fn a() {} // ```\n"));
    }
}
