//! `watch --install`, `--uninstall`, `--status`: the resident client as a unit of the user's own systemd. Writes one file, which it knows again; starts nothing but that unit.
use super::Context;
use super::resident::{Report, lock_path};
use crate::clock::UnixMs;
use crate::error::Error;
use crate::file::{self, Access};
use crate::store::Store;
use serde_json::json;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The unit as it ships.
const SHIPPED: &str = include_str!("../../../systemd/usr/lib/systemd/user/homing-watch.service");
/// Where a package puts it, and the program that it starts.
const PACKAGED: &str = "/usr/lib/systemd/user/homing-watch.service";
const PACKAGED_PROGRAM: &str = "/usr/bin/homing";
/// The first line of a unit that was written here.
const MARK: &str =
    "# Written by `homing watch --install`; `homing watch --uninstall` removes it.\n";

/// The unit of one account.
struct Unit {
    name: String,
    /// Where it is written; `None` when the package's own does.
    path: Option<PathBuf>,
    text: String,
}

impl Unit {
    /// For the account in the context's folder.
    fn of(context: &Context) -> Result<Self, Error> {
        let home = &context.home;
        let usual = user_folder("XDG_DATA_HOME", ".local/share")?.join("homing");
        // Another folder's account has a unit of its own beside it.
        let name = if *home == usual {
            "homing-watch.service".to_owned()
        } else {
            let account = Store::open(home)?.account()?.id.to_string();
            format!("homing-watch-{}.service", &account[..8])
        };
        let program = std::env::current_exe().map_err(|source| Error::Read {
            path: "/proc/self/exe".into(),
            source,
        })?;
        let plain = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
        let fits = program == Path::new(PACKAGED_PROGRAM)
            && plain.is_some_and(|plain| *home == plain.join("homing"))
            && Path::new(PACKAGED).exists();
        let folder = user_folder("XDG_CONFIG_HOME", ".config")?.join("systemd/user");
        Ok(Self {
            path: (!fits).then(|| folder.join(&name)),
            text: rendered(&program, home)?,
            name,
        })
    }

    /// Whether the file in its place was written here.
    fn is_ours(&self) -> bool {
        let text = self
            .path
            .as_ref()
            .and_then(|path| file::read_text(path).ok());
        text.is_some_and(|text| text.starts_with(MARK))
    }
}

/// `$NAME`, else a folder in the home (XDG base directory specification).
fn user_folder(name: &str, otherwise: &str) -> Result<PathBuf, Error> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let found = absolute(name).or_else(|| absolute("HOME").map(|home| home.join(otherwise)));
    found.ok_or_else(|| Error::Usage(format!("neither {name} nor HOME is set")))
}

/// The shipped unit for this program and folder.
fn rendered(program: &Path, home: &Path) -> Result<String, Error> {
    let is_temporary = |path: &Path| path.starts_with("/tmp") || path.starts_with("/var/tmp");
    let in_tmp = is_temporary(program) || is_temporary(home);
    let (program, home) = (quoted(program)?, quoted(home)?);
    let state = home.trim_matches('"');
    let line = |line: &str| {
        if line.starts_with("ExecStart=") {
            // Only here a dollar sign means a variable (systemd.service(5), COMMAND LINES).
            let command = format!("{program} --home {home} watch").replace('$', "$$");
            format!("ExecStart={command}\n")
        } else if line.starts_with("ConditionPathExists=") {
            format!("ConditionPathExists={state}/homing.db\n")
        } else if line.starts_with("ReadWritePaths=") {
            format!("ReadWritePaths={home}\n")
        } else if line.starts_with("PrivateTmp=") && in_tmp {
            // It would not see its own files.
            "PrivateTmp=no\n".to_owned()
        } else {
            format!("{line}\n")
        }
    };
    let lines: String = SHIPPED.lines().map(line).collect();
    Ok(format!("{MARK}{lines}"))
}

/// A path between quotation marks as a unit file takes it (systemd.syntax(7)); `%` would begin a specifier.
fn quoted(path: &Path) -> Result<String, Error> {
    let unfit = || {
        Error::Usage(format!(
            "{} cannot stand in a unit file: choose a folder without line breaks, quotation marks and backslashes in its name",
            path.display()
        ))
    };
    let text = path.to_str().ok_or_else(unfit)?;
    if text.chars().any(|c| c.is_control() || "\"'\\".contains(c)) {
        return Err(unfit());
    }
    Ok(format!("\"{}\"", text.replace('%', "%%")))
}

