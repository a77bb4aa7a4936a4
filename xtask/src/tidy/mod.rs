//! `tidy`: the project's own rules, which no general tool checks. It reads and reports, it never repairs.

mod calls;
mod crates;
mod features;
mod manual;
mod scan;
mod sources;

use crate::{house, supply};
use std::path::{Path, PathBuf};

/// A rule broken at a place: a file, `file:line` or a crate.
#[derive(Debug, PartialEq, Eq)]
struct Breach {
    place: String,
    rule: String,
}

impl Breach {
    fn new(place: impl Into<String>, rule: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            rule: rule.into(),
        }
    }
}

/// A Rust file of the project: its path from the project's folder, and its text.
struct Source {
    path: String,
    text: String,
}

/// `cargo xtask tidy`: builds the three programs (the manual pages are compared with their `--help`), then checks.
///
/// # Errors
/// The build failed, or how many rules are broken.
pub(crate) fn run() -> Result<(), String> {
    house::run(
        "the build",
        house::cargo().args(["build", "--locked", "--workspace", "--bins"]),
    )?;
    check()
}

/// Checks every rule against the project; expects the programs to be built. Lists each breach on standard error.
///
/// # Errors
/// How many rules are broken, or what could not be read.
pub(crate) fn check() -> Result<(), String> {
    let sources = sources()?;
    let metadata = crates::metadata()?;
    let mut breaches = crates::check(&metadata)?;
    breaches.extend(sources::check(
        &sources,
        &crates::roots(&metadata, &house::root())?,
    ));
    breaches.extend(calls::check(&sources));
    breaches.extend(manual::check(&house::root(), &house::target())?);
    breaches.extend(features::check(&house::root(), &sources));
    let foreign = supply::breaches()?;
    breaches.extend(foreign.iter().map(|rule| Breach::new("Cargo.lock", rule)));
    if breaches.is_empty() {
        eprintln!("tidy: {} files, nothing to say", sources.len());
        return Ok(());
    }
    for breach in &breaches {
        eprintln!("{}: {}", breach.place, breach.rule);
    }
    Err(format!(
        "tidy: {} of the project's rules are broken (above)",
        breaches.len()
    ))
}

/// Names of the library packages whose documentation holds examples that can be run.
///
/// # Errors
/// What could not be read.
pub(crate) fn crates_with_examples() -> Result<Vec<String>, String> {
    let sources = sources()?;
    let libraries = crates::libraries(&crates::metadata()?, &house::root())?;
    Ok(libraries
        .into_iter()
        .filter(|(_, folder)| {
            sources.iter().any(|source| {
                Path::new(&source.path).starts_with(folder) && sources::has_example(&source.text)
            })
        })
        .map(|(name, _)| name)
        .collect())
}

/// Every Rust file in the project's folder but what cargo built.
fn sources() -> Result<Vec<Source>, String> {
    let root = house::root();
    let mut paths = Vec::new();
    walk(&root, &mut paths)?;
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path)
                .map_err(|error| format!("could not read {}: {error}", path.display()))?;
            let path = path.strip_prefix(&root).unwrap_or(&path);
            Ok(Source {
                path: path.display().to_string(),
                text,
            })
        })
        .collect()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = std::fs::read_dir(folder)
        .map_err(|error| format!("could not read {}: {error}", folder.display()))?;
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') && !path.is_symlink() {
                walk(&path, found)?;
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
    Ok(())
}
