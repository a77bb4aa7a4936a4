//! The packages' life in a root of their own: lintian, then the scripts in packaging/. Installs nothing on this machine.

use crate::debian::apt;
use crate::house;
use crate::translator::Translator;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Packs what lies in `folder` and tries it: lintian, installation, upgrade, removal, purge, OpenRC. Says aloud what
/// cannot be tried here. Packages for ARM are tried in this machine's Debian too: only their programs are emulated.
///
/// # Errors
/// The packages cannot be built, lintian finds an error or a warning, or a trial failed.
pub(super) fn run(architecture: &str, folder: &Path) -> Result<(), String> {
    house::announce(&format!(
        "packages for {architecture}: built and tried in a root of their own"
    ));
    if let Some(reason) = missing(architecture, folder) {
        house::skip(&format!("the packages' trial for {architecture}: {reason}"));
        return Ok(());
    }
    let translator = match Translator::find(architecture) {
        Ok(found) => found,
        Err(reason) => {
            house::skip(&format!("the packages' trial for {architecture}: {reason}"));
            return Ok(());
        }
    };
    crate::man::run()?;
    let made = super::build(
        architecture,
        &[folder.join("homingd"), folder.join("homing")],
    )?;
    translator.run(|| live(architecture, folder, &made))
}

/// Lintian, then each package's life.
fn live(architecture: &str, folder: &Path, made: &[PathBuf]) -> Result<(), String> {
    house::output(
        &format!("starting a program of {architecture}"),
        Command::new(folder.join("homingd")).arg("--version"),
    )?;
    let debs: Vec<&PathBuf> = made
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    lintian(&debs)?;
    let whole = fresh_root()?;
    let scripts = house::root().join("packaging");
    let root = unpacked(&whole, architecture)?;
    house::run(
        "the packages' trial",
        Command::new(scripts.join("trial.sh"))
            .arg(&root)
            .args(&debs),
    )?;
    let tarball = made
        .iter()
        .find(|path| path.extension().is_some_and(|extension| extension == "gz"));
    if let Some(tarball) = tarball {
        let root = unpacked(&whole, architecture)?;
        house::run(
            "the tarball's trial",
            Command::new(scripts.join("trial-tarball.sh"))
                .arg(&root)
                .arg(tarball),
        )?;
    }
    if architecture == "amd64" {
        let root = unpacked(&whole, architecture)?;
        install(&root, &debs)?;
        house::run(
            "the trial under OpenRC",
            Command::new(scripts.join("trial-openrc.sh")).arg(&root),
        )?;
    } else {
        house::skip(&format!(
            "OpenRC for {architecture}: an emulated program has its emulator's name, by which the trial looks for it"
        ));
    }
    let root = house::target().join("package/root");
    std::fs::remove_dir_all(&root)
        .map_err(|error| format!("could not remove {}: {error}", root.display()))
}

fn lintian(debs: &[&PathBuf]) -> Result<(), String> {
    if house::program("lintian").is_none() {
        house::skip("lintian is not here (package lintian)");
        return Ok(());
    }
    house::run(
        "lintian",
        Command::new("lintian")
            .args(["--allow-root", "--fail-on", "error,warning"])
            .args(debs),
    )
}

fn missing(architecture: &str, folder: &Path) -> Option<String> {
    let user = house::output("asking who this is", Command::new("id").arg("-u"));
    if user.as_deref() != Ok("0") {
        return Some("only root can enter another root".into());
    }
    if !cfg!(target_arch = "x86_64") {
        return Some("it is written for amd64".into());
    }
    let homingd = folder.join("homingd");
    if !homingd.is_file() {
        return Some(format!(
            "{} is not built: `cargo xtask package --target {architecture}`",
            homingd.display()
        ));
    }
    [
        ("mmdebstrap", "mmdebstrap"),
        ("dpkg-deb", "dpkg"),
        ("unshare", "util-linux"),
        ("script", "bsdutils"),
    ]
    .into_iter()
    .find(|(name, _)| house::program(name).is_none())
    .map(|(name, package)| format!("{name} is not here (package {package})"))
}

/// A minimal Debian as a tar archive, made once.
fn fresh_root() -> Result<PathBuf, String> {
    let whole = house::target().join("package-root.tar");
    if !whole.is_file() {
        house::announce("making a minimal Debian (about 100 MB of packages)");
        let part = whole.with_extension("part.tar");
        house::run(
            "mmdebstrap",
            Command::new("mmdebstrap")
                .args(["--quiet", "--variant=minbase"])
                .arg("--aptopt=Acquire::Languages \"none\"")
                .arg("--include=adduser,init-system-helpers,systemd,openrc,procps")
                .arg("bookworm")
                .arg(&part),
        )?;
        std::fs::rename(&part, &whole)
            .map_err(|error| format!("could not name {}: {error}", whole.display()))?;
    }
    Ok(whole)
}

/// A fresh root from the archive, whose dpkg also takes packages for `architecture`.
fn unpacked(whole: &Path, architecture: &str) -> Result<PathBuf, String> {
    let root = house::target().join("package/root");
    let _ = std::fs::remove_dir_all(&root);
    apt::make_folder(&root)?;
    house::output(
        "unpacking the minimal Debian",
        Command::new("tar")
            .arg("-xf")
            .arg(whole)
            .arg("-C")
            .arg(&root),
    )?;
    if architecture != "amd64" {
        house::output(
            "adding an architecture to the root's dpkg",
            Command::new("chroot")
                .arg(&root)
                .args(["dpkg", "--add-architecture", architecture]),
        )?;
    }
    Ok(root)
}

fn install(root: &Path, debs: &[&PathBuf]) -> Result<(), String> {
    for deb in debs {
        let name = deb.file_name().unwrap_or_default();
        std::fs::copy(deb, root.join("tmp").join(name))
            .map_err(|error| format!("could not copy {}: {error}", deb.display()))?;
    }
    house::output(
        "installing the packages in their root",
        Command::new("chroot")
            .arg(root)
            .args(["sh", "-c", "dpkg -i /tmp/*.deb"]),
    )
    .map(drop)
}
