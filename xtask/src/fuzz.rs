//! `cargo xtask fuzz TARGET`: libFuzzer on one of the bodies in fuzz/bodies, then the smallest corpus that reaches as much. It must not judge: the bodies do.

use crate::house;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Coverage as libFuzzer reads it (LLVM's SanitizerCoverage): all of it is stable, so no other compiler is needed.
/// Address checking is left out on purpose: the readers are safe Rust.
const INSTRUMENT: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";
/// Longest input that is tried, bytes: twice the longest envelope.
const LONGEST_INPUT: u32 = 8_192;
/// Bytes that one target's committed corpus may take: twenty of them stay below 200 KB.
const LARGEST_CORPUS: u64 = 10_000;
/// How long a run is when nothing is said, seconds.
const SECONDS: u64 = 60;

/// Where one target's things lie.
struct Places {
    program: PathBuf,
    /// Inputs that are committed.
    corpus: PathBuf,
    /// Inputs that runs on this machine have found.
    found: PathBuf,
    /// Inputs that broke a promise.
    crashes: PathBuf,
}

/// `cargo xtask fuzz TARGET [--seconds N]`.
///
/// # Errors
/// One sentence: an unknown target or option, a build that failed, or where the input lies that broke a promise.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let (target, seconds) = read(arguments)?;
    let places = build(&target)?;
    for folder in [&places.corpus, &places.found, &places.crashes] {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("could not make {}: {error}", folder.display()))?;
    }
    house::announce(&format!("fuzz {target}: {seconds} s"));
    let log = search(&places, seconds)?;
    shrink(&places)?;
    note(&target, &log)
}

fn read(arguments: &[String]) -> Result<(String, u64), String> {
    let known = targets()?;
    let (target, options) = arguments
        .split_first()
        .ok_or_else(|| format!("fuzz takes a target, one of {}", known.join(", ")))?;
    if !known.contains(target) {
        return Err(format!(
            "there is no target {target:?}, only {}",
            known.join(", ")
        ));
    }
    let seconds = match options {
        [] => SECONDS,
        [option, number] if option == "--seconds" => number
            .parse()
            .map_err(|_| format!("--seconds takes a whole number, not {number:?}"))?,
        _ => return Err(format!("fuzz takes --seconds N, not {options:?}")),
    };
    Ok((target.clone(), seconds))
}

/// The engine's targets: a file each.
fn targets() -> Result<Vec<String>, String> {
    let folder = house::root().join("fuzz/fuzz_targets");
    let entries = std::fs::read_dir(&folder)
        .map_err(|error| format!("could not read {}: {error}", folder.display()))?;
    let mut names: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_suffix(".rs").map(str::to_owned)
        })
        .collect();
    names.sort();
    Ok(names)
}

fn build(target: &str) -> Result<Places, String> {
    let machine = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let folder = house::target().join("fuzz");
    let manifest = house::root().join("fuzz/Cargo.toml");
    house::announce("build: the engine");
    let mut command = house::cargo();
    command
        .args(["build", "--locked", "--release", "--manifest-path"])
        .arg(&manifest)
        .args(["--target", &machine, "--bin", target])
        .env("CARGO_TARGET_DIR", &folder)
        .env("RUSTFLAGS", INSTRUMENT);
    if let Some(feature) = needed_feature(&manifest, target)? {
        command.args(["--features", &feature]);
    }
    house::run("the build of the engine", &mut command)?;
    let own = folder.join("runs").join(target);
    Ok(Places {
        program: folder.join(machine).join("release").join(target),
        corpus: house::root().join("fuzz/corpus").join(target),
        found: own.join("found"),
        crashes: own.join("crashes"),
    })
}

/// The feature that the manifest says this target needs.
fn needed_feature(manifest: &Path, target: &str) -> Result<Option<String>, String> {
    let text = std::fs::read_to_string(manifest)
        .map_err(|error| format!("could not read {}: {error}", manifest.display()))?;
    let own = format!("name = \"{target}\"");
    let section = text.split("[[bin]]").find(|section| section.contains(&own));
    let named = section.and_then(|section| section.split_once("required-features = [\""));
    Ok(named
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(feature, _)| feature.to_owned()))
}

/// Runs the engine; its words, which are those of libFuzzer.
fn search(places: &Places, seconds: u64) -> Result<String, String> {
    let output = Command::new(&places.program)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={LONGEST_INPUT}"))
        .args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"])
        .arg(format!("-artifact_prefix={}/", places.crashes.display()))
        .args([&places.found, &places.corpus])
        .output()
        .map_err(|error| format!("could not start {}: {error}", places.program.display()))?;
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        return Ok(log);
    }
    let told: Vec<_> = log.lines().rev().take(40).collect();
    for line in told.iter().rev() {
        eprintln!("{line}");
    }
    Err(format!(
        "a promise was broken; the input lies in {}",
        places.crashes.display()
    ))
}

