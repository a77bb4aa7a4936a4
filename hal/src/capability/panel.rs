//! The phone's panel: its size, what it shows and how brightly. What is drawn is decided elsewhere.

use crate::fault::{Fault, Probe};

/// How a panel is built into its phone: clockwise turns that bring its own first row to the left, the bottom or the right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rotation {
    /// Its first row is at the top.
    #[default]
    Upright,
    /// A quarter turn clockwise.
    Right,
    /// Half a turn.
    UpsideDown,
    /// A quarter turn counter-clockwise.
    Left,
}

/// A panel's size as the person who holds the phone sees it, upright.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Width in pixels, at least 1.
    pub width_px: u16,
    /// Height in pixels, at least 1.
    pub height_px: u16,
    /// Width in millimetres; 0 when the hardware does not say.
    pub width_mm: u16,
    /// Height in millimetres; 0 when the hardware does not say.
    pub height_mm: u16,
}

/// Width of a phone's shorter side where the hardware does not say, in millimetres: between a PinePhone (68) and the
/// smallest phones that Linux runs on (58).
const USUAL_SHORT_SIDE_MM: f32 = 62.0;
/// Densities that phones have, pixels per millimetre (76 to 1,000 dpi); a panel that states another one lies.
const DENSITIES: std::ops::RangeInclusive<f32> = 3.0..=40.0;

impl Geometry {
    /// Pixels per millimetre; from the shorter side of usual phones where the panel states no size, or an impossible one.
    #[must_use]
    pub fn px_per_mm(&self) -> f32 {
        let stated = f32::from(self.width_px) / f32::from(self.width_mm.max(1));
        let other = f32::from(self.height_px) / f32::from(self.height_mm.max(1));
        let square = (stated / other - 1.0).abs() < 0.25;
        if self.width_mm > 0 && self.height_mm > 0 && square && DENSITIES.contains(&stated) {
            return (stated + other) / 2.0;
        }
        f32::from(self.width_px.min(self.height_px)) / USUAL_SHORT_SIDE_MM
    }
}

/// A picture in shades of grey, upright: `luma` has one byte for each pixel, 0 black to 255 white (sRGB), row by row.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// Width in pixels.
    pub width_px: u16,
    /// Height in pixels.
    pub height_px: u16,
    /// `width_px × height_px` bytes.
    pub luma: Vec<u8>,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({} × {})", self.width_px, self.height_px)
    }
}

/// How brightly a panel is lit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backlight {
    /// Not at all; the panel may be switched off.
    Off,
    /// A part of the brightest, percent, 1 to 100.
    Percent(u8),
}

/// A panel that one program holds at a time.
pub trait Panel: Send {
    /// The driver's name.
    fn name(&self) -> &'static str;

    /// Whether it would work on this phone.
    fn probe(&self) -> Probe;

    /// Takes the panel from whoever has it, keyboard and text console included, and says how large it is. Harmless to repeat.
    ///
    /// # Errors
    /// [`Fault::Absent`] without a panel, [`Fault::Busy`] when another program draws on it, [`Fault::Denied`] without the right.
    fn take(&mut self) -> Result<Geometry, Fault>;

    /// Shows a frame of the panel's size; `text` is what it says, line by line, for whoever cannot see it.
    ///
    /// # Errors
    /// [`Fault::Broken`] for a frame of another size, or when the panel was not taken; the panel's own.
    fn show(&mut self, frame: &Frame, text: &str) -> Result<(), Fault>;

    /// Lights the panel, or switches it off.
    ///
    /// # Errors
    /// The backlight's; [`Fault::Broken`] when the panel was not taken.
    fn light(&mut self, backlight: Backlight) -> Result<(), Fault>;

    /// Gives the panel, the keyboard and the console back as they were found. A holder that dies without it leaves the
    /// console locked on purpose: nobody gets at a session by killing the lost screen.
    ///
    /// # Errors
    /// What could not be given back.
    fn release(&mut self) -> Result<(), Fault>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panel_that_states_no_or_an_impossible_size_is_taken_for_a_usual_phone() {
        let of = |width_px, height_px, width_mm, height_mm| {
            Geometry {
                width_px,
                height_px,
                width_mm,
                height_mm,
            }
            .px_per_mm()
        };
        assert!((of(720, 1440, 68, 136) - 10.588).abs() < 0.01);
        for (width_mm, height_mm) in [(0, 0), (68, 0), (1, 2), (680, 1360), (68, 68)] {
            let density = of(720, 1440, width_mm, height_mm);
            assert!((density - 720.0 / 62.0).abs() < 0.01, "{density}");
        }
    }
}
