//! Calls that the product makes in named places only. clippy.toml cannot tell a crate's product from its tests, so these are looked for here; it knows names, not types.

use super::scan::code_only;
use super::sources::{is_test_file, numbered, product};
use super::{Breach, Source};

/// A call with what is wrong with it elsewhere, and the files or folders where it is right.
struct Call {
    name: &'static str,
    reason: &'static str,
    places: &'static [&'static str],
}

const CALLS: &[Call] = &[
    Call {
        name: "fs::write(",
        reason: "a power cut leaves half a file: replace it through the crate's one function for that",
        // The kernel's files need no replacing.
        places: &["hal/src/scratch.rs", "hal/src/linux/lockdown/doors.rs"],
    },
    Call {
        name: "fs::rename(",
        reason: "a rename is durable only with its folder: use the crate's one function for that",
        places: &[
            "daemon/src/durable.rs",
            "daemon/src/siren/intent.rs",
            "cli/src/file.rs",
            "backup/src/store/local.rs",
            "hal/src/linux/lockdown/before.rs",
            // Notes that may be lost at any time, which then cost the next run some reading.
            "backup/src/archiver/state.rs",
        ],
    },
    Call {
        name: "SystemTime::now(",
        reason: "a phone's clock lies: ask the crate's one clock, which tests can set",
        places: &[
            "hal/src/sim/",
            "screen/src/clock.rs",
            "link/src/clock.rs",
            "daemon/src/wallclock.rs",
            "daemon/src/doctor/",
            "cli/src/clock.rs",
        ],
    },
    Call {
        name: "thread::sleep(",
        reason: "nothing wakes a sleeper: wait on a channel or a poll with a deadline",
        // The simulated world passes real time.
        places: &["hal/src/sim/"],
    },
    Call {
        name: "process::exit(",
        reason: "destructors are skipped: return an ExitCode from main",
        // The last act of a panic.
        places: &["daemon/src/exit.rs"],
    },
    Call {
        name: "Command::new(",
        reason: "another program is another trust boundary: ask the kernel, or write a decision record",
        // docs/decisions/0006 and 0014
        places: &[
            "cli/src/commands/unit.rs",
            "hal/src/linux/lockdown/openrc.rs",
        ],
    },
    Call {
        name: "tokio::spawn(",
        reason: "a task nobody owns outlives its reason: give it to one that aborts it",
        places: &["link/src/mqtt.rs", "daemon/src/worker.rs"],
    },
    Call {
        name: "env::var",
        reason: "settings come from the command line and the configuration",
        places: &[
            "daemon/src/log.rs",
            "cli/src/output.rs",
            "cli/src/commands/",
        ],
    },
];

/// The folders of what ships.
const PRODUCT: &[&str] = &[
    "protocol/src/",
    "policy/src/",
    "hal/src/",
    "screen/src/",
    "link/src/",
    "daemon/src/",
    "owner/src/",
    "cli/src/",
    "backup/src/",
];

/// Looks for each call in the product's sources, tests left out.
pub(super) fn check(sources: &[Source]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let shipped = sources.iter().filter(|source| {
        PRODUCT.iter().any(|folder| source.path.starts_with(folder)) && !is_test_file(&source.path)
    });
    for source in shipped {
        let code = code_only(&source.text);
        for (number, line) in numbered(product(&code)) {
            for call in CALLS {
                let listed = call
                    .places
                    .iter()
                    .any(|place| source.path.starts_with(place));
                if !listed && line.contains(call.name) {
                    breaches.push(Breach::new(
                        format!("{}:{number}", source.path),
                        format!("{}: {}", call.name.trim_end_matches('('), call.reason),
                    ));
                }
            }
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches_of(path: &str, text: &str) -> usize {
        check(&[Source {
            path: path.into(),
            text: text.into(),
        }])
        .len()
    }

    #[test]
    fn a_call_outside_its_places_is_named() {
        assert_eq!(
            breaches_of(
                "daemon/src/brain.rs",
                "fn a() { std::fs::write(path, text) }\n"
            ),
            1
        );
        assert_eq!(
            breaches_of("daemon/src/durable.rs", "fs::rename(&a, &b)?;\n"),
            0
        );
        assert_eq!(
            breaches_of("cli/src/main.rs", "std::process::exit(1);\n"),
            1
        );
    }

    #[test]
    fn tests_tools_and_comments_may_name_it() {
        let in_tests = "#[cfg(test)]\nmod tests {\n    fn a() { fs::write(a, b); }\n}\n";
        assert_eq!(breaches_of("daemon/src/brain.rs", in_tests), 0);
        assert_eq!(
            breaches_of("daemon/src/siren/tests.rs", "fs::write(a, b);"),
            0
        );
        assert_eq!(breaches_of("xtask/src/main.rs", "fs::write(a, b);"), 0);
        assert_eq!(
            breaches_of("daemon/src/brain.rs", "// not fs::write(a, b)\n"),
            0
        );
    }
}