/// Asks the user's manager; what it printed.
fn systemctl(context: &Context, asked: &[&str]) -> Result<String, Error> {
    let output = Command::new("systemctl")
        .arg("--user")
        .args(asked)
        .env("SYSTEMD_PAGER", "")
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(without_manager(context, "there is no systemctl"));
        }
        Err(source) => {
            return Err(Error::Read {
                path: "systemctl".into(),
                source,
            });
        }
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if said.contains("Failed to connect to") || said.contains("$DBUS_SESSION_BUS_ADDRESS") {
        return Err(without_manager(context, &said));
    }
    Err(Error::UserManager {
        asked: asked.join(" "),
        said,
    })
}

/// What to do where nobody starts units.
fn without_manager(context: &Context, why: &str) -> Error {
    let program = std::env::current_exe().unwrap_or_else(|_| "homing".into());
    let why = why.lines().next().unwrap_or_default();
    Error::NoUserManager(format!(
        "no systemd runs for this user here ({why}), so nothing was installed. Let whatever starts your session start this, once for each login:\n    {} --home {} watch\nIt keeps itself connected; a second one ends at once. With OpenRC 0.60 or later that is a user service (openrc-run with supervisor=supervise-daemon in ~/.config/rc/init.d), on a desktop an entry in ~/.config/autostart, else a line in ~/.profile that ends with &.",
        program.display(),
        context.home.display()
    ))
}

/// `homing watch --install`.
pub(super) fn install(context: &Context) -> Result<(), Error> {
    // Whoever has no account is told so here and not by a unit that never starts.
    Store::open(&context.home)?.account()?;
    let unit = Unit::of(context)?;
    systemctl(context, &["show-environment"])?;
    if let Some(path) = &unit.path {
        if path.exists() && !unit.is_ours() {
            return Err(Error::Usage(format!(
                "{} is there already and was not written by homing: move it away first",
                path.display()
            )));
        }
        let folder = path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(folder).map_err(|source| Error::Write {
            path: folder.to_owned(),
            source,
        })?;
        file::replace(path, unit.text.as_bytes(), Access::Public)?;
    }
    let other = running(context)?.filter(|_| active(context, &unit) != "active");
    systemctl(context, &["daemon-reload"])?;
    systemctl(context, &["enable", &unit.name])?;
    if let Some(other) = other {
        // It would wait for the lock again and again: started without waiting for it to be ready.
        systemctl(context, &["restart", "--no-block", &unit.name])?;
        context.out.warn(&format!(
            "another watch runs already (process {}); the unit takes over within seconds after that one has ended",
            other.process
        ));
    } else {
        systemctl(context, &["restart", &unit.name])?;
    }
    context.out.both(
        &format!(
            "{} is installed and starts with each login. See it with `homing watch --status` and `journalctl --user -u {}`.\nTo let it run also while you are not logged in: loginctl enable-linger",
            unit.name, unit.name
        ),
        &json!({ "unit": unit.name, "file": unit.path.as_ref().map_or(PACKAGED.into(), |path| path.display().to_string()), "installed": true }),
    )
}

/// `homing watch --uninstall`.
pub(super) fn uninstall(context: &Context) -> Result<(), Error> {
    let unit = Unit::of(context)?;
    let known = unit.path.is_none() || unit.is_ours();
    if known {
        systemctl(context, &["disable", "--now", &unit.name])?;
        if let Some(path) = &unit.path {
            std::fs::remove_file(path).map_err(|source| Error::Write {
                path: path.clone(),
                source,
            })?;
            systemctl(context, &["daemon-reload"])?;
        }
        // What failed before is of no interest any more; a unit that never failed has nothing to reset.
        let _ = systemctl(context, &["reset-failed", &unit.name]);
    }
    let sentence = if known {
        format!(
            "{} is stopped and not started any more. The account stays as it is.",
            unit.name
        )
    } else {
        format!(
            "{} was not installed by homing; nothing was changed.",
            unit.name
        )
    };
    let object = json!({ "unit": unit.name, "installed": false });
    context.out.both(&sentence, &object)
}