/// Replaces the committed corpus by the fewest inputs that reach every edge which any known input reaches, as far as
/// they fit; the smallest first.
fn shrink(places: &Places) -> Result<(), String> {
    let fresh = places.found.with_file_name("fresh");
    // A folder that a run before this one left half done.
    let _ = std::fs::remove_dir_all(&fresh);
    let trouble = |error: std::io::Error| format!("could not shrink the corpus: {error}");
    std::fs::create_dir_all(&fresh).map_err(trouble)?;
    let status = Command::new(&places.program)
        .args(["-merge=1", "-use_counters=0"])
        .arg(format!("-max_len={LONGEST_INPUT}"))
        .args([&fresh, &places.corpus, &places.found])
        .output()
        .map_err(trouble)?;
    if !status.status.success() {
        return Err("libFuzzer could not merge the corpora".into());
    }
    let mut inputs = Vec::new();
    for entry in std::fs::read_dir(&fresh).map_err(trouble)? {
        let entry = entry.map_err(trouble)?;
        inputs.push((entry.metadata().map_err(trouble)?.len(), entry.path()));
    }
    inputs.sort();
    std::fs::remove_dir_all(&places.corpus).map_err(trouble)?;
    std::fs::create_dir_all(&places.corpus).map_err(trouble)?;
    let mut room = LARGEST_CORPUS;
    for (length, path) in inputs {
        let Some(name) = path.file_name() else {
            continue;
        };
        let Some(left) = room.checked_sub(length) else {
            break;
        };
        std::fs::copy(&path, places.corpus.join(name)).map_err(trouble)?;
        room = left;
    }
    Ok(())
}

/// The number after a word in libFuzzer's last line that has it.
fn figure(log: &str, word: &str) -> Option<u64> {
    let line = log.lines().rev().find(|line| line.contains(word))?;
    let (_, rest) = line.split_once(word)?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Adds the run to docs/evidence/fuzz.json: executions and seconds are summed over all runs.
fn note(target: &str, log: &str) -> Result<(), String> {
    let path = house::root().join("docs/evidence/fuzz.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|_| "{}".into());
    let mut all: Value = serde_json::from_str(&text)
        .map_err(|error| format!("{} is not JSON: {error}", path.display()))?;
    let executions = figure(log, "stat::number_of_executed_units:").unwrap_or(0);
    let seconds = figure(log, "runs in ").unwrap_or(0);
    let edges = figure(log, "cov: ").unwrap_or(0);
    let before = |field: &str| all[target][field].as_u64().unwrap_or(0);
    let findings = match &all[target]["findings"] {
        Value::Array(known) => known.clone(),
        _ => Vec::new(),
    };
    let entry = json!({
        "executions": before("executions") + executions,
        "seconds": before("seconds") + seconds,
        "edges": before("edges").max(edges),
        "findings": findings,
    });
    all[target] = entry;
    let text = format!("{all:#}\n");
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("could not make {}: {error}", folder.display()))?;
    }
    std::fs::write(&path, text)
        .map_err(|error| format!("could not write {}: {error}", path.display()))?;
    eprintln!("{target}: {executions} executions, {edges} edges in {seconds} s");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libfuzzers_figures_are_read_from_its_last_lines() {
        let log = "#2 INITED cov: 12 ft: 13 corp: 1/1b\n#900 NEW cov: 345 ft: 400\nDone 9000 runs in 61 second(s)\nstat::number_of_executed_units: 9000\n";
        assert_eq!(figure(log, "cov: "), Some(345));
        assert_eq!(figure(log, "runs in "), Some(61));
        assert_eq!(figure(log, "stat::number_of_executed_units:"), Some(9000));
        assert_eq!(figure(log, "nothing "), None);
    }

    #[test]
    fn an_unknown_target_is_told_which_there_are() {
        let message = read(&["wether".into()]).unwrap_err();
        assert!(message.contains("\"wether\"") && message.contains("cbor"));
        let options = ["cbor", "--seconds", "7"].map(str::to_owned);
        assert_eq!(read(&options), Ok(("cbor".into(), 7)));
    }

    #[test]
    fn what_a_target_needs_is_read_from_the_manifest() {
        let manifest = house::root().join("fuzz/Cargo.toml");
        let feature = |target| needed_feature(&manifest, target).unwrap();
        assert_eq!(feature("config").as_deref(), Some("daemon"));
        assert_eq!(feature("archive_tree").as_deref(), Some("archive"));
        assert_eq!(feature("cbor"), None);
    }
}
