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

pub(crate) use trial::trial;

/// The owner's command line, which phones can run too.
const HOMING: Program = Program {
    package: "homing",
    binary: "homing",
};

/// `cargo xtask package [--target amd64|arm64|armhf] [--from FOLDER]` or `--trial`.
///
/// # Errors
/// A wrong argument, a failed build, or a tool that is missing.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    if arguments == ["--trial"] {
        return trial();
    }
    let mut architecture = "amd64";
    let mut from = None;
    for pair in arguments.chunks(2) {
        match pair {
            [flag, name] if flag == "--target" => architecture = name,
            [flag, folder] if flag == "--from" => from = Some(PathBuf::from(folder)),
            _ => {
                return Err(format!(
                    "package takes --target amd64, arm64 or armhf and --from FOLDER, or --trial alone, not {pair:?}"
                ));
            }
        }
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
    Ok(())
}

/// homingd and homing for that architecture.
fn programs(architecture: &str) -> Result<[PathBuf; 2], String> {
    let built = match TARGETS
        .iter()
        .find(|target| target.debian == architecture || target.name == architecture)
    {
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
    arm::build(&way, target, Profile::Phone, &[arm::HOMINGD, HOMING])
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
            "--bin",
            "homingd",
            "--bin",
            "homing",
        ]),
    )?;
    let folder = house::target().join("release");
    Ok(vec![folder.join("homingd"), folder.join("homing")])
}

/// Both packages and the tarball, in target/package.
fn build(architecture: &str, programs: &[PathBuf; 2]) -> Result<Vec<PathBuf>, String> {
    let version = env!("CARGO_PKG_VERSION");
    let architecture = TARGETS
        .iter()
        .find(|target| target.name == architecture)
        .map_or(architecture, |target| target.debian);
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
        tree::fill(content, &root, program, &native)?;
        tree::fill(content, &whole.join("tree"), program, &native)?;
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
