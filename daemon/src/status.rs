//! What the agent is doing right now, as a small file in the runtime directory for `homingd status`. It must not carry keys, positions or commands.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use homing_policy::State;
use homing_protocol::Refusal;
use serde_json::{Value, json};

use crate::args::{Order, Switch};
use crate::durable::{self, Access};
use crate::exit::ExitError;
use crate::keystore::Identity;
use crate::{config, print, process};

/// How the agent stands to its broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    /// The session is up.
    Connected,
    /// It is not; a sentence says why.
    Waiting {
        /// Why.
        reason: String,
    },
}

/// How often what was refused since the agent started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals(BTreeMap<Refusal, u32>);

impl Refusals {
    /// Counts one.
    pub fn count(&mut self, refusal: Refusal) {
        let counter = self.0.entry(refusal).or_default();
        *counter = counter.saturating_add(1);
    }
    /// All together.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.0
            .values()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }
    fn json(&self) -> Value {
        self.0
            .iter()
            .map(|(refusal, count)| (refusal.word().to_owned(), json!(count)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}

/// The file.
#[derive(Debug)]
pub struct StatusFile {
    path: PathBuf,
    written: String,
    /// When this process started, [`process::started`].
    started: u64,
}

fn path(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("status.json")
}

impl StatusFile {
    /// The file in this folder; nothing is written yet.
    #[must_use]
    pub fn new(runtime_dir: &Path) -> Self {
        Self {
            path: path(runtime_dir),
            written: String::new(),
            started: process::started(std::process::id()).unwrap_or(0),
        }
    }
    /// Writes the status if it differs from what was written last.
    pub fn write(&mut self, connection: &Connection, refusals: &Refusals, state: &State) {
        let (word, reason) = match connection {
            Connection::Connected => ("connected", None),
            Connection::Waiting { reason } => ("waiting", Some(reason)),
        };
        let open: Vec<Value> = state
            .open()
            .map(|entry| json!({"order": entry.accepted.op.word(), "command": entry.accepted.id.to_string(), "state": entry.state.word()}))
            .collect();
        let text = json!({
            "broker": word,
            "why": reason,
            "refused": refusals.json(),
            "open": open,
            "beacons": state.beacons(),
            "receipts": state.receipts,
            "reports": state.reports,
            "reports_stored": state.reports_stored,
            "set_back": state.set_back.is_some(),
            "authority_version": state.authority.0,
            "key_set_version": state.key_set.0,
            "pid": std::process::id(),
            "started": self.started,
        })
        .to_string();
        if text != self.written {
            if let Err(error) = durable::show(&self.path, text.as_bytes(), Access::Private) {
                tracing::debug!("the status is not shown: {error}");
            }
            self.written = text;
        }
    }
    /// Removes the file: the agent is not running any more.
    pub fn remove(&self) {
        if let Err(error) = durable::hide(&self.path) {
            tracing::debug!("the status stays behind: {error}");
        }
    }
}

/// `homingd status [--json]`.
///
/// # Errors
/// A file that cannot be read.
pub fn run(order: &Order) -> Result<(), ExitError> {
    let settings = config::load(&order.source)?.settings;
    let identity = Identity::load(&settings.state_dir)?;
    let running: Option<Value> = fs::read(path(&settings.runtime_dir))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .filter(|status: &Value| is_running(status));
    let enrolled = match &identity {
        None => "no",
        Some(identity) if identity.certificate.is_none() => "claimed",
        Some(_) => "yes",
    };
    let whole = json!({
        "enrolled": enrolled,
        "name": identity.as_ref().map(|identity| identity.bundle.name.clone()),
        "device": identity.as_ref().map(|identity| identity.bundle.address.device.to_string()),
        "account": identity.as_ref().map(|identity| identity.bundle.address.account.to_string()),
        "epoch": identity.as_ref().map(|identity| identity.bundle.epoch),
        "fingerprint": identity.as_ref().map(|identity| identity.public().fingerprint()),
        "broker_address": identity.as_ref().map(|identity| identity.bundle.broker.clone()),
        "retention_days": identity.as_ref().map(|identity| identity.retention_days),
        "agent": running,
    });
    let text = if order.switch("--json") == Switch::On {
        format!("{whole}\n")
    } else {
        sentences(&whole)
    };
    Ok(print(&text)?)
}

fn is_running(status: &Value) -> bool {
    let number = |name| status.get(name).and_then(Value::as_u64);
    number("pid")
        .and_then(|pid| u32::try_from(pid).ok())
        .is_some_and(|pid| process::runs(pid, number("started").unwrap_or(0)))
}

fn sentences(whole: &Value) -> String {
    let text = |name: &str| {
        whole
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or("?")
            .to_owned()
    };
    let mut lines = match text("enrolled").as_str() {
        "yes" => vec![
            format!(
                "This phone is \"{}\" of account {}.",
                text("name"),
                text("account")
            ),
            format!("Fingerprint: {}", text("fingerprint")),
        ],
        "claimed" => vec![
            format!(
                "This phone has claimed to be \"{}\"; the owner has not answered yet.",
                text("name")
            ),
            format!(
                "Fingerprint, to compare with the owner's screen: {}",
                text("fingerprint")
            ),
        ],
        _ => vec!["This phone has not joined an account: homingd enrol BUNDLE".to_owned()],
    };
    match whole.get("agent").filter(|agent| !agent.is_null()) {
        None => lines.push("The agent is not running.".into()),
        Some(agent) => {
            let broker = agent.get("broker").and_then(Value::as_str).unwrap_or("?");
            let why = agent
                .get("why")
                .and_then(Value::as_str)
                .map(|why| format!(": {why}"))
                .unwrap_or_default();
            lines.push(format!("The agent is running; broker: {broker}{why}."));
            if agent.get("set_back").and_then(Value::as_bool) == Some(true) {
                lines.push("This phone's state was set back to an older one. It is found and rings as before; what is more waits for the owner's `homing resume`.".into());
            }
            for (word, count) in agent
                .get("refused")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
            {
                lines.push(format!("Refused since it started: {count} × {word}"));
            }
            for open in agent
                .get("open")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                let field = |name: &str| {
                    open.get(name)
                        .and_then(Value::as_str)
                        .unwrap_or("?")
                        .to_owned()
                };
                lines.push(format!(
                    "Open order: {} {} ({})",
                    field("order"),
                    field("command"),
                    field("state")
                ));
            }
        }
    }
    lines.join("\n") + "\n"
}
