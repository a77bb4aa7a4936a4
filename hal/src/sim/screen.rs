//! The simulated panel, its touch and its keys: what is seen, and who has it. It has no I/O.

use std::collections::VecDeque;
use std::io::Cursor;
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::request::Session;
use crate::capability::panel::{Frame, Geometry};
use crate::capability::touch::{CaseKey, Input, Phase};

/// The panel of a PinePhone.
pub const GEOMETRY: Geometry = Geometry {
    width_px: 720,
    height_px: 1440,
    width_mm: 68,
    height_mm: 136,
};
/// The user's home screen with an open document: drawn by `cargo run -p homing-screen --example session`.
const SESSION: &[u8] = include_bytes!("session.png");
/// What it says.
const SESSION_TEXT: &str =
    "14:07\nDiary, Monday\nDear diary, nobody but me may read this.\nPhotos\nMessages\nBrowser";
/// Inputs that wait for who has the panel; older ones are lost, as in the kernel's buffers.
const WAITING: usize = 256;

/// How brightly a session's own panel is lit, percent.
const SESSION_PERCENT: u8 = 60;

static SESSION_FRAME: LazyLock<Frame> = LazyLock::new(|| {
    let black = Frame {
        width_px: GEOMETRY.width_px,
        height_px: GEOMETRY.height_px,
        luma: vec![0; pixels()],
    };
    decode(SESSION).unwrap_or(black)
});

fn pixels() -> usize {
    usize::from(GEOMETRY.width_px) * usize::from(GEOMETRY.height_px)
}

/// Whoever has taken the panel.
struct Holder {
    /// Its connection.
    id: u64,
    frame: Option<Frame>,
    text: String,
}

/// The panel, touch and keys.
pub struct Screen {
    holder: Option<Holder>,
    /// A holder has locked the console and has not given it back: no session is seen, also after its death.
    console: Console,
    percent: u8,
    /// Grows with everything that changes what is seen.
    version: u64,
    inputs: VecDeque<(u64, Input)>,
    /// Inputs so far.
    happened: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Console {
    Free,
    Locked,
}

impl Default for Screen {
    fn default() -> Self {
        Self {
            holder: None,
            console: Console::Free,
            percent: SESSION_PERCENT,
            version: 0,
            inputs: VecDeque::new(),
            happened: 0,
        }
    }
}

impl Screen {
    /// A program takes the panel.
    ///
    /// # Errors
    /// A sentence, when another one has it.
    pub fn take(&mut self, id: u64) -> Result<(), String> {
        match &self.holder {
            Some(holder) if holder.id != id => return Err("another program has the panel".into()),
            Some(_) => {}
            None => {
                self.holder = Some(Holder {
                    id,
                    frame: None,
                    text: String::new(),
                });
            }
        }
        self.console = Console::Locked;
        self.version += 1;
        Ok(())
    }

    /// Its picture.
    ///
    /// # Errors
    /// A sentence, when it has not the panel, or for a picture of another size.
    pub fn show(&mut self, id: u64, frame: Frame, text: String) -> Result<(), String> {
        let size = (frame.width_px, frame.height_px, frame.luma.len());
        if size != (GEOMETRY.width_px, GEOMETRY.height_px, pixels()) {
            return Err("a frame has the panel's size".into());
        }
        let holder = self.held_by(id)?;
        holder.frame = Some(frame);
        holder.text = text;
        self.version += 1;
        Ok(())
    }

    /// Its light, percent; 0 is off.
    ///
    /// # Errors
    /// A sentence, when it has not the panel.
    pub fn light(&mut self, id: u64, percent: u8) -> Result<(), String> {
        self.held_by(id)?;
        self.percent = percent.min(100);
        self.version += 1;
        Ok(())
    }

    fn held_by(&mut self, id: u64) -> Result<&mut Holder, String> {
        let holder = self.holder.as_mut().filter(|holder| holder.id == id);
        holder.ok_or_else(|| "this connection has not the panel: panel_take comes first".into())
    }

    /// It gives the panel back, lit as a session wants it. Without a holder it frees the console that a dead one left locked.
    ///
    /// # Errors
    /// A sentence, when another program has it.
    pub fn release(&mut self, id: u64) -> Result<(), String> {
        if self.holder.as_ref().is_some_and(|holder| holder.id != id) {
            return Err("another program has the panel".into());
        }
        self.holder = None;
        self.console = Console::Free;
        self.percent = SESSION_PERCENT;
        self.version += 1;
        Ok(())
    }

    /// A connection ends, whatever the reason: its picture is gone, and the console stays locked.
    pub fn forget(&mut self, id: u64) {
        if self.holder.as_ref().is_some_and(|holder| holder.id == id) {
            self.holder = None;
            self.version += 1;
        }
    }

    /// Hands touch the panel or press a key. Who has the panel gets it; else the power key switches the session's panel.
    pub fn input(&mut self, input: Input) {
        if self.holder.is_none() {
            if input == Input::Key(CaseKey::Power) && self.console == Console::Free {
                self.percent = match self.percent {
                    0 => SESSION_PERCENT,
                    _ => 0,
                };
                self.version += 1;
            }
            return;
        }
        self.happened += 1;
        self.inputs.push_back((self.happened, input));
        while self.inputs.len() > WAITING {
            self.inputs.pop_front();
        }
    }

    /// A finger does this: a tap where no phase is said.
    ///
    /// # Errors
    /// A sentence for a point outside of the panel.
    pub fn touched(&mut self, x: f32, y: f32, phase: Option<Phase>) -> Result<(), String> {
        if !(0.0..=1.0).contains(&x) || !(0.0..=1.0).contains(&y) {
            return Err("a point of the panel has x and y from 0 to 1".into());
        }
        let phases = phase.map_or_else(|| vec![Phase::Down, Phase::Up], |phase| vec![phase]);
        for phase in phases {
            self.input(Input::Touch { phase, x, y });
        }
        Ok(())
    }

