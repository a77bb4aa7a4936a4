//! The beat of vibrator and torch while the siren sounds. It must not keep the sound waiting, nor leave anything on.

use std::time::Duration;

use homing_hal::Probe;
use homing_hal::capability::attention::{Attention, Pulse};

use super::mixer::Memory;

/// What stands for the HAL's driver in the siren's memory of what it turned on.
pub(super) const DRIVER: &str = "attention";
/// How long a pulse and the rest after it are: once a second is seen and felt, and is no strobe, which from three flashes a
/// second on endangers people (WCAG 2.3.1).
const HALF: Duration = Duration::from_millis(500);

/// What beats, and where in its beat it is.
#[derive(Default)]
pub(super) struct Rhythm {
    all: Vec<Box<dyn Attention>>,
    /// Those that are ready, by their place; `None` while nothing beats.
    beating: Option<Beating>,
}

struct Beating {
    began: Duration,
    ready: Vec<usize>,
    pulse: Pulse,
}

impl Rhythm {
    /// Nothing beats yet.
    pub(super) fn new(all: Vec<Box<dyn Attention>>) -> Self {
        Self { all, beating: None }
    }

    /// Goes on with the beat at `now`, and begins it where nothing beats: what was found is remembered first.
    pub(super) fn beat(&mut self, memory: Memory<'_>, now: Duration) {
        let all = &mut self.all;
        let beating = self.beating.get_or_insert_with(|| {
            let pulse = Pulse::Off;
            Beating {
                began: now,
                ready: ready(all, memory),
                pulse,
            }
        });
        let halves = now.saturating_sub(beating.began).as_millis() / HALF.as_millis();
        let pulse = if halves.is_multiple_of(2) {
            Pulse::On
        } else {
            Pulse::Off
        };
        if pulse == beating.pulse {
            return;
        }
        beating.pulse = pulse;
        // One that fails would fail twice a second.
        beating.ready.retain(|&place| {
            let Some(attention) = all.get_mut(place) else {
                return false;
            };
            let done = attention.pulse(pulse);
            if let Err(fault) = &done {
                tracing::warn!(%fault, driver = attention.name(), "it draws no attention");
            }
            done.is_ok()
        });
    }

    /// Ends the beat: everything as it was found.
    pub(super) fn end(&mut self, memory: Memory<'_>) {
        let Some(beating) = self.beating.take() else {
            return;
        };
        for place in beating.ready {
            let Some(attention) = self.all.get_mut(place) else {
                continue;
            };
            match attention.pulse(Pulse::Off) {
                Ok(()) => {
                    if let Some(found) = attention.found() {
                        memory.forget(&found.card);
                    }
                }
                Err(fault) => tracing::warn!(%fault, driver = attention.name(), "it stays on"),
            }
        }
    }

    /// A siren that was killed may have left something on.
    pub(super) fn put_back(&mut self, memory: Memory<'_>) {
        for owed in memory.owed() {
            let mut all = self.all.iter_mut();
            // Each driver knows its own words only.
            if all.any(|attention| attention.put_back(&owed.mixer).is_ok()) {
                owed.forget();
            } else {
                tracing::warn!("what a siren that was killed turned on stays on for now");
            }
        }
    }
}

/// The places of those that are there, with what they were like remembered.
fn ready(all: &mut [Box<dyn Attention>], memory: Memory<'_>) -> Vec<usize> {
    let mut ready = Vec::new();
    for (place, attention) in all.iter_mut().enumerate() {
        if !matches!(attention.probe(), Probe::Ready { .. }) {
            continue;
        }
        if let Some(found) = attention.found()
            && let Some(owed) = memory.note(found)
            && let Err(fault) = attention.put_back(&owed)
        {
            tracing::warn!(%fault, driver = attention.name(), "it stays on");
        }
        ready.push(place);
    }
    ready
}
