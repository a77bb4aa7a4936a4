//! Debian's packages of any architecture: looks them up, follows what they need, downloads and unpacks them. Installs nothing and never touches dpkg's or apt's own state.

use crate::house;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// apt with options that make it work for this user, in a folder of its own.
pub(crate) struct Apt {
    options: Vec<String>,
}

impl Apt {
    /// With the machine's own package lists, which cost no download and may be absent or out of date.
    pub(crate) fn system(store: &Path) -> Self {
        let cache = store.join("apt/cache");
        Self {
            options: vec![
                format!("Dir::Cache={}", cache.display()),
                "Debug::NoLocking=1".into(),
                "APT::Sandbox::User=root".into(),
                "Acquire::Languages=none".into(),
                "Acquire::Retries=3".into(),
            ],
        }
    }

    /// With lists of its own for this machine's architecture, read anew.
    ///
    /// # Errors
    /// The lists cannot be read; with apt's words.
    pub(crate) fn private(store: &Path) -> Result<Self, String> {
        let apt = Self::system(store).with_state(store)?;
        apt.with(vec!["Dir::State::status=/var/lib/dpkg/status".into()])
            .update()
    }

    /// With lists of its own for another architecture, on which nothing is installed. Only Debian's own sources are
    /// read: others rarely have that architecture, and adding it to the machine's own lists can break those.
    ///
    /// # Errors
    /// None of the lists can be read; with apt's words. One that cannot (a mirror in the middle of its own update, an
    /// architecture without security updates) is named, and the others serve: apt checks their signatures all the same.
    pub(crate) fn foreign(architecture: &str, store: &Path) -> Result<Self, String> {
        let sources = store.join("apt/sources");
        make_folder(&sources)?;
        debian_sources(&sources)?;
        let status = store.join("apt/status");
        std::fs::write(&status, "")
            .map_err(|error| format!("could not write {}: {error}", status.display()))?;
        let apt = Self::system(store).with_state(store)?.with(vec![
            format!("APT::Architecture={architecture}"),
            format!("APT::Architectures={architecture}"),
            format!("Dir::State::status={}", status.display()),
            "Dir::Etc::sourcelist=/dev/null".into(),
            format!("Dir::Etc::sourceparts={}", sources.display()),
        ]);
        match apt.read_lists() {
            Err(why) if apt.dependencies("libc6").is_ok() => eprintln!("{why}"),
            read => read?,
        }
        Ok(apt)
    }

    fn with_state(self, store: &Path) -> Result<Self, String> {
        let state = store.join("apt/state");
        make_folder(&state.join("lists/partial"))?;
        Ok(self.with(vec![format!("Dir::State={}", state.display())]))
    }

    fn with(mut self, options: Vec<String>) -> Self {
        self.options.extend(options);
        self
    }

    fn update(self) -> Result<Self, String> {
        self.read_lists().map(|()| self)
    }

    fn read_lists(&self) -> Result<(), String> {
        house::output(
            "reading Debian's package lists",
            self.command("apt-get").arg("update"),
        )
        .map(drop)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C").arg("-q");
        for option in &self.options {
            command.arg("-o").arg(option);
        }
        command
    }

    /// The packages and, recursively, those of their dependencies that are to be followed.
    ///
    /// # Errors
    /// A package that apt does not know.
    pub(crate) fn needed(
        &self,
        packages: &BTreeSet<&str>,
        follow: &dyn Fn(&str) -> bool,
    ) -> Result<BTreeSet<String>, String> {
        closure(packages, &mut |package| self.dependencies(package), follow)
    }