    /// The session began or ended.
    pub fn session_changed(&mut self) {
        self.version += 1;
    }

    /// The oldest input after the one with this number, and its own number.
    #[must_use]
    pub fn input_after(&self, seen: u64) -> Option<(u64, Input)> {
        self.inputs.iter().find(|(at, _)| *at > seen).copied()
    }

    /// The newest input's number.
    #[must_use]
    pub fn happened(&self) -> u64 {
        self.happened
    }

    /// What is seen changes with this number.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// What is seen, in words: who has the panel, how it is lit, what it says.
    #[must_use]
    pub fn described(&self, session: Session) -> Value {
        let (shows, text) = self.shown(session);
        let lit = self.percent > 0;
        json!({
            "width_px": GEOMETRY.width_px,
            "height_px": GEOMETRY.height_px,
            "width_mm": GEOMETRY.width_mm,
            "height_mm": GEOMETRY.height_mm,
            "version": self.version,
            "backlight_percent": self.percent,
            "held": self.holder.is_some(),
            "shows": if lit { shows } else { "nothing" },
            "text": if lit { text.lines().collect::<Vec<_>>() } else { Vec::new() },
        })
    }

    fn shown(&self, session: Session) -> (&'static str, &str) {
        match (&self.holder, self.console, session) {
            (Some(holder), _, _) => ("program", &holder.text),
            (None, Console::Free, Session::Open) => ("session", SESSION_TEXT),
            (None, _, _) => ("nothing", ""),
        }
    }

    /// The pixels that are seen.
    #[must_use]
    pub fn seen(&self, session: Session) -> Frame {
        let black = || Frame {
            width_px: GEOMETRY.width_px,
            height_px: GEOMETRY.height_px,
            luma: vec![0; pixels()],
        };
        if self.percent == 0 {
            return black();
        }
        match (&self.holder, self.console, session) {
            (Some(holder), _, _) => holder.frame.clone().unwrap_or_else(black),
            (None, Console::Free, Session::Open) => SESSION_FRAME.clone(),
            (None, _, _) => black(),
        }
    }
}

/// A frame as a PNG.
///
/// # Errors
/// A sentence; none for a frame whose size is its number of pixels.
pub fn encode(frame: &Frame) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, frame.width_px.into(), frame.height_px.into());
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header().map_err(|error| error.to_string())?;
    let written = writer.write_image_data(&frame.luma);
    written.map_err(|error| error.to_string())?;
    writer.finish().map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// A grey PNG's pixels; `None` when it is none.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Frame> {
    let mut reader = png::Decoder::new(Cursor::new(bytes)).read_info().ok()?;
    let mut luma = vec![0; reader.output_buffer_size()?];
    let info = reader.next_frame(&mut luma).ok()?;
    if (info.color_type, info.bit_depth) != (png::ColorType::Grayscale, png::BitDepth::Eight) {
        return None;
    }
    Some(Frame {
        width_px: u16::try_from(info.width).ok()?,
        height_px: u16::try_from(info.height).ok()?,
        luma,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(luma: u8) -> Frame {
        Frame {
            width_px: GEOMETRY.width_px,
            height_px: GEOMETRY.height_px,
            luma: vec![luma; pixels()],
        }
    }

    #[test]
    fn a_session_is_seen_until_a_program_takes_the_panel_and_not_again_before_it_gives_it_back() {
        let mut screen = Screen::default();
        let session = screen.seen(Session::Open);
        assert!(session.luma.iter().any(|luma| *luma > 128));
        assert_eq!(screen.seen(Session::Ended), grey(0));
        screen.take(1).unwrap();
        assert!(screen.take(2).is_err());
        assert_eq!(screen.seen(Session::Open), grey(0));
        screen.show(1, grey(7), "seven".into()).unwrap();
        assert_eq!(screen.seen(Session::Open), grey(7));
        screen.forget(1);
        assert_eq!(screen.seen(Session::Open), grey(0));
        assert_eq!(screen.described(Session::Open)["shows"], "nothing");
        screen.release(2).unwrap();
        assert_eq!(screen.seen(Session::Open), session);
    }

    #[test]
    fn a_picture_survives_its_png_and_an_unlit_one_is_black() {
        let mut frame = grey(3);
        frame.luma[5] = 250;
        let decoded = decode(&encode(&frame).unwrap());
        assert_eq!(decoded.as_ref(), Some(&frame));
        let mut screen = Screen::default();
        screen.take(1).unwrap();
        screen.show(1, frame, "text".into()).unwrap();
        screen.light(1, 0).unwrap();
        assert_eq!(screen.seen(Session::Open), grey(0));
        assert_eq!(screen.described(Session::Open)["text"], json!([]));
    }

    #[test]
    fn hands_reach_who_has_the_panel_and_else_the_power_key_switches_the_session_s() {
        let mut screen = Screen::default();
        screen.input(Input::Key(CaseKey::Power));
        assert_eq!(screen.seen(Session::Open), grey(0));
        assert_eq!(screen.input_after(0), None);
        screen.take(1).unwrap();
        screen.input(Input::Key(CaseKey::Power));
        assert_eq!(screen.input_after(0), Some((1, Input::Key(CaseKey::Power))));
        assert_eq!(screen.input_after(1), None);
        assert!(screen.touched(0.5, 1.5, None).is_err());
        screen.touched(0.5, 0.5, None).unwrap();
        assert_eq!(screen.happened(), 3);
    }
}
