//! Unpacks Debian packages and the libraries they need into a folder of the project. Never installs, configures or starts anything, and needs no root.

use crate::house;
use crate::tools::Tool;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Unpacks the tools' packages and every library package that is not installed, and writes one
/// starter per program to `store/bin`, which sets the library path and becomes the program (same process id).
///
/// # Errors
/// One sentence: this is not Debian, or what apt or dpkg said.
pub(crate) fn unpack(tools: &[&'static Tool], store: &Path) -> Result<(), String> {
    for needed in ["apt-get", "apt-cache", "dpkg", "dpkg-query"] {
        if house::program(needed).is_none() {
            return Err(format!(
                "{needed} is not here, so packages cannot be unpacked"
            ));
        }
    }
    let packages: BTreeSet<&str> = tools.iter().map(|tool| tool.package).collect();
    // The system's own lists first: they cost no download. They may be absent or out of date.
    let apt = Apt::system(store);
    if download(&apt, &packages, store).is_err() {
        let apt = Apt::private(store)?;
        download(&apt, &packages, store)?;
    }
    extract(store)?;
    for tool in tools {
        write_starter(tool.program, store)?;
    }
    Ok(())
}

/// Options that make apt work for this user, in a folder of its own.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn system(store: &Path) -> Self {
        let cache = store.join("apt/cache");
        Self {
            options: vec![
                format!("Dir::Cache={}", cache.display()),
                "Debug::NoLocking=1".into(),
                "APT::Sandbox::User=root".into(),
            ],
        }
    }

    fn private(store: &Path) -> Result<Self, String> {
        let state = store.join("apt/state");
        make_folder(&state.join("lists/partial"))?;
        make_folder(&store.join("apt/cache/archives/partial"))?;
        let mut apt = Self::system(store);
        apt.options.push(format!("Dir::State={}", state.display()));
        apt.options
            .push("Dir::State::status=/var/lib/dpkg/status".into());
        apt.options.push("Acquire::Languages=none".into());
        apt.options.push("Acquire::Retries=3".into());
        house::output(
            "reading Debian's package lists",
            apt.command("apt-get").arg("update"),
        )?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C").arg("-q");
        for option in &self.options {
            command.arg("-o").arg(option);
        }
        command
    }
}

fn download(apt: &Apt, packages: &BTreeSet<&str>, store: &Path) -> Result<(), String> {
    let archives = store.join("archives");
    // A download cut short earlier must not be unpacked as if it were whole.
    let _ = std::fs::remove_dir_all(&archives);
    make_folder(&archives)?;
    make_folder(&store.join("apt/cache/archives/partial"))?;
    let wanted = closure(
        packages,
        &mut |package| dependencies(apt, package),
        &|name| installed(name),
    )?;
    house::output(
        &format!(
            "downloading {}",
            wanted.iter().cloned().collect::<Vec<_>>().join(", ")
        ),
        apt.command("apt-get")
            .arg("download")
            .args(&wanted)
            .current_dir(&archives),
    )?;
    Ok(())
}

/// The packages themselves and, recursively, the `lib…` packages they depend on that are not installed.
/// The C library is left out: it is always there, and a second one would not fit the loader.
fn closure(
    packages: &BTreeSet<&str>,
    dependencies: &mut dyn FnMut(&str) -> Result<Vec<String>, String>,
    installed: &dyn Fn(&str) -> bool,
) -> Result<BTreeSet<String>, String> {
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    let mut open: Vec<String> = packages.iter().map(|name| (*name).to_owned()).collect();
    while let Some(package) = open.pop() {
        if !wanted.insert(package.clone()) {
            continue;
        }
        open.extend(
            dependencies(&package)?
                .into_iter()
                .filter(|name| name.starts_with("lib") && name != "libc6" && !installed(name)),
        );
    }
    Ok(wanted)
}

/// The first alternative of each direct dependency.
fn dependencies(apt: &Apt, package: &str) -> Result<Vec<String>, String> {
    let text = house::output(
        &format!("looking up {package}"),
        apt.command("apt-cache").args([
            "depends",
            "--no-recommends",
            "--no-suggests",
            "--no-conflicts",
            "--no-breaks",
            "--no-replaces",
            "--no-enhances",
            package,
        ]),
    )?;
    if text.is_empty() {
        return Err(format!("apt knows no package {package}"));
    }
    Ok(parse_depends(&text))
}

/// Reads the output of `apt-cache depends`: `|Depends:` is an alternative that is followed by another one.
fn parse_depends(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut after_alternative = false;
    for line in text.lines().map(str::trim) {
        let (alternative, line) = match line.strip_prefix('|') {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let Some(name) = line
            .strip_prefix("Depends: ")
            .or_else(|| line.strip_prefix("PreDepends: "))
        else {
            continue;
        };
        if !after_alternative && !name.starts_with('<') {
            names.push(name.split(':').next().unwrap_or(name).to_owned());
        }
        after_alternative = alternative;
    }
    names
}

fn installed(package: &str) -> bool {
    house::output(
        "asking dpkg",
        Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Abbrev}", package]),
    )
    .is_ok_and(|status| status.starts_with("ii"))
}

