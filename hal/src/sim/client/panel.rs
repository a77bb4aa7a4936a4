//! The simulated panel, touch and keys over the control socket. Nothing is simulated here.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{ANSWER_TIME, Line, probed};
use crate::capability::panel::{Backlight, Frame, Geometry, Panel};
use crate::capability::touch::{CaseKey, Input, Phase, Touch};
use crate::fault::{Cancel, Fault, Probe};

/// Longest single wait for hands; the wait goes on in a new request.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// The simulated panel.
#[derive(Debug)]
pub struct SimPanel {
    line: Line,
}

/// The simulated touch panel and keys.
#[derive(Debug)]
pub struct SimTouch {
    line: Line,
    /// The last input that was taken; none before the first.
    seen: Option<u64>,
}

impl SimPanel {
    /// A driver over the control socket at this path; nothing is opened yet.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self {
            line: Line::new(socket),
        }
    }

    fn order(&mut self, order: &Value) -> Result<(), Fault> {
        self.line.ask::<Value>(order).map(drop)
    }
}

impl Panel for SimPanel {
    fn name(&self) -> &'static str {
        "simulator"
    }

    fn probe(&self) -> Probe {
        probed(&self.line.path, "panel")
    }

    fn take(&mut self) -> Result<Geometry, Fault> {
        #[derive(Deserialize)]
        struct Answer {
            width_px: u16,
            height_px: u16,
            width_mm: u16,
            height_mm: u16,
        }
        let answer: Answer = self.line.ask(&json!({"do": "panel_take"}))?;
        Ok(Geometry {
            width_px: answer.width_px,
            height_px: answer.height_px,
            width_mm: answer.width_mm,
            height_mm: answer.height_mm,
        })
    }

    fn show(&mut self, frame: &Frame, text: &str) -> Result<(), Fault> {
        let size = (usize::from(frame.width_px), usize::from(frame.height_px));
        if size.0 * size.1 != frame.luma.len() {
            return Err(Fault::Broken(
                "a frame has as many pixels as it says".into(),
            ));
        }
        let order = json!({
            "do": "panel_show",
            "width_px": frame.width_px,
            "height_px": frame.height_px,
            "text": text,
        });
        let until = Instant::now() + ANSWER_TIME;
        self.line
            .ask_until::<Value>(&order, &frame.luma, until, &Cancel::new())
            .map(drop)
    }

    fn light(&mut self, backlight: Backlight) -> Result<(), Fault> {
        let percent = match backlight {
            Backlight::Off => 0,
            Backlight::Percent(percent) => percent.clamp(1, 100),
        };
        self.order(&json!({"do": "panel_light", "percent": percent}))
    }

    fn release(&mut self) -> Result<(), Fault> {
        self.order(&json!({"do": "panel_release"}))
    }
}

impl SimTouch {
    /// A driver over the control socket at this path; nothing is opened yet.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self {
            line: Line::new(socket),
            seen: None,
        }
    }

    fn ask(&mut self, seen: u64, longest: Duration, cancel: &Cancel) -> Result<Answer, Fault> {
        let ms = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        let order = json!({"do": "await_input", "seen": seen, "ms": ms});
        let until = Instant::now() + longest + ANSWER_TIME;
        self.line.ask_until(&order, &[], until, cancel)
    }
}

#[derive(Deserialize)]
struct Answer {
    seen: u64,
    newest: u64,
    input: Option<Told>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Told {
    Key { key: CaseKey },
    Touch { phase: Phase, x: f32, y: f32 },
}

impl Touch for SimTouch {
    fn name(&self) -> &'static str {
        "simulator"
    }

    fn probe(&self) -> Probe {
        probed(&self.line.path, "panel")
    }

    fn take(&mut self) -> Result<(), Fault> {
        if self.seen.is_none() {
            let answer = self.ask(u64::MAX, Duration::ZERO, &Cancel::new())?;
            self.seen = Some(answer.newest);
        }
        Ok(())
    }

    fn next(&mut self, cancel: &Cancel) -> Result<Input, Fault> {
        self.take()?;
        loop {
            let seen = self.seen.unwrap_or(0);
            let answer = self.ask(seen, LONGEST_WAIT, cancel)?;
            if let Some(told) = answer.input {
                self.seen = Some(answer.seen);
                return Ok(match told {
                    Told::Key { key } => Input::Key(key),
                    Told::Touch { phase, x, y } => Input::Touch { phase, x, y },
                });
            }
        }
    }

    fn release(&mut self) -> Result<(), Fault> {
        self.seen = None;
        Ok(())
    }
}
