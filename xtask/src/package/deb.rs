//! A Debian package of a tree: control files, checksums, then dpkg-deb. Builds no program and needs no root.

use super::tree::{self, Content};
use crate::house;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where nobody said who answers for the packages: no mail ever reaches this domain (RFC 2606).
const NOBODY: &str = "nobody@homing.invalid";

/// Who answers for the packages: whoever packs them, named as Debian's own tools do (debchange(1)).
fn maintainer() -> String {
    let name = std::env::var("DEBFULLNAME").unwrap_or_else(|_| "The Homing authors".into());
    let address = std::env::var("DEBEMAIL").unwrap_or_else(|_| NOBODY.into());
    format!("{name} <{address}>")
}

/// One sentence for whoever packs without having said who they are; `None` where they have.
pub(crate) fn anonymous() -> Option<String> {
    maintainer()
        .ends_with(&format!("<{NOBODY}>"))
        .then(|| "nobody answers for these packages: set DEBFULLNAME and DEBEMAIL before you give them to others".into())
}

/// Writes `NAME_VERSION_ARCHITECTURE.deb` into `into`, from the tree in `root`, to which it adds `DEBIAN/` and the
/// documents that Debian wants.
///
/// # Errors
/// One sentence.
pub(crate) fn build(
    content: &Content,
    root: &Path,
    version: &str,
    architecture: &str,
    into: &Path,
) -> Result<PathBuf, String> {
    documents(content, root, version)?;
    let overrides = overrides(content, architecture)?;
    if !overrides.is_empty() {
        let to = root.join("usr/share/lintian/overrides").join(content.name);
        tree::write(&to, &overrides, 0o644)?;
    }
    let files = tree::files(root)?;
    let control = root.join("DEBIAN");
    tree::write(
        &control.join("control"),
        &control_text(
            content,
            version,
            architecture,
            &depends(content, architecture)?,
            installed_kib(root, &files)?,
        ),
        0o644,
    )?;
    let conffiles: String = files
        .iter()
        .filter(|path| path.starts_with("etc"))
        .map(|path| format!("/{}\n", path.display()))
        .collect();
    if !conffiles.is_empty() {
        tree::write(&control.join("conffiles"), &conffiles, 0o644)?;
    }
    tree::write(&control.join("md5sums"), &checksums(root, &files)?, 0o644)?;
    for script in ["postinst", "prerm", "postrm"] {
        let name = format!("{}.{script}", content.name);
        let from = house::root().join("packaging/debian").join(&name);
        if from.is_file() {
            tree::install(&from, &control.join(script), 0o755)?;
        }
    }
    let package = into.join(format!("{}_{version}_{architecture}.deb", content.name));
    house::output(
        &format!("building {}", package.display()),
        Command::new("dpkg-deb")
            .args(["--root-owner-group", "-Zxz", "--build"])
            .args([root, &package]),
    )?;
    Ok(package)
}

/// What lintian is told to let pass, with the reasons.
fn overrides(content: &Content, architecture: &str) -> Result<String, String> {
    let name = content.name;
    let file = house::root().join(format!("packaging/debian/{name}.lintian-overrides"));
    let mut text = match file.is_file() {
        true => read(&file)?,
        false => String::new(),
    };
    if architecture != "amd64" {
        text.push_str(&format!(
            "# One file for Debian's and Alpine's phones, whose C libraries differ: `cargo xtask arm`.\n\
             {name}: statically-linked-binary [usr/bin/{name}]\n"
        ));
        for (beside, _) in content.beside {
            text.push_str(&format!(
                "{name}: statically-linked-binary [usr/bin/{beside}]\n"
            ));
        }
    }
    Ok(text)
}

/// What the package needs, with the C library where the programs are not static.
fn depends(content: &Content, architecture: &str) -> Result<String, String> {
    let mut all = vec![content.depends.to_owned()];
    if architecture == "amd64" {
        // No older one than this machine's, against which they were linked.
        let version = house::output(
            "asking for the C library's version",
            Command::new("getconf").arg("GNU_LIBC_VERSION"),
        )?;
        let number = version.trim_start_matches("glibc").trim();
        all.push(format!("libc6 (>= {number}), libgcc-s1"));
    }
    all.retain(|part| !part.is_empty());
    Ok(all.join(", "))
}

