//! Who attends to the finder: what touches mean, which page is shown and when it changes. No I/O: instants, answers and the moment come in as values.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use homing_hal::capability::call::Ring;
use homing_hal::capability::panel::{Backlight, Geometry};
use homing_hal::capability::touch::{CaseKey, Input, Phase};
use zeroize::Zeroizing;

use crate::keypad::{Keypad, Verdict};
use crate::language::{ENGLISH, Labels};
use crate::notice::Notice;
use crate::page::{self, Drawn, Emergency, Key, Moment, Sheet, View};
use crate::typeset::Typesetter;
use crate::vigil::{Touched, Vigil};

/// How long one page of a long message stands: 60 letters at a reader's pace, twice.
const PAGE: Duration = Duration::from_secs(8);

/// What the finder wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The privileged half shall look at a code.
    Judge(Zeroizing<String>),
    /// Help shall be called.
    Call,
    /// That call shall end.
    HangUp,
    /// The owner's call shall be answered.
    Answer,
    /// The owner's call shall end.
    EndAnswered,
}

/// Attends to a panel for the time of one notice.
#[derive(Debug)]
pub struct Attendant {
    notice: Notice,
    labels: Labels,
    setter: Typesetter,
    geometry: Geometry,
    began: Instant,
    vigil: Vigil,
    keypad: Option<Keypad>,
    open: Open,
    turned: (usize, Instant),
    pages: usize,
    emergency: Emergency,
    ring: Ring,
    pressed: Option<Key>,
    /// A finger that woke the panel, or slid off its key, means nothing until it is lifted.
    idle_finger: bool,
    keys: Vec<(Key, crate::canvas::Rect)>,
}

/// Which page is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Message,
    Keypad,
}

/// What a phone brings to its screen.
#[derive(Clone, Debug)]
pub struct Phone {
    /// Its locale, such as `de_DE.UTF-8`.
    pub locale: String,
    /// Folders with fonts.
    pub fonts: Vec<PathBuf>,
    /// Whether help can be called.
    pub emergency: Emergency,
}

impl Attendant {
    /// Begins with a notice on a panel that is lit.
    #[must_use]
    pub fn new(notice: Notice, phone: &Phone, geometry: Geometry, now: Instant) -> Self {
        let wanted = Labels::of_locale(&phone.locale);
        let (labels, setter) = match typesetter(&notice, wanted, phone) {
            // Its own words must be readable; the owner's are shown as far as they are.
            (labels, setter)
                if labels
                    .words()
                    .iter()
                    .all(|word| setter.unreadable(word).is_empty()) =>
            {
                (labels, setter)
            }
            _ => typesetter(&notice, ENGLISH, phone),
        };
        let keypad = notice.code_digits.map(Keypad::new);
        Self {
            notice,
            labels,
            setter,
            geometry,
            began: now,
            vigil: Vigil::new(now),
            keypad,
            open: Open::Message,
            turned: (0, now),
            pages: 1,
            emergency: phone.emergency.clone(),
            ring: Ring::None,
            pressed: None,
            idle_finger: false,
            keys: Vec::new(),
        }
    }

    /// Hands do something.
    pub fn input(&mut self, input: Input, now: Instant) -> Option<Wish> {
        match input {
            Input::Key(CaseKey::Power) => {
                self.vigil.power_key(now);
                if self.vigil.backlight() == Backlight::Off {
                    self.close();
                }
                None
            }
            Input::Key(CaseKey::Other) => {
                let _ = self.vigil.touch(now);
                None
            }
            Input::Touch { phase, x, y } => self.touch(phase, self.point(x, y), now),
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "float casts saturate, and a panel's pixels are far below the limit"
    )]
    fn point(&self, x: f32, y: f32) -> (i32, i32) {
        let across = x * f32::from(self.geometry.width_px);
        let down = y * f32::from(self.geometry.height_px);
        (across as i32, down as i32)
    }

    fn touch(&mut self, phase: Phase, (x, y): (i32, i32), now: Instant) -> Option<Wish> {
        let key = self
            .keys
            .iter()
            .find(|(_, rect)| rect.contains(x, y))
            .map(|(key, _)| *key);
        match phase {
            Phase::Down => {
                self.idle_finger = self.vigil.touch(now) == Touched::Woke;
                self.pressed = key.filter(|_| !self.idle_finger);
                None
            }
            Phase::Move => {
                if self.pressed.is_some() && self.pressed != key {
                    self.pressed = None;
                    self.idle_finger = true;
                }
                None
            }
            Phase::Up => {
                let meant = self.pressed.take().filter(|_| !self.idle_finger);
                self.idle_finger = false;
                meant.and_then(|key| self.press(key, now))
            }
        }
    }

