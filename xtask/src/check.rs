//! `test`, `ci` and `bench`: runs the project's own checks in order and stops at the first that fails. Decides nothing itself.

use crate::arm::Profile;
use crate::qemu::{self, Stage, Stories};
use crate::{browser, house, package, tidy, tools};

/// Which stories of tests/qemu are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guest {
    All,
    First,
    None,
}

/// The story that stands for all, as a test's path.
const FIRST_STORY: &str =
    "first::an_arm_phone_joins_is_found_rings_on_its_sound_card_and_outlives_a_power_cut";

/// `cargo xtask test [FILTER...]`.
///
/// # Errors
/// One sentence naming the check that failed.
pub(crate) fn test(filters: &[String]) -> Result<(), String> {
    everything(filters, guest_for(filters))
}

/// Whoever asks for other tests by name does not wait for a build for ARM.
fn guest_for(filters: &[String]) -> Guest {
    let wanted = filters.is_empty() || filters.iter().any(|name| FIRST_STORY.contains(name));
    if wanted { Guest::First } else { Guest::None }
}

fn everything(filters: &[String], guest: Guest) -> Result<(), String> {
    if let Some(flag) = filters.iter().find(|filter| filter.starts_with('-')) {
        return Err(format!(
            "test takes names of tests, not {flag:?}; see `cargo xtask test --help`"
        ));
    }
    let found = tools::provide(&tools::TOOLS)?;
    if filters.is_empty() {
        lint()?;
    }
    build()?;
    if filters.is_empty() {
        house::announce("tidy: the project's own rules");
        tidy::check()?;
        documentation_tests()?;
    }
    let provided = match guest {
        // With the very program that phones get, whose size and memory have limits.
        Guest::All => qemu::provide(Profile::Phone, Stories::All),
        Guest::First => qemu::provide(Profile::Quick, Stories::First),
        Guest::None => Ok(Stage::Missing(
            "not asked for: `./test` without a name tells the first, `cargo xtask qemu` all".into(),
        )),
    };
    // A build for ARM that fails is a failure, but one that does not hide what the other tests have to say.
    let (stage, failed) = match provided {
        Ok(stage) => (stage, Ok(())),
        Err(reason) => (Stage::Missing(reason.clone()), Err(reason)),
    };
    // Whoever asks for other tests by name gets no browser installed.
    let shown = filters.is_empty() || filters.iter().any(|name| name.contains("face"));
    let browser = if shown {
        browser::provide()
    } else {
        Vec::new()
    };
    let variables = [stage.variables(), browser].concat();
    let result = run_tests(filters, &found, variables);
    // Each test that was skipped has said so, but a test that passed is not listened to.
    if let Stage::Missing(reason) = stage
        && (filters.is_empty() || failed.is_err())
    {
        house::skip(&format!(
            "the stories in the emulated phone (tests/qemu): {reason}"
        ));
    }
    result.and(failed)
}

/// `cargo xtask ci [--full]`.
///
/// # Errors
/// As [`test`].
pub(crate) fn ci(arguments: &[String]) -> Result<(), String> {
    let full = match arguments {
        [] => false,
        [flag] if flag == "--full" => true,
        _ => return Err(format!("ci takes --full or nothing, not {arguments:?}")),
    };
    if full {
        house::announce("build: the release binaries");
        house::run(
            "the release build",
            house::cargo().args(["build", "--locked", "--release", "--workspace", "--bins"]),
        )?;
        everything(&[], Guest::All)?;
        package::trial()?;
        house::close(
            "ci --full: tidy, format, lints, the release, all tests, all stories in the emulated phone and the packages' trial have passed",
        );
        return Ok(());
    }
    everything(&[], Guest::First)
}

/// `cargo xtask bench [ARGS...]`: measures release builds, since nothing else is worth measuring.
///
/// # Errors
/// The build failed, or the benchmark did.
pub(crate) fn bench(arguments: &[String]) -> Result<(), String> {
    let of_the_archive = arguments
        .first()
        .is_some_and(|name| matches!(name.as_str(), "backup" | "wire" | "many"));
    let (found, wanted) = match of_the_archive {
        true => (tools::provide(tools::peers())?, "--package=homing"),
        false => (tools::provide(&tools::TOOLS)?, "--workspace"),
    };
    house::announce("build: the release binaries");
    house::run(
        "the release build",
        house::cargo()
            .args(["build", "--locked", "--release", "--bins", wanted])
            .arg("--package=homing-bench"),
    )?;
    let mut command = std::process::Command::new(house::target().join("release/homing-bench"));
    command
        .current_dir(house::root())
        .args(arguments)
        .envs(&found);
    house::run("the benchmark", &mut command)
}

/// Builds every program, so that tests can start them as processes.
///
/// # Errors
/// The build failed; cargo has said why.
pub(crate) fn build() -> Result<(), String> {
    house::announce("build: every program");
    house::run(
        "the build",
        house::cargo().args(["build", "--locked", "--workspace", "--bins"]),
    )
}

fn lint() -> Result<(), String> {
    house::announce("rustfmt: is the code formatted?");
    house::run(
        "the format check (`cargo fmt --all` repairs it)",
        house::cargo().args(["fmt", "--all", "--check"]),
    )?;
    house::announce("clippy: are there warnings?");
    house::run(
        "clippy",
        house::cargo().args([
            "clippy",
            "--locked",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]),
    )
}

/// Documentation examples. They come before the other tests: the last lines of a run are then those of all its tests.
fn documentation_tests() -> Result<(), String> {
    let with_examples = tidy::crates_with_examples()?;
    if with_examples.is_empty() {
        return Ok(());
    }
    house::announce("documentation tests");
    let mut command = house::cargo();
    command.args(["test", "--locked", "--doc"]);
    for package in with_examples {
        command.args(["--package", &package]);
    }
    house::run("a documentation test", &mut command)
}

fn run_tests(
    filters: &[String],
    found: &tools::Found,
    variables: qemu::Variables,
) -> Result<(), String> {
    house::announce("tests");
    let nextest = house::program("cargo-nextest").is_some()
        || std::env::home_dir().is_some_and(|home| home.join(".cargo/bin/cargo-nextest").is_file());
    let mut command = house::cargo();
    if nextest {
        command.args([
            "nextest",
            "run",
            "--locked",
            "--workspace",
            "--no-fail-fast",
        ]);
        command.args(filters);
    } else {
        command.args([
            "test",
            "--locked",
            "--workspace",
            "--lib",
            "--bins",
            "--tests",
            "--no-fail-fast",
            "--",
        ]);
        command.args(filters);
    }
    house::run("a test", command.envs(found).envs(variables))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_that_stands_for_all_is_told_without_names_or_by_its_own_and_not_for_others() {
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            guest_for(&names)
        };
        assert_eq!(of(&[]), Guest::First);
        assert_eq!(of(&["window", "an_arm_phone_joins_is_found"]), Guest::First);
        assert_eq!(of(&["window"]), Guest::None);
        let story = std::fs::read_to_string(house::root().join("tests/qemu/first.rs")).unwrap();
        let name = FIRST_STORY.trim_start_matches("first::");
        assert!(story.contains(&format!("fn {name}()")));
    }

    #[test]
    fn an_option_where_a_test_name_belongs_is_refused_before_anything_runs() {
        assert!(
            test(&["--fast".to_owned()])
                .unwrap_err()
                .contains("\"--fast\"")
        );
        assert!(
            ci(&["--ful".to_owned()])
                .unwrap_err()
                .contains("--full or nothing")
        );
    }
}