fn control_text(
    content: &Content,
    version: &str,
    architecture: &str,
    depends: &str,
    kib: u64,
) -> String {
    let mut text = format!(
        "Package: {}\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: {}\n\
         Installed-Size: {kib}\n",
        content.name,
        maintainer()
    );
    if !depends.is_empty() {
        let _ = writeln!(text, "Depends: {depends}");
    }
    if content.name == tree::HOMINGD.name {
        text.push_str("Recommends: gpsd\n");
    }
    let _ = write!(
        text,
        "Section: utils\nPriority: optional\nDescription: {}\n",
        content.summary
    );
    for line in content.description {
        let _ = writeln!(text, " {line}");
    }
    text
}

/// Licences and the changelog. The binaries are static: their crates' licences are those of Cargo.lock's packages.
fn documents(content: &Content, root: &Path, version: &str) -> Result<(), String> {
    let folder = root.join("usr/share/doc").join(content.name);
    let mit = read(&house::root().join("LICENSE-MIT"))?;
    let text: String = mit
        .trim_end()
        .lines()
        .map(|line| {
            if line.is_empty() {
                " .\n".into()
            } else {
                format!(" {line}\n")
            }
        })
        .collect();
    tree::write(
        &folder.join("copyright"),
        &format!(
            "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
             Upstream-Name: Homing\n\nFiles: *\nCopyright: 2026 The Homing authors\n\
             License: MIT or Apache-2.0\n\nLicense: Apache-2.0\n On Debian systems, the full text is in\n \
             /usr/share/common-licenses/Apache-2.0.\n\nLicense: MIT\n{text}"
        ),
        0o644,
    )?;
    let date = house::output("date", Command::new("date").arg("-Ru"))?;
    // A version without a revision belongs to a package that is Debian's own format: its changelog has this name.
    let changelog = folder.join("changelog");
    tree::write(
        &changelog,
        &format!(
            "{} ({version}) unstable; urgency=medium\n\n  * Built from the sources of this version.\n\n \
             -- {}  {date}\n",
            content.name,
            maintainer()
        ),
        0o644,
    )?;
    tree::compress(&changelog)
}

fn checksums(root: &Path, files: &[PathBuf]) -> Result<String, String> {
    house::output(
        "md5sum",
        Command::new("md5sum").args(files).current_dir(root),
    )
    .map(|text| text + "\n")
}

fn installed_kib(root: &Path, files: &[PathBuf]) -> Result<u64, String> {
    let mut bytes = 0;
    for file in files {
        let path = root.join(file);
        bytes += std::fs::metadata(&path)
            .map_err(|error| format!("could not read {}: {error}", path.display()))?
            .len();
    }
    Ok(bytes.div_ceil(1024))
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path)
        .map_err(|error| format!("could not read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_static_program_is_meant_to_be_one_on_arm_alone() {
        let line = "homing: statically-linked-binary [usr/bin/homing]";
        assert!(overrides(&tree::HOMING, "armhf").unwrap().contains(line));
        assert_eq!(overrides(&tree::HOMING, "amd64"), Ok(String::new()));
        assert!(
            overrides(&tree::HOMINGD, "amd64")
                .unwrap()
                .contains("init.d")
        );
    }

    #[test]
    fn the_control_file_has_the_fields_debian_asks_for() {
        let text = control_text(
            &tree::HOMINGD,
            "0.1.0",
            "arm64",
            tree::HOMINGD.depends,
            4100,
        );
        for line in [
            "Package: homingd",
            "Version: 0.1.0",
            "Architecture: arm64",
            "Installed-Size: 4100",
            "Depends: adduser",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert!(text.ends_with('\n') && !text.contains("\n\n"));
    }
}