    fn press(&mut self, key: Key, now: Instant) -> Option<Wish> {
        match key {
            Key::Message => self.turned = (self.turned.0 + 1, now),
            Key::EnterCode => self.open = Open::Keypad,
            Key::Back => self.close(),
            Key::Delete => self.keypad.iter_mut().for_each(Keypad::delete),
            Key::Digit(digit) => {
                let asked = self.keypad.as_mut()?.digit(digit, now);
                return asked.map(Wish::Judge);
            }
            Key::Emergency => return Some(Wish::Call),
            Key::HangUp => return Some(Wish::HangUp),
            Key::Answer => return Some(Wish::Answer),
            Key::EndAnswered => return Some(Wish::EndAnswered),
        }
        None
    }

    fn close(&mut self) {
        self.keypad.iter_mut().for_each(Keypad::clear);
        self.open = Open::Message;
        self.pressed = None;
    }

    /// The privileged half has looked at the code.
    pub fn verdict(&mut self, verdict: Verdict, now: Instant) {
        let _ = self.vigil.touch(now);
        if let Some(keypad) = &mut self.keypad {
            keypad.answer(verdict, now);
        }
    }

    /// A call for help goes on otherwise.
    pub fn call(&mut self, emergency: Emergency, now: Instant) {
        let _ = self.vigil.touch(now);
        self.emergency = emergency;
    }

    /// The owner's call comes, is answered or has ended. The page that says so is shown, and a finger that is on its way to another
    /// key of it means nothing.
    pub fn ring(&mut self, ring: Ring, now: Instant) {
        if ring != Ring::None {
            let _ = self.vigil.touch(now);
            self.close();
        }
        self.idle_finger |= self.pressed.take().is_some();
        self.ring = ring;
    }

    /// Lets time pass.
    pub fn pass(&mut self, now: Instant) {
        self.vigil.pass(now);
        if let Some(keypad) = &mut self.keypad {
            keypad.pass(now);
        }
        if self.vigil.backlight() == Backlight::Off {
            self.close();
        } else if self.pages > 1 && now >= self.turned.1 + PAGE {
            self.turned = (self.turned.0 + 1, now);
        }
    }

    /// How the panel shall be lit.
    #[must_use]
    pub fn backlight(&self) -> Backlight {
        self.vigil.backlight()
    }

    /// When something changes by itself, other than the clock; `None` while the panel is off.
    #[must_use]
    pub fn next(&self, now: Instant) -> Option<Instant> {
        let dark = self.vigil.next()?;
        let page = (self.pages > 1 && self.open == Open::Message).then(|| self.turned.1 + PAGE);
        let wait = self.keypad.as_ref().and_then(|keypad| keypad.next(now));
        [page, wait].into_iter().flatten().chain([dark]).min()
    }

    /// What there is to see.
    pub fn draw(&mut self, moment: Moment, now: Instant) -> Drawn {
        let sheet = match (&self.keypad, self.open) {
            (Some(keypad), Open::Keypad) => Sheet::Keypad {
                state: keypad.state(now),
                progress: keypad.progress(),
            },
            _ => Sheet::Message(self.turned.0),
        };
        let view = View {
            notice: &self.notice,
            labels: &self.labels,
            moment,
            geometry: self.geometry,
            sheet,
            emergency: self.emergency.clone(),
            ring: self.ring,
            pressed: self.pressed,
            minute: now.duration_since(self.began).as_secs() / 60,
        };
        let drawn = page::draw(&mut self.setter, &view);
        self.pages = drawn.message_pages;
        self.keys.clone_from(&drawn.keys);
        drawn
    }
}

fn typesetter(notice: &Notice, labels: Labels, phone: &Phone) -> (Labels, Typesetter) {
    let texts = page::texts(notice, &labels);
    let setter = Typesetter::new(&texts, labels.tag, &phone.fonts);
    (labels, setter)
}

#[cfg(test)]
mod tests;
