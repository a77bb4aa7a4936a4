//! Where the parts of the screen stand, from the panel's physical size. It draws nothing.

use homing_hal::capability::panel::Geometry;

use crate::canvas::Rect;

/// Smallest height of a capital letter of the message, millimetres.
pub const MESSAGE_LETTER_MM: f32 = 4.0;
/// Smallest height of a key, millimetres.
pub const KEY_MM: f32 = 9.0;
/// How far the picture may wander to spare the panel, millimetres.
const DRIFT_MM: f32 = 1.0;
/// What stays free at the panel's rim, millimetres: corners are round, and the picture wanders.
const RIM_MM: f32 = 4.0;
/// Sides of a QR code, millimetres, down to 29 modules at 0.6 mm, which cameras of telephones read at 20 cm.
/// The last is none at all: on the smallest panels a long message needs the room, and the contact can be read.
const CODE_MM: [f32; 5] = [27.0, 24.0, 21.0, 17.5, 0.0];

/// Millimetres on one panel.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    px_per_mm: f32,
    width_px: i32,
    height_px: i32,
}

/// The parts of the page with the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Main {
    /// Time and battery.
    pub status: Rect,
    /// The screen's own title.
    pub title: Rect,
    /// The owner's words.
    pub message: Rect,
    /// "Please contact", above the contact.
    pub contact_label: Rect,
    /// The contact.
    pub contact: Rect,
    /// The QR code, without its quiet zone's neighbourhood; empty without a contact.
    pub code: Rect,
    /// What the screen says about emergency calls, or the button for one.
    pub emergency: Rect,
    /// The button that opens the keypad; empty where there is no code.
    pub enter_code: Rect,
}

/// The parts of the keypad's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pad {
    /// Time and battery.
    pub status: Rect,
    /// The title.
    pub title: Rect,
    /// The masked digits.
    pub digits: Rect,
    /// Wrong, or wait.
    pub state: Rect,
    /// Twelve keys: 1 to 9, back, 0, delete.
    pub keys: [Rect; 12],
}

/// Whether a part is on the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It is.
    There,
    /// It is not.
    Absent,
}

impl Part {
    /// There, if the value is.
    pub fn of<T>(value: Option<T>) -> Self {
        match value {
            Some(_) => Self::There,
            None => Self::Absent,
        }
    }
}

/// How tall the lower part of the main page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Whether there is a contact.
    pub contact: Part,
    /// Whether there is a code to be typed.
    pub code_entry: Part,
    /// Whether an emergency call can be made: a button, or a line that says it cannot.
    pub emergency: Part,
    /// Which of the QR code's sizes, 0 for the largest.
    pub code_size: usize,
}

impl Scale {
    /// The scale of a panel.
    #[must_use]
    pub fn of(geometry: &Geometry) -> Self {
        Self {
            px_per_mm: geometry.px_per_mm(),
            width_px: i32::from(geometry.width_px),
            height_px: i32::from(geometry.height_px),
        }
    }

    /// Millimetres in whole pixels, rounded up.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "float casts saturate, and a panel's pixels are far below the limit"
    )]
    pub fn px(&self, mm: f32) -> i32 {
        (mm * self.px_per_mm).ceil() as i32
    }

    /// Millimetres in pixels.
    #[must_use]
    pub fn exact(&self, mm: f32) -> f32 {
        mm * self.px_per_mm
    }

    /// How far the picture may wander, pixels.
    #[must_use]
    pub fn drift_px(&self) -> i32 {
        self.px(DRIFT_MM)
    }

    /// How many sizes the QR code may have.
    #[must_use]
    pub fn code_sizes() -> usize {
        CODE_MM.len()
    }

    fn inside(&self) -> Rect {
        Rect::new(0, 0, self.width_px, self.height_px).inset(self.px(RIM_MM))
    }

    fn is_wide(&self) -> bool {
        self.width_px > self.height_px
    }

    /// The page with the message. On a wide panel the message stands beside the rest.
    #[must_use]
    pub fn main(&self, wanted: Wanted) -> Main {
        let mut rest = self.inside();
        let mut main = Main {
            status: rest.take_top(self.px(4.5), self.px(1.0)),
            ..Main::default()
        };
        if self.is_wide() {
            let left = Rect {
                w: rest.w * 11 / 20,
                ..rest
            };
            let mut right = Rect::new(
                left.x + left.w + self.px(2.0),
                rest.y,
                rest.w - left.w - self.px(2.0),
                rest.h,
            );
            rest = left;
            self.lower(&mut main, &mut right, wanted);
        } else {
            self.lower(&mut main, &mut rest, wanted);
        }
        main.title = rest.take_top(self.px(7.0), self.px(1.5));
        main.message = rest;
        main
    }

    /// Everything below the message, from the bottom up.
    fn lower(&self, main: &mut Main, rest: &mut Rect, wanted: Wanted) {
        let gap = self.px(1.5);
        if wanted.code_entry == Part::There {
            main.enter_code = rest.take_bottom(self.px(KEY_MM + 1.0), gap);
        }
        main.emergency = match wanted.emergency {
            Part::There => rest.take_bottom(self.px(KEY_MM + 1.0), gap),
            Part::Absent => rest.take_bottom(self.px(7.0), gap),
        };
        if wanted.contact == Part::There {
            let size = CODE_MM.get(wanted.code_size).or(CODE_MM.last());
            let side = self.px(size.copied().unwrap_or(0.0)).min(rest.h);
            let strip = rest.take_bottom(side, gap);
            main.code = Rect {
                x: strip.x + (strip.w - strip.h) / 2,
                w: strip.h,
                ..strip
            };
            main.contact = rest.take_bottom(self.px(9.0), 0);
            main.contact_label = rest.take_bottom(self.px(4.5), gap);
        }
    }

    /// The keypad's page. On a wide panel the keys stand beside the rest.
    #[must_use]
    pub fn pad(&self) -> Pad {
        let mut rest = self.inside();
        let status = rest.take_top(self.px(4.5), self.px(1.0));
        let gap = self.px(1.5);
        let rows = self.px(KEY_MM).max((rest.h * 11 / 20 - 3 * gap) / 4);
        let high = rows.min(self.px(14.0));
        let keys = if self.is_wide() {
            let w = rest.w / 2;
            let keys = Rect::new(rest.x + rest.w - w, rest.y, w, rest.h);
            rest.w -= w + self.px(3.0);
            let high = ((keys.h - 3 * gap) / 4).min(self.px(14.0));
            grid(keys, high, gap)
        } else {
            let keys = rest.take_bottom(4 * high + 3 * gap, self.px(2.0));
            grid(keys, high, gap)
        };
        // The title and what is typed keep near the keys.
        let used = self.px(7.0) + self.px(10.0) + self.px(9.0);
        let spare = (rest.h - used).max(0) / 2;
        let _ = rest.take_top(spare, 0);
        Pad {
            status,
            title: rest.take_top(self.px(7.0), 0),
            digits: rest.take_top(self.px(10.0), 0),
            state: rest.take_top(self.px(9.0), 0),
            keys,
        }
    }
}

/// Three keys in each of four rows of this height.
fn grid(area: Rect, high: i32, gap: i32) -> [Rect; 12] {
    let wide = (area.w - 2 * gap) / 3;
    let mut keys = [Rect::default(); 12];
    for (key, at) in keys.iter_mut().zip(0..) {
        let (row, column) = (at / 3, at % 3);
        *key = Rect::new(
            area.x + column * (wide + gap),
            area.y + row * (high + gap),
            wide,
            high,
        );
    }
    keys
}
