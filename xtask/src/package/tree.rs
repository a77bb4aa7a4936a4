//! The tree that a package installs: programs, the files of systemd/, manual pages, completions, licences. It must not know any package format.

use crate::debian::apt;
use crate::{house, supply};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A package's name, what it is, and what it needs.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    /// Lines of the long description, without leading spaces.
    pub(crate) description: &'static [&'static str],
    /// Debian's `Depends`.
    pub(crate) depends: &'static str,
    /// Manual pages with their section.
    pages: &'static [(&'static str, char)],
    /// Further programs, each with the package that it is built from; they lie beside the first.
    pub(crate) beside: &'static [(&'static str, &'static str)],
}

/// The phone's side.
pub(crate) static HOMINGD: Content = Content {
    name: "homingd",
    summary: "brings a lost Linux phone home: the phone's side",
    description: &[
        "A small daemon that answers its owner's orders to tell where this phone",
        "is and to ring, also when the phone is muted or was offline. Nobody but",
        "the owner can read a position or give an order; every order is kept in a",
        "ledger for the person who carries the phone.",
    ],
    depends: "adduser",
    pages: &[
        ("homingd", '8'),
        ("homingd.toml", '5'),
        ("homing-lost-screen", '8'),
    ],
    beside: &[("homing-lost-screen", "homing-screen")],
};

/// The owner's side.
pub(crate) static HOMING: Content = Content {
    name: "homing",
    summary: "brings a lost Linux phone home: the owner's command line",
    description: &[
        "Asks a phone that runs homingd where it is and lets it ring, through any",
        "MQTT broker, end-to-end encrypted. Orders wait for a phone that is away;",
        "only what the phone has signed is told as a fact.",
    ],
    depends: "",
    pages: &[("homing", '1')],
    beside: &[],
};

/// Puts the tree of a package into `root`; `program` is its binary for the target triple, or for this machine; `native`
/// the same program for this machine, which prints the completions.
///
/// # Errors
/// One sentence.
pub(crate) fn fill(
    content: &Content,
    root: &Path,
    (program, triple): (&Path, Option<&str>),
    native: &Path,
) -> Result<(), String> {
    notices(content, root, triple)?;
    install(program, &root.join("usr/bin").join(content.name), 0o755)?;
    for (name, _) in content.beside {
        let beside = program.with_file_name(name);
        install(&beside, &root.join("usr/bin").join(name), 0o755)?;
    }
    for (page, section) in content.pages {
        let name = format!("{page}.{section}");
        let to = root.join(format!("usr/share/man/man{section}/{name}"));
        install(&house::root().join("target/man").join(&name), &to, 0o644)?;
        compress(&to)?;
    }
    if content.name == HOMINGD.name {
        shipped(&house::root().join("systemd"), root)?;
        folder(&root.join("etc/homing/homingd.d"))?;
    } else {
        completions(native, root)?;
        let user_units = house::root().join("systemd/usr/lib/systemd/user");
        copy_user_units(&user_units, &root.join("usr/lib/systemd/user"), content)?;
    }
    Ok(())
}

/// What others wrote of the program: their licences ask for it, and whoever looks after a phone wants to know.
fn notices(content: &Content, root: &Path, triple: Option<&str>) -> Result<(), String> {
    let folder = root.join("usr/share/doc").join(content.name);
    let notices = folder.join("third-party-notices");
    write(&notices, &supply::notices(content.name, triple)?, 0o644)?;
    compress(&notices)?;
    for (name, package) in content.beside {
        let notices = folder.join(format!("third-party-notices-{name}"));
        write(&notices, &supply::notices(package, triple)?, 0o644)?;
        compress(&notices)?;
        let bill = supply::bill_of_materials(package, triple)?;
        write(&folder.join(format!("sbom-{name}.cdx.json")), &bill, 0o644)?;
    }
    let bill = supply::bill_of_materials(content.name, triple)?;
    write(&folder.join("sbom.cdx.json"), &bill, 0o644)
}

/// Everything of systemd/ that a system installs, where it lies there.
fn shipped(from: &Path, root: &Path) -> Result<(), String> {
    for part in ["etc", "usr"] {
        copy_all(&from.join(part), &root.join(part))?;
    }
    let user_units = "usr/lib/systemd/user";
    copy_user_units(&from.join(user_units), &root.join(user_units), &HOMINGD)
}

/// The units for users' own service managers, each of which bears the name of its program.
fn copy_user_units(from: &Path, to: &Path, content: &Content) -> Result<(), String> {
    for path in apt::files_of(from)? {
        let name = path.file_name().unwrap_or_default();
        let program = name.to_string_lossy();
        if program.split_once('-').map(|(program, _)| program) == Some(content.name) {
            install(&path, &to.join(name), 0o644)?;
        }
    }
    Ok(())
}

