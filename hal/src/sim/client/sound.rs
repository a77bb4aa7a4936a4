//! The simulated phone's loudspeaker, vibrator and torch over the control socket. Nothing is simulated here.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{ANSWER_TIME, Line, probed};
use crate::capability::attention::{Attention, Pulse};
use crate::capability::siren::{FoundMixer, SirenOutput, SoundCard};
use crate::fault::{Cancel, Fault, Probe};
use crate::sim::request::{Attraction, PCM_LIMIT};
use crate::sim::wire::to_bytes;

/// The simulated sound card.
#[derive(Debug)]
pub struct SimSoundCard {
    path: PathBuf,
}

/// The simulated loudspeaker, held for as long as this lives.
#[derive(Debug)]
pub struct SimSiren {
    line: Line,
    sample_rate: u32,
    found: String,
    unlocked: Vec<String>,
}

impl SimSoundCard {
    /// A driver over the control socket at this path; nothing is opened yet.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self {
            path: socket.to_path_buf(),
        }
    }
}

impl SoundCard for SimSoundCard {
    fn name(&self) -> &'static str {
        "simulator"
    }

    fn probe(&self) -> Probe {
        probed(&self.path, "siren")
    }

    fn open(&mut self) -> Result<Box<dyn SirenOutput>, Fault> {
        #[derive(Deserialize)]
        struct Answer {
            sample_rate: u32,
            mixer: Value,
        }
        let mut line = Line::new(&self.path);
        let Answer { sample_rate, mixer } = line.ask(&json!({"do": "siren_open"}))?;
        Ok(Box::new(SimSiren {
            line,
            sample_rate,
            found: mixer.to_string(),
            unlocked: Vec::new(),
        }))
    }

    fn put_back(&mut self, mixer: &str) -> Result<(), Fault> {
        let mixer = words(mixer)?;
        Line::new(&self.path)
            .ask::<Value>(&json!({"do": "siren_put_back", "mixer": mixer}))
            .map(drop)
    }
}

/// A mixer in the simulator's words.
fn words(mixer: &str) -> Result<Value, Fault> {
    serde_json::from_str(mixer)
        .map_err(|error| Fault::Broken(format!("not a mixer of the simulator: {error}")))
}

impl SimSiren {
    fn order(&mut self, request: &Value, raw: &[u8]) -> Result<Value, Fault> {
        if self.line.open.is_none() {
            // The loudspeaker belongs to the connection that opened it.
            return Err(Fault::Broken("the simulated loudspeaker was lost".into()));
        }
        self.line
            .ask_until(request, raw, Instant::now() + ANSWER_TIME, &Cancel::new())
    }
}

impl SirenOutput for SimSiren {
    fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    fn write(&mut self, samples: &[i16]) -> Result<(), Fault> {
        samples.chunks(PCM_LIMIT as usize).try_for_each(|chunk| {
            let request = json!({"do": "pcm", "samples": chunk.len()});
            self.order(&request, &to_bytes(chunk)).map(drop)
        })
    }

    fn assert_loud(&mut self) -> Result<(), Fault> {
        let answer = self.order(&json!({"do": "assert_loud"}), &[])?;
        let named = answer["unlocked"].as_array().into_iter().flatten();
        self.unlocked = named
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect();
        Ok(())
    }

    fn unlocked(&self) -> &[String] {
        &self.unlocked
    }

    fn found(&self) -> Option<FoundMixer> {
        Some(FoundMixer {
            card: "simulated".into(),
            mixer: self.found.clone(),
        })
    }

    fn take_over(&mut self, mixer: &str) -> Result<(), Fault> {
        let words = words(mixer)?;
        self.order(&json!({"do": "siren_take_over", "mixer": words}), &[])?;
        mixer.clone_into(&mut self.found);
        Ok(())
    }

    fn release(mut self: Box<Self>) -> Result<(), Fault> {
        self.order(&json!({"do": "siren_release"}), &[]).map(drop)
    }
}

/// The simulated vibrator or torch.
#[derive(Debug)]
pub struct SimAttention {
    line: Line,
    path: PathBuf,
    which: Attraction,
}

impl SimAttention {
    /// A driver over the control socket at this path; nothing is opened yet.
    #[must_use]
    pub fn new(socket: &Path, which: Attraction) -> Self {
        Self {
            line: Line::new(socket),
            path: socket.to_path_buf(),
            which,
        }
    }

    fn set(&mut self, pulse: Pulse) -> Result<(), Fault> {
        let request = json!({"do": "pulse", "by": self.which, "on": pulse == Pulse::On});
        self.line.ask::<Value>(&request).map(drop)
    }
}

impl Attention for SimAttention {
    fn name(&self) -> &'static str {
        "simulator"
    }

    fn probe(&self) -> Probe {
        probed(&self.path, self.which.name())
    }

    fn found(&mut self) -> Option<FoundMixer> {
        Some(FoundMixer {
            card: self.which.name().into(),
            mixer: self.which.name().into(),
        })
    }

    fn pulse(&mut self, pulse: Pulse) -> Result<(), Fault> {
        self.set(pulse)
    }

    fn put_back(&mut self, found: &str) -> Result<(), Fault> {
        if found != self.which.name() {
            return Err(Fault::Broken("not the simulator's".into()));
        }
        self.set(Pulse::Off)
    }
}
