//! `homing watch` as somebody's service: one for each account, under a real systemd of the user's where there is one, through kills and brokers that come and go.

use crate::story::{Watch, queue, text};
use e2e::{Household, PATIENCE, PHONE, Proc, Receiver, wait_until};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// A systemd that runs for a user with a home and a runtime folder of his own.
struct Manager {
    process: Proc,
    home: PathBuf,
    runtime: PathBuf,
}

impl Manager {
    /// Starts it; `None`, and a word about it, where that cannot be done. It believes that it was booted with systemd: `/run`
    /// is another one in its eyes.
    fn start(household: &Household) -> Option<Self> {
        let home = household.scratch.folder("user");
        let runtime = household.scratch.folder("user/run");
        let mut command = Command::new("unshare");
        command
            .args(["-m", "--propagation", "private", "sh", "-c"])
            .arg("mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system && exec /usr/lib/systemd/systemd --user")
            .env("XDG_RUNTIME_DIR", &runtime)
            .env("HOME", &home)
            .env("SYSTEMD_LOG_TARGET", "console");
        if !PathBuf::from("/usr/lib/systemd/systemd").exists() {
            eprintln!("SKIPPED: no systemd is installed here");
            return None;
        }
        let process = Proc::start("manager", &household.scratch.folder("logs"), &mut command);
        let mut manager = Self {
            process,
            home,
            runtime,
        };
        let answers = wait_until(PATIENCE, "the user's systemd", || {
            if manager.process.ended().is_some() {
                return Some(false);
            }
            manager.ask(&["show-environment"]).map(|_| true)
        });
        if !answers {
            eprintln!(
                "SKIPPED: a user's systemd cannot be started here: {}",
                manager.process.log()
            );
            return None;
        }
        Some(manager)
    }

    /// What `systemctl --user` prints; `None` when it fails.
    fn ask(&self, asked: &[&str]) -> Option<String> {
        let output = Command::new("systemctl")
            .arg("--user")
            .args(asked)
            .env("XDG_RUNTIME_DIR", &self.runtime)
            .env("HOME", &self.home)
            .output();
        let output = output.ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // Units are not in the manager's process group: they end with an orderly end of it.
        let _ = self.ask(&["exit"]);
        let _ = self.process.terminate(PATIENCE);
    }
}

fn status(household: &Household) -> Value {
    household.owner.json(&["watch", "--status"])
}

#[test]
fn the_watch_is_installed_in_the_users_own_systemd_restarted_and_taken_back() {
    let mut household = Household::enrolled(Receiver::Simulated);
    let Some(manager) = Manager::start(&household) else {
        return;
    };
    household.owner.set_variable("HOME", &manager.home);
    household
        .owner
        .set_variable("XDG_RUNTIME_DIR", &manager.runtime);
    assert_eq!(status(&household)["running"], false);
    assert_eq!(status(&household)["installed"], false);
    let installed = household.owner.json(&["watch", "--install"]);
    let unit = text(&installed["unit"]).to_owned();
    let file = PathBuf::from(text(&installed["file"]));
    // The unit was called active only when it was ready, which is after the first attempt to connect.
    let first = status(&household);
    assert_eq!(
        (&first["running"], &first["unit_state"]),
        (&true.into(), &"active".into()),
        "{first}"
    );
    assert!(first["connected_since"].is_string(), "{first}");
    assert!(manager.ask(&["is-enabled", &unit]).is_some());
    wait_until(PATIENCE, "the unit to say that it is connected", || {
        let said = manager.ask(&["show", &unit, "-p", "StatusText"])?;
        said.contains("connected to mqtts://").then_some(())
    });

    // It does what a watch does: an order that nobody waits for is delivered.
    let order = queue(&household.owner, &["locate", PHONE]);
    wait_until(PATIENCE, "the order to be done", || {
        let log = household.log();
        let found = log.iter().find(|found| found["id"] == order.as_str())?;
        (found["state"] == "done").then_some(())
    });

    // Killed, it comes back by itself.
    let process = first["process"].as_u64().unwrap();
    let killed = Command::new("kill")
        .args(["-9", &process.to_string()])
        .status();
    assert!(killed.unwrap().success());
    // It is connected a moment before systemd has heard that it is ready.
    wait_until(PATIENCE, "the watch to be back", || {
        let status = status(&household);
        (status["running"] == true
            && status["process"] != process
            && status["connected_since"].is_string()
            && status["unit_state"] == "active")
            .then_some(())
    });

    // A broker that goes away is said to be away, and the unit stays active.
    household.broker.stop();
    wait_until(PATIENCE, "the trouble to be told", || {
        let status = status(&household);
        (status["connected_since"].is_null()
            && status["trouble"].is_string()
            && status["unit_state"] == "active")
            .then_some(())
    });
    household.broker.restart();
    wait_until(PATIENCE, "the watch to be connected again", || {
        status(&household)["connected_since"]
            .is_string()
            .then_some(())
    });

    let taken_back = household.owner.json(&["watch", "--uninstall"]);
    assert_eq!(taken_back["installed"], false);
    assert!(!file.exists());
    assert!(manager.ask(&["is-enabled", &unit]).is_none());
    assert_eq!(status(&household)["running"], false);
    let folder = std::fs::read_dir(file.parent().unwrap()).unwrap();
    let left: Vec<_> = folder
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_second_watch_ends_at_once_and_names_the_first() {
    let household = Household::enrolled(Receiver::Simulated);
    let _watch = Watch::start(&household);
    let process = status(&household)["process"].as_u64().unwrap();
    let refused = household.owner.homing(&["watch"]).sentence("homing", 75);
    assert!(
        refused.contains("another `homing watch` runs")
            && refused.contains(&format!("process {process}")),
        "{refused}"
    );
}

#[test]
fn without_a_systemd_of_the_user_nothing_is_installed_and_what_to_start_is_told() {
    let mut household = Household::without_phone(Receiver::Simulated);
    let home = household.scratch.folder("user");
    for name in ["HOME", "XDG_RUNTIME_DIR"] {
        household.owner.set_variable(name, &home);
    }
    let answer = household
        .owner
        .homing(&["watch", "--install"])
        .expect_code(78);
    assert!(answer.stderr.contains("nothing was installed"), "{answer}");
    let command = format!("--home {} watch", household.owner.home().display());
    assert!(answer.stderr.contains(&command), "{answer}");
    assert!(!home.join(".config/systemd").exists());
    let status = status(&household);
    assert_eq!(
        (&status["running"], &status["installed"]),
        (&false.into(), &false.into())
    );
}

#[test]
fn a_watch_that_is_told_to_end_says_goodbye_and_ends_with_success() {
    let household = Household::enrolled(Receiver::Simulated);
    let mut watch = household.owner.start("ending", &["watch"]);
    wait_until(PATIENCE, "the watch to be connected", || {
        status(&household)["connected_since"]
            .is_string()
            .then_some(())
    });
    let ended = watch.terminate(PATIENCE);
    assert!(ended.success(), "{ended}: {}", watch.log());
    assert_eq!(status(&household)["running"], false);
    wait_until(PATIENCE, "the broker to have heard the goodbye", || {
        let log = household.broker.log();
        log.lines()
            .any(|line| line.contains("Client owner-") && line.contains("disconnected."))
            .then_some(())
    });
}