/// What the watch that runs says of itself; `None` when none does.
fn running(context: &Context) -> Result<Option<Report>, Error> {
    // The lock tells the truth: what was written may be of one that was killed.
    if !file::is_locked(&lock_path(&context.home))? {
        return Ok(None);
    }
    Ok(Some(Report::read(&context.home).unwrap_or(Report {
        process: 0,
        since_ms: UnixMs::now().0,
        connected_ms: None,
        trouble: None,
    })))
}

/// One word of the manager about a unit; `unknown` where there is none.
fn word(context: &Context, verb: &str, unit: &Unit) -> String {
    match systemctl(context, &[verb, &unit.name]) {
        Ok(said) => said.trim().to_owned(),
        // `is-active` and `is-enabled` fail for every word but the best one, and print it.
        Err(Error::UserManager { .. }) => {
            let output = Command::new("systemctl")
                .args(["--user", verb, &unit.name])
                .output();
            let said = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            said.map_or_else(|_| "unknown".to_owned(), |said| said.trim().to_owned())
        }
        Err(_) => "unknown".to_owned(),
    }
}

fn active(context: &Context, unit: &Unit) -> String {
    word(context, "is-active", unit)
}

/// `homing watch --status`.
pub(super) fn status(context: &Context) -> Result<(), Error> {
    let account = Store::open(&context.home)?.account()?;
    let unit = Unit::of(context)?;
    let report = running(context)?;
    let installed =
        unit.is_ours() || (unit.path.is_none() && word(context, "is-enabled", &unit) == "enabled");
    let now = UnixMs::now();
    let (running, connection) = match &report {
        None => ("no".to_owned(), "none".to_owned()),
        Some(report) => (
            format!(
                "since {} (process {})",
                UnixMs(report.since_ms).short(now),
                report.process
            ),
            match (report.connected_ms, &report.trouble) {
                (Some(since), _) => {
                    format!("{} since {}", account.broker, UnixMs(since).short(now))
                }
                (None, Some(trouble)) => format!("none: {trouble}"),
                (None, None) => "not yet".to_owned(),
            },
        ),
    };
    let manager = if installed {
        format!("{} ({})", unit.name, active(context, &unit))
    } else {
        "not installed; `homing watch --install` does it".to_owned()
    };
    for (label, value) in [
        ("running", &running),
        ("broker", &connection),
        ("unit", &manager),
    ] {
        let value = crate::output::harmless(value);
        context.out.text(&format!("{label:<12} {value}"))?;
    }
    context.out.json(&json!({
        "running": report.is_some(),
        "process": report.as_ref().map(|report| report.process),
        "since": report.as_ref().map(|report| UnixMs(report.since_ms).rfc3339()),
        "connected_since": report.as_ref().and_then(|report| report.connected_ms).map(|ms| UnixMs(ms).rfc3339()),
        "trouble": report.as_ref().and_then(|report| report.trouble.clone()),
        "broker": account.broker,
        "unit": unit.name,
        "installed": installed,
        "unit_state": installed.then(|| active(context, &unit)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_names_program_and_folder_and_keeps_everything_else_as_shipped() {
        let home = Path::new("/home/eva maria/100% $HOME/homing");
        let text = rendered(Path::new("/opt/bin/homing"), home).expect("rendered");
        for line in [
            "ExecStart=\"/opt/bin/homing\" --home \"/home/eva maria/100%% $$HOME/homing\" watch\n",
            "ConditionPathExists=/home/eva maria/100%% $HOME/homing/homing.db\n",
            "ReadWritePaths=\"/home/eva maria/100%% $HOME/homing\"\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        let written: Vec<_> = text.lines().skip(1).collect();
        let shipped: Vec<_> = SHIPPED.lines().collect();
        assert_eq!(written.len(), shipped.len());
        let differ = written.iter().zip(&shipped).filter(|(a, b)| a != b);
        assert_eq!(differ.count(), 3);
        let text = rendered(Path::new("/tmp/homing"), home).expect("rendered");
        assert!(text.contains("PrivateTmp=no\n"));
    }

    #[test]
    fn a_path_that_could_end_its_line_or_its_quotation_is_refused() {
        for path in ["/a\nExecStart=/bin/sh", "/a\"b", "/a\\b", "/a'b"] {
            assert!(quoted(Path::new(path)).is_err(), "{path:?}");
        }
    }
}