    /// The first alternative of each direct dependency.
    ///
    /// # Errors
    /// apt does not know the package.
    pub(crate) fn dependencies(&self, package: &str) -> Result<Vec<String>, String> {
        let text = house::output(
            &format!("looking up {package}"),
            self.command("apt-cache").args([
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

    /// Downloads these packages into a folder, which holds nothing else afterwards: a download cut short earlier
    /// must not be unpacked as if it were whole.
    ///
    /// # Errors
    /// With apt's words.
    pub(crate) fn download(&self, wanted: &BTreeSet<String>, into: &Path) -> Result<(), String> {
        let _ = std::fs::remove_dir_all(into);
        make_folder(into)?;
        for option in &self.options {
            if let Some(cache) = option.strip_prefix("Dir::Cache=") {
                make_folder(&Path::new(cache).join("archives/partial"))?;
            }
        }
        house::output(
            &format!(
                "downloading {}",
                wanted.iter().cloned().collect::<Vec<_>>().join(", ")
            ),
            self.command("apt-get")
                .arg("download")
                .args(wanted)
                .current_dir(into),
        )?;
        Ok(())
    }
}

/// Copies Debian's own entries of the machine's sources; where there are none, writes the usual ones.
fn debian_sources(into: &Path) -> Result<(), String> {
    let own = Path::new("/etc/apt/sources.list.d/debian.sources");
    let (name, text) = match std::fs::read_to_string(own) {
        Ok(text) => ("debian.sources", text),
        Err(_) => {
            let codename = house::output(
                "asking for Debian's release",
                Command::new("sh").args(["-c", ". /etc/os-release; echo \"$VERSION_CODENAME\""]),
            )?;
            let text = format!(
                "deb http://deb.debian.org/debian {codename} main\n\
                 deb http://deb.debian.org/debian-security {codename}-security main\n"
            );
            ("debian.list", text)
        }
    };
    let path = into.join(name);
    std::fs::write(&path, text)
        .map_err(|error| format!("could not write {}: {error}", path.display()))
}

fn closure(
    packages: &BTreeSet<&str>,
    dependencies: &mut dyn FnMut(&str) -> Result<Vec<String>, String>,
    follow: &dyn Fn(&str) -> bool,
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
                .filter(|name| follow(name)),
        );
    }
    Ok(wanted)
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

/// Whether this machine has the tools that download and unpack Debian's packages.
pub(crate) fn is_debian() -> bool {
    ["apt-get", "apt-cache", "dpkg", "dpkg-query"]
        .into_iter()
        .all(|name| house::program(name).is_some())
}

/// Whether the package is installed on this machine.
pub(crate) fn installed(package: &str) -> bool {
    house::output(
        "asking dpkg",
        Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Abbrev}", package]),
    )
    .is_ok_and(|status| status.starts_with("ii"))
}

/// Unpacks a package's files into `root`.
///
/// # Errors
/// With dpkg's words.
pub(crate) fn unpack(archive: &Path, root: &Path) -> Result<(), String> {
    house::output(
        &format!("unpacking {}", archive.display()),
        Command::new("dpkg").arg("-x").arg(archive).arg(root),
    )
    .map(drop)
}

/// Unpacks only the files of a package whose path matches a pattern of `tar --wildcards` (they begin with `./`).
///
/// # Errors
/// With tar's words.
pub(crate) fn unpack_only(archive: &Path, root: &Path, pattern: &str) -> Result<(), String> {
    make_folder(root)?;
    let script = "dpkg-deb --fsys-tarfile \"$1\" | tar -x -C \"$2\" --wildcards \"$3\"";
    house::output(
        &format!("unpacking {}", archive.display()),
        Command::new("sh")
            .args(["-c", script, "sh"])
            .args([archive, root])
            .arg(pattern),
    )
    .map(drop)
}

/// The entries of a folder, sorted.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn files_of(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(folder)
        .map_err(|error| format!("could not read {}: {error}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect();
    paths.sort();
    Ok(paths)
}

/// Makes a folder and those above it.
///
/// # Errors
/// One sentence.
pub(crate) fn make_folder(folder: &Path) -> Result<(), String> {
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
    fn only_what_is_to_be_followed_is_followed_and_each_once() {
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
            name.starts_with("lib") && name != "libc6" && name != "libssl3"
        })
        .unwrap();
        assert_eq!(
            wanted.into_iter().collect::<Vec<_>>(),
            ["libcjson1", "libnew1", "mosquitto"]
        );
    }
}