fn extract(store: &Path) -> Result<(), String> {
    let root = store.join("root");
    make_folder(&root)?;
    for archive in files_of(&store.join("archives"))? {
        house::output(
            &format!("unpacking {}", archive.display()),
            Command::new("dpkg").arg("-x").arg(&archive).arg(&root),
        )?;
    }
    // The archives have served; the unpacked tree is what stays.
    let _ = std::fs::remove_dir_all(store.join("archives"));
    let _ = std::fs::remove_dir_all(store.join("apt"));
    Ok(())
}

fn write_starter(program: &str, store: &Path) -> Result<(), String> {
    let root = store.join("root");
    let inside = ["usr/sbin", "usr/bin", "sbin", "bin"]
        .iter()
        .map(|folder| Path::new(folder).join(program))
        .find(|candidate| root.join(candidate).is_file())
        .ok_or_else(|| format!("the unpacked packages hold no program {program}"))?;
    let mut libraries = BTreeSet::new();
    collect_library_folders(&root, &root, &mut libraries)?;
    let folders: Vec<String> = libraries
        .iter()
        .map(|folder| format!("$root/{}", folder.display()))
        .collect();
    let library_path = if folders.is_empty() {
        String::new()
    } else {
        format!(
            "LD_LIBRARY_PATH=\"{}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\"\nexport LD_LIBRARY_PATH\n",
            folders.join(":")
        )
    };
    let text = format!(
        "#!/bin/sh\n# Written by `cargo xtask tools`: becomes the unpacked {program}, with the libraries unpacked beside it.\n\
         root=$(CDPATH= cd -- \"$(dirname -- \"$0\")/../root\" && pwd) || exit 1\n\
         {library_path}exec \"$root/{}\" \"$@\"\n",
        inside.display()
    );
    let starter = store.join("bin").join(program);
    make_folder(&store.join("bin"))?;
    std::fs::write(&starter, text)
        .map_err(|error| format!("could not write {}: {error}", starter.display()))?;
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&starter, executable)
        .map_err(|error| format!("could not make {} executable: {error}", starter.display()))
}

fn collect_library_folders(
    root: &Path,
    folder: &Path,
    found: &mut BTreeSet<PathBuf>,
) -> Result<(), String> {
    for path in files_of(folder)? {
        let is_link = path.is_symlink();
        if path.is_dir() && !is_link {
            collect_library_folders(root, &path, found)?;
        } else if path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with("lib") && name.contains(".so"))
            && let Ok(inside) = folder.strip_prefix(root)
        {
            found.insert(inside.to_path_buf());
        }
    }
    Ok(())
}

fn files_of(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(folder)
        .map_err(|error| format!("could not read {}: {error}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect();
    paths.sort();
    Ok(paths)
}

fn make_folder(folder: &Path) -> Result<(), String> {
    std::fs::create_dir_all(folder)
        .map_err(|error| format!("could not make {}: {error}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_alternatives_the_first_is_taken() {
        let text = "gpsd\n |Depends: netbase\n  Depends: systemd-sysv\n  Depends: libgps28\n  Depends: <python3:any>\n    python3\n  Depends: libbluetooth3:any\n";
        assert_eq!(
            parse_depends(text),
            ["netbase", "libgps28", "libbluetooth3"]
        );
    }

    #[test]
    fn only_missing_libraries_are_followed_and_never_the_c_library() {
        let mut known = |package: &str| {
            Ok(match package {
                "mosquitto" => vec![
                    "adduser".into(),
                    "libc6".into(),
                    "libcjson1".into(),
                    "libssl3".into(),
                ],
                "libcjson1" => vec!["libc6".into(), "libnew1".into()],
                _ => Vec::new(),
            })
        };
        let wanted = closure(&BTreeSet::from(["mosquitto"]), &mut known, &|name| {
            name == "libssl3"
        })
        .unwrap();
        assert_eq!(
            wanted.into_iter().collect::<Vec<_>>(),
            ["libcjson1", "libnew1", "mosquitto"]
        );
    }

    #[test]
    fn a_starter_becomes_the_program_with_the_unpacked_libraries() {
        let store = tempfile::tempdir().unwrap();
        let root = store.path().join("root");
        std::fs::create_dir_all(root.join("usr/sbin")).unwrap();
        std::fs::create_dir_all(root.join("usr/lib/arch")).unwrap();
        std::fs::write(root.join("usr/lib/arch/libx.so.1"), "").unwrap();
        let program = root.join("usr/sbin/thing");
        std::fs::write(&program, "#!/bin/sh\necho \"$1 $LD_LIBRARY_PATH\"\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, mode).unwrap();
        write_starter("thing", store.path()).unwrap();
        let said = house::output(
            "thing",
            Command::new(store.path().join("bin/thing")).arg("hello"),
        )
        .unwrap();
        assert!(
            said.starts_with("hello ") && said.contains("root/usr/lib/arch"),
            "{said}"
        );
    }
}
