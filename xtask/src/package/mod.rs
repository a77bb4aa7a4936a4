//! `cargo xtask package`: .deb packages and a tarball of homingd and homing. Installs nothing.

mod deb;
mod tree;
mod trial;

use crate::arm::target::{TARGETS, Target};
use crate::arm::{self, Profile, Program};
use crate::debian::apt;
use crate::{check, house, man};
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) use tree::files as files_in;

/// The owner's command line, which phones can run too.
const HOMING: Program = Program {
    package: "homing",
    binary: "homing",
};

/// Whether what was packed is tried too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trial {
    Wanted,
    Unwanted,
}

/// `cargo xtask package [--target amd64|arm64|armhf] [--from FOLDER] [--trial]`.
///
/// # Errors
/// A wrong argument, a failed build, or a tool that is missing.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let mut architecture = "amd64";
    let mut from = None;
    let mut wanted = Trial::Unwanted;
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(word) = rest.next() {
        match (word, rest.clone().next()) {
            ("--trial", _) => wanted = Trial::Wanted,
            ("--target", Some(name)) => architecture = name,
            ("--from", Some(folder)) => from = Some(PathBuf::from(folder)),
            _ => {
                return Err(format!(
                    "package takes --target amd64, arm64 or armhf, --from FOLDER and --trial, not {word:?}"
                ));
            }
        }
        if word != "--trial" {
            let _ = rest.next();
        }
    }
    let architecture = name_of(architecture);
    if wanted == Trial::Wanted {
        let folder = from.unwrap_or_else(|| built_earlier(architecture));
        return trial::run(architecture, &folder);
    }
    if house::program("dpkg-deb").is_none() {
        return Err("dpkg-deb (package dpkg) is not here to build a .deb".into());
    }
    let programs = match from {
        Some(folder) => [folder.join("homingd"), folder.join("homing")],
        None => programs(architecture)?,
    };
    check::build()?;
    man::run()?;
    for package in build(architecture, &programs)? {
        println!("{}", package.display());
    }
    if let Some(sentence) = deb::anonymous() {
        eprintln!("{sentence}");
    }
    Ok(())
}

/// Packs what `target/release` holds and tries it.
///
/// # Errors
/// As [`run`].
pub(crate) fn trial() -> Result<(), String> {
    trial::run("amd64", &built_earlier("amd64"))
}

/// Debian's name of an architecture that may be given by another of its names.
fn name_of(architecture: &str) -> &str {
    TARGETS
        .iter()
        .find(|target| target.name == architecture || target.triple == architecture)
        .map_or(architecture, |target| target.debian)
}

/// How compilers name a phone's architecture; this machine's own has no need of a name.
fn triple_of(architecture: &str) -> Option<&'static str> {
    let target = TARGETS.iter().find(|target| target.debian == architecture);
    target.map(|target| target.triple)
}

/// Where an earlier build for release lies.
fn built_earlier(architecture: &str) -> PathBuf {
    match TARGETS.iter().find(|target| target.debian == architecture) {
        Some(target) => arm::built(target, Profile::Phone),
        None => house::target().join("release"),
    }
}

/// homingd and homing for that architecture.
fn programs(architecture: &str) -> Result<[PathBuf; 2], String> {
    let built = match TARGETS.iter().find(|target| target.debian == architecture) {
        Some(target) => for_arm(target)?,
        None if architecture == "amd64" && cfg!(target_arch = "x86_64") => for_here()?,
        None => {
            return Err(format!(
                "there is no way here to build for {architecture:?}"
            ));
        }
    };
    <[PathBuf; 2]>::try_from(built).map_err(|_| "a build gave another number of files".into())
}

fn for_arm(target: &'static Target) -> Result<Vec<PathBuf>, String> {
    let way = arm::find(target)?;
    // The very programs of the image and of the stories.
    let mut built = vec![arm::phones(&way, target)?];
    built.extend(arm::build(&way, target, Profile::Phone, &[HOMING])?);
    Ok(built)
}

/// For this machine, with its own C library.
fn for_here() -> Result<Vec<PathBuf>, String> {
    house::announce("build: homingd and homing, for release");
    house::run(
        "the release build",
        house::cargo().args([
            "build",
            "--locked",
            "--release",
            "--package",
            "homingd",
            "--package",
            "homing",
            "--package",
            "homing-screen",
            "--bin",
            "homing-lost-screen",
            "--bin",
            "homingd",
            "--bin",
            "homing",
        ]),
    )?;
    let folder = house::target().join("release");
    Ok(vec![folder.join("homingd"), folder.join("homing")])
}

/// The phone's package alone, in target/package, of a program that is there already; the manual pages must be rendered.
///
/// # Errors
/// One sentence.
pub(crate) fn homingd(architecture: &str, program: &Path) -> Result<PathBuf, String> {
    let out = house::target().join("package");
    let root = out.join(format!("homingd-{architecture}"));
    // What an earlier build left must not be packed again.
    let _ = std::fs::remove_dir_all(&root);
    // Only the owner's package asks the program itself for something, its completions.
    tree::fill(
        &tree::HOMINGD,
        &root,
        (program, triple_of(architecture)),
        program,
    )?;
    let version = env!("CARGO_PKG_VERSION");
    let made = deb::build(&tree::HOMINGD, &root, version, architecture, &out)?;
    remove(&root)?;
    Ok(made)
}

/// Both packages and the tarball, in target/package.
fn build(architecture: &str, programs: &[PathBuf; 2]) -> Result<Vec<PathBuf>, String> {
    let version = env!("CARGO_PKG_VERSION");
    let out = house::target().join("package");
    apt::make_folder(&out)?;
    let native = house::target().join("debug/homing");
    let whole = out.join(format!("homing-{version}-{architecture}"));
    let _ = std::fs::remove_dir_all(&whole);
    let mut made = Vec::new();
    for (content, program) in [&tree::HOMINGD, &tree::HOMING].into_iter().zip(programs) {
        let root = out.join(format!("{}-{architecture}", content.name));
        // What an earlier build left must not be packed again.
        let _ = std::fs::remove_dir_all(&root);
        let built = (program.as_path(), triple_of(architecture));
        tree::fill(content, &root, built, &native)?;
        tree::fill(content, &whole.join("tree"), built, &native)?;
        made.push(deb::build(content, &root, version, architecture, &out)?);
        remove(&root)?;
    }
    made.push(tarball(&whole, &out)?);
    Ok(made)
}

/// The trees of both packages with a script that installs them, for systems without their package.
fn tarball(whole: &Path, out: &Path) -> Result<PathBuf, String> {
    for name in ["install.sh", "uninstall.sh"] {
        let from = house::root().join("packaging/tarball").join(name);
        tree::install(&from, &whole.join(name), 0o755)?;
    }
    for name in ["LICENSE-MIT", "LICENSE-APACHE", "README.md"] {
        tree::install(&house::root().join(name), &whole.join(name), 0o644)?;
    }
    let name = whole.file_name().unwrap_or_default().to_os_string();
    let archive = out.join(format!("{}.tar.gz", name.to_string_lossy()));
    house::output(
        &format!("building {}", archive.display()),
        Command::new("tar")
            .args([
                "--sort=name",
                "--owner=0",
                "--group=0",
                "--numeric-owner",
                "-czf",
            ])
            .arg(&archive)
            .arg("-C")
            .arg(out)
            .arg(&name),
    )?;
    remove(whole)?;
    Ok(archive)
}

fn remove(folder: &Path) -> Result<(), String> {
    std::fs::remove_dir_all(folder)
        .map_err(|error| format!("could not remove {}: {error}", folder.display()))
}
