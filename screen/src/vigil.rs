//! When the panel is lit: bright after a touch, then dim, then off, and no wake-up while it is off. Pure: instants come in as values.

use std::time::{Duration, Instant};

use homing_hal::capability::panel::Backlight;

/// How long the panel stays bright after a touch: as long as it takes to read 160 characters aloud, twice.
const BRIGHT: Duration = Duration::from_secs(45);
/// How long it is dim before it goes off.
const DIM: Duration = Duration::from_secs(15);
/// How long it is lit when a notice comes, or after the start of the phone: whoever is near shall see it.
const FIRST: Duration = Duration::from_secs(300);
/// The brightest that is needed indoors and out, percent.
const FULL_PERCENT: u8 = 80;
/// A panel about to go off, percent.
const DIM_PERCENT: u8 = 20;

/// How the panel is lit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lit {
    Bright { until: Instant },
    Dim { until: Instant },
    Off,
}

/// Keeps watch over the panel's light.
#[derive(Clone, Debug)]
pub struct Vigil {
    lit: Lit,
}

/// What a touch was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touched {
    /// It woke the panel and means nothing else: nobody saw what was under the finger.
    Woke,
    /// It goes to what is shown.
    Shown,
}

impl Vigil {
    /// A panel that has just been lit for a new notice.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            lit: Lit::Bright { until: now + FIRST },
        }
    }

    /// Somebody touched the panel or pressed a key other than power.
    pub fn touch(&mut self, now: Instant) -> Touched {
        let touched = match self.lit {
            Lit::Off => Touched::Woke,
            Lit::Bright { .. } | Lit::Dim { .. } => Touched::Shown,
        };
        let until = match self.lit {
            Lit::Bright { until } => until.max(now + BRIGHT),
            Lit::Dim { .. } | Lit::Off => now + BRIGHT,
        };
        self.lit = Lit::Bright { until };
        touched
    }

    /// Somebody pressed the power key: off when it is lit, lit when it is off, and nothing else.
    pub fn power_key(&mut self, now: Instant) {
        self.lit = match self.lit {
            Lit::Off => Lit::Bright {
                until: now + BRIGHT,
            },
            Lit::Bright { .. } | Lit::Dim { .. } => Lit::Off,
        };
    }

    /// Lets time pass.
    pub fn pass(&mut self, now: Instant) {
        if let Lit::Bright { until } = self.lit
            && now >= until
        {
            self.lit = Lit::Dim { until: until + DIM };
        }
        if let Lit::Dim { until } = self.lit
            && now >= until
        {
            self.lit = Lit::Off;
        }
    }

    /// How the panel shall be lit.
    #[must_use]
    pub fn backlight(&self) -> Backlight {
        match self.lit {
            Lit::Bright { .. } => Backlight::Percent(FULL_PERCENT),
            Lit::Dim { .. } => Backlight::Percent(DIM_PERCENT),
            Lit::Off => Backlight::Off,
        }
    }

    /// When to look again; `None` while the panel is off: nothing of this program runs then.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        match self.lit {
            Lit::Bright { until } | Lit::Dim { until } => Some(until),
            Lit::Off => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_untouched_panel_dims_goes_off_and_wakes_nobody_any_more() {
        let began = Instant::now();
        let mut vigil = Vigil::new(began);
        vigil.pass(began + FIRST - Duration::from_millis(1));
        assert_eq!(vigil.backlight(), Backlight::Percent(FULL_PERCENT));
        vigil.pass(began + FIRST);
        assert_eq!(vigil.backlight(), Backlight::Percent(DIM_PERCENT));
        assert_eq!(vigil.next(), Some(began + FIRST + DIM));
        vigil.pass(began + FIRST + DIM);
        assert_eq!(vigil.backlight(), Backlight::Off);
        assert_eq!(vigil.next(), None);
        vigil.pass(began + FIRST * 100);
        assert_eq!(vigil.backlight(), Backlight::Off);
    }

    #[test]
    fn the_power_key_switches_the_panel_and_a_touch_that_wakes_it_does_nothing_else() {
        let now = Instant::now();
        let mut vigil = Vigil::new(now);
        assert_eq!(vigil.touch(now), Touched::Shown);
        vigil.power_key(now);
        assert_eq!(vigil.backlight(), Backlight::Off);
        assert_eq!(vigil.touch(now), Touched::Woke);
        assert_eq!(vigil.touch(now), Touched::Shown);
        vigil.pass(now + BRIGHT);
        assert_eq!(vigil.touch(now + BRIGHT), Touched::Shown);
        assert_eq!(vigil.next(), Some(now + BRIGHT + BRIGHT));
        vigil.power_key(now + BRIGHT);
        vigil.power_key(now + BRIGHT);
        assert_eq!(vigil.backlight(), Backlight::Percent(FULL_PERCENT));
    }
}
