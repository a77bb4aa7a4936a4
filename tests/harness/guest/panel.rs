//! A guest's panel and keys: what is on it now, and what somebody presses. It must not know what a story expects to see.

use super::Guest;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long QEMU may take for an answer.
const ANSWER: Duration = Duration::from_secs(60);

/// What a whole system shows something on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Panel {
    /// Nothing.
    #[default]
    Absent,
    /// A panel of 720 × 1440 pixels, a keyboard with a power key, and a tablet: the lost screen takes it from everybody and hears no finger in it, as it
    /// has no `BTN_TOUCH`.
    Virtio,
}

pub(super) fn add(command: &mut Command) {
    command
        .args(["-device", "virtio-gpu-pci,xres=720,yres=1440"])
        .args(["-device", "virtio-keyboard-pci"])
        .args(["-device", "virtio-tablet-pci"]);
}

/// QEMU's own socket; one command at a time.
struct Machine {
    stream: BufReader<UnixStream>,
}

impl Machine {
    #[track_caller]
    fn of(folder: &Path) -> Self {
        let path = folder.join("qmp.sock");
        let stream = UnixStream::connect(&path)
            .and_then(|stream| stream.set_read_timeout(Some(ANSWER)).map(|()| stream))
            .unwrap_or_else(|error| panic!("QEMU's socket {}: {error}", path.display()));
        let mut machine = Self {
            stream: BufReader::new(stream),
        };
        let _greeting = machine.line();
        let _ = machine.does("qmp_capabilities", &json!({}));
        machine
    }

    #[track_caller]
    fn line(&mut self) -> Value {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line);
        assert!(
            read.as_ref().is_ok_and(|length| *length > 0),
            "QEMU fell silent: {read:?}"
        );
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("QEMU said {line:?}: {error}"))
    }

    #[track_caller]
    fn does(&mut self, what: &str, how: &Value) -> Value {
        let order = json!({"execute": what, "arguments": how});
        let written = writeln!(self.stream.get_mut(), "{order}");
        assert!(written.is_ok(), "QEMU is gone: {written:?}");
        loop {
            let said = self.line();
            assert!(said.get("error").is_none(), "{order}: {said}");
            if let Some(answer) = said.get("return") {
                return answer.clone();
            }
        }
    }
}

impl Guest {
    /// Writes what is on the panel now to a PNG of this name in the guest's folder; returns its path.
    ///
    /// # Panics
    /// When QEMU does not.
    #[track_caller]
    #[must_use]
    pub fn screenshot(&self, name: &str) -> PathBuf {
        let path = self.folder.join(format!("{name}.png"));
        let how = json!({"filename": path.display().to_string(), "format": "png"});
        let _ = self.order("screendump", &how);
        path
    }

    /// Presses these keys together, by QEMU's names for them, and lets them go.
    ///
    /// # Panics
    /// When QEMU does not know one.
    #[track_caller]
    pub fn press(&self, keys: &[&str]) {
        self.press_for(keys, Duration::from_millis(100));
    }

    /// Likewise, and lets them go after `held`.
    ///
    /// # Panics
    /// When QEMU does not know one.
    #[track_caller]
    pub fn press_for(&self, keys: &[&str], held: Duration) {
        let keys: Vec<Value> = keys
            .iter()
            .map(|key| json!({"type": "qcode", "data": key}))
            .collect();
        let held_ms = u64::try_from(held.as_millis()).unwrap_or(u64::MAX);
        let _ = self.order("send-key", &json!({"keys": keys, "hold-time": held_ms}));
    }

    /// Clicks with the tablet at a place of the panel, in 32,767ths of its width and height, and lets go.
    ///
    /// # Panics
    /// When QEMU is gone.
    #[track_caller]
    pub fn tap(&self, x: u16, y: u16) {
        let axis =
            |axis: &str, value: u16| json!({"type": "abs", "data": {"axis": axis, "value": value}});
        let finger = |down: bool| json!({"type": "btn", "data": {"button": "left", "down": down}});
        for events in [
            json!([axis("x", x), axis("y", y), finger(true)]),
            json!([finger(false)]),
        ] {
            let _ = self.order("input-send-event", &json!({"events": events}));
        }
    }

    /// One command of QEMU's own protocol (QMP), as plugging something in; returns its answer.
    ///
    /// # Panics
    /// When QEMU does not carry it out.
    #[track_caller]
    #[must_use]
    pub fn order(&self, what: &str, how: &Value) -> Value {
        Machine::of(&self.folder).does(what, how)
    }
}