fn copy_all(from: &Path, to: &Path) -> Result<(), String> {
    for path in apt::files_of(from)? {
        let Some(name) = path.file_name() else {
            continue;
        };
        // The units of users' managers belong to one package or the other.
        if path.is_dir() && name == "user" {
            continue;
        }
        let into = to.join(name);
        if path.is_dir() {
            copy_all(&path, &into)?;
        } else {
            install(&path, &into, if is_script(&path)? { 0o755 } else { 0o644 })?;
        }
    }
    Ok(())
}

/// Whether a file names the program that runs it.
fn is_script(path: &Path) -> Result<bool, String> {
    let text = std::fs::read(path);
    text.map(|bytes| bytes.starts_with(b"#!"))
        .map_err(|error| format!("could not read {}: {error}", path.display()))
}

fn completions(native: &Path, root: &Path) -> Result<(), String> {
    for (shell, path) in [
        ("bash", "usr/share/bash-completion/completions/homing"),
        ("zsh", "usr/share/zsh/vendor-completions/_homing"),
        ("fish", "usr/share/fish/vendor_completions.d/homing.fish"),
    ] {
        let text = house::output(
            "asking homing for its completions",
            Command::new(native).args(["completions", shell]),
        )?;
        write(&root.join(path), &format!("{text}\n"), 0o644)?;
    }
    Ok(())
}

/// Copies a file, with its permission bits.
///
/// # Errors
/// One sentence.
pub(crate) fn install(from: &Path, to: &Path, mode: u32) -> Result<(), String> {
    make_above(to)?;
    std::fs::copy(from, to)
        .map_err(|error| format!("could not copy {}: {error}", from.display()))?;
    set_mode(to, mode)
}

/// Writes a file, with its permission bits.
///
/// # Errors
/// One sentence.
pub(crate) fn write(to: &Path, text: &str, mode: u32) -> Result<(), String> {
    make_above(to)?;
    std::fs::write(to, text)
        .map_err(|error| format!("could not write {}: {error}", to.display()))?;
    set_mode(to, mode)
}

/// gzip without name and time, as Debian wants pages and changelogs.
///
/// # Errors
/// gzip is missing or failed.
pub(crate) fn compress(path: &Path) -> Result<(), String> {
    house::output("gzip", Command::new("gzip").args(["-9nf"]).arg(path)).map(drop)
}

/// All files below a folder, sorted, relative to it.
///
/// # Errors
/// A folder cannot be read.
pub(crate) fn files(root: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(folder) = open.pop() {
        for path in apt::files_of(&folder)? {
            if path.is_dir() {
                open.push(path);
            } else if let Ok(inside) = path.strip_prefix(root) {
                found.push(inside.to_path_buf());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// An empty folder that everybody may read.
fn folder(path: &Path) -> Result<(), String> {
    apt::make_folder(path)
}

fn make_above(path: &Path) -> Result<(), String> {
    path.parent().map_or(Ok(()), apt::make_folder)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), String> {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
        .map_err(|error| format!("could not set the mode of {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_system_installs_keeps_its_place_and_scripts_can_be_run() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        shipped(&house::root().join("systemd"), root.path()).unwrap();
        let files = files(root.path()).unwrap();
        for path in [
            "etc/homing/homingd.toml",
            "etc/init.d/homingd-agent",
            "usr/lib/systemd/system/homingd-agent.service",
            "usr/lib/systemd/user/homingd-reserve.path",
            "usr/lib/sysusers.d/homing.conf",
            "usr/lib/systemd/system/getty@.service.d/50-homing-lost.conf",
            "usr/lib/systemd/system-generators/homing-lost-generator",
            "usr/share/initramfs-tools/hooks/homing-lost",
            "usr/share/initramfs-tools/scripts/local-top/homing-lost",
            "usr/share/mkinitfs/hooks-extra/50-homing-lost.sh",
        ] {
            assert!(files.contains(&PathBuf::from(path)), "{path}");
            let mode = std::fs::metadata(root.path().join(path))
                .unwrap()
                .permissions()
                .mode();
            let scripts = ["init.d", "generators", "initramfs-tools", "mkinitfs"];
            let expected = match scripts.iter().any(|folder| path.contains(folder)) {
                true => 0o755,
                false => 0o644,
            };
            assert_eq!(mode & 0o777, expected, "{path}");
        }
        let owners = PathBuf::from("usr/lib/systemd/user/homing-watch.service");
        assert!(!files.contains(&owners), "the owner's package has it");
    }
}
