//! The lost screen as a picture: a pure function of what there is to show. It reads no clock, no file and no touch.

mod pad;
mod parts;

use homing_hal::capability::call::Ring;
use homing_hal::capability::panel::{Frame, Geometry};

use crate::canvas::{Canvas, Rect};
use crate::contact;
use crate::drift;
use crate::keypad;
use crate::language::Labels;
use crate::layout::{MESSAGE_LETTER_MM, Main, Part, Scale, Wanted};
use crate::notice::Notice;
use crate::typeset::{Block, Typesetter, Wish, em_of_capital};
use cosmic_text::Align;

/// What must be read at once: white on black, 21:1.
pub(crate) const STRONG: u8 = 255;
/// What goes with it: 12.6:1 on black.
pub(crate) const SOFT: u8 = 200;
/// A key's face; white on it has 15:1.
pub(crate) const KEY: u8 = 38;
/// A key's face under a finger; white on it has 7.4:1.
pub(crate) const KEY_DOWN: u8 = 88;
/// A key's rim.
pub(crate) const RIM: u8 = 120;

/// Lines of a long message that a page should have before the contact's code gives way to it.
const FEWEST_LINES: usize = 3;

/// A moment as the phone knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Hour and minute of the wall clock, where it is known.
    pub clock: Option<(u8, u8)>,
    /// The charge, percent, where it is known.
    pub battery_percent: Option<u8>,
}

/// What can be touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The message: its next page.
    Message,
    /// Opens the keypad.
    EnterCode,
    /// A digit.
    Digit(u8),
    /// Takes a digit back.
    Delete,
    /// Closes the keypad.
    Back,
    /// Calls for help.
    Emergency,
    /// Ends that call.
    HangUp,
    /// Answers the owner's call.
    Answer,
    /// Ends the owner's call.
    EndAnswered,
}

/// Whether and how this phone calls for help from this screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Emergency {
    /// It cannot, and says so.
    Impossible,
    /// A button.
    Offered,
    /// It is calling this number.
    Calling(String),
    /// The call did not come about; the button is there again.
    Failed,
}

/// Which page is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sheet {
    /// The owner's words; the page of them, counted from 0 and taken modulo their number.
    Message(usize),
    /// The keypad with how many digits are typed and wanted.
    Keypad {
        /// What it does.
        state: keypad::State,
        /// Digits typed, digits wanted.
        progress: (usize, usize),
    },
}

/// Everything that is shown.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// What the actor wrote.
    pub notice: &'a Notice,
    /// The phone's language.
    pub labels: &'a Labels,
    /// Time and battery.
    pub moment: Moment,
    /// The panel.
    pub geometry: Geometry,
    /// The page.
    pub sheet: Sheet,
    /// Whether help can be called.
    pub emergency: Emergency,
    /// Whether the owner calls.
    pub ring: Ring,
    /// The key under a finger.
    pub pressed: Option<Key>,
    /// Minutes since anything, for the picture's wandering.
    pub minute: u64,
}

/// A drawn view.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// The picture.
    pub frame: Frame,
    /// What it says, top down.
    pub text: Vec<String>,
    /// What can be touched, and where.
    pub keys: Vec<(Key, Rect)>,
    /// Where the message stands; empty on the keypad's page.
    pub message: Rect,
    /// On how many pages the message stands, at least 1.
    pub message_pages: usize,
    /// Scripts of the message that no font of this phone has.
    pub unreadable: Vec<&'static str>,
}

impl Drawn {
    /// The key at a point.
    #[must_use]
    pub fn key_at(&self, x: i32, y: i32) -> Option<Key> {
        let found = self.keys.iter().find(|(_, rect)| rect.contains(x, y));
        found.map(|(key, _)| *key)
    }
}

/// Draws a view with a typesetter for [`texts`].
#[must_use]
pub fn draw(setter: &mut Typesetter, view: &View<'_>) -> Drawn {
    let scale = Scale::of(&view.geometry);
    let shift = drift::offset_px(view.minute, scale.drift_px());
    let mut painter = Painter {
        canvas: Canvas::new(view.geometry.width_px, view.geometry.height_px, shift),
        setter,
        scale,
        view,
        text: Vec::new(),
        keys: Vec::new(),
        message: Rect::default(),
        message_pages: 1,
    };
    match view.sheet {
        Sheet::Message(page) => painter.message_page(page),
        Sheet::Keypad { state, progress } => painter.keypad_page(state, progress),
    }
    let unreadable = painter.setter.unreadable(&view.notice.message);
    Drawn {
        frame: painter.canvas.into_frame(),
        text: painter.text,
        keys: painter
            .keys
            .into_iter()
            .map(|(key, rect)| (key, rect.moved(shift)))
            .collect(),
        message: painter.message.moved(shift),
        message_pages: painter.message_pages,
        unreadable,
    }
}

/// Every text that a notice's screen may show, to choose fonts for.
#[must_use]
pub fn texts<'a>(notice: &'a Notice, labels: &Labels) -> Vec<&'a str> {
    let own = labels.words();
    let contact = notice.contact.as_deref().unwrap_or_default();
    own.into_iter()
        .chain([notice.message.as_str(), contact])
        .collect()
}

struct Painter<'a> {
    canvas: Canvas,
    setter: &'a mut Typesetter,
    scale: Scale,
    view: &'a View<'a>,
    text: Vec<String>,
    keys: Vec<(Key, Rect)>,
    message: Rect,
    message_pages: usize,
}

impl Painter<'_> {
    fn message_page(&mut self, page: usize) {
        let view = self.view;
        let message = self.setter.readable(&view.notice.message);
        let smallest = self.message_em_px();
        let mut wanted = Wanted {
            contact: Part::of(view.notice.contact.as_ref()),
            code_entry: Part::of(view.notice.code_digits),
            emergency: match view.emergency {
                Emergency::Impossible => Part::Absent,
                Emergency::Offered | Emergency::Calling(_) | Emergency::Failed => Part::There,
            },
            code_size: 0,
        };
        // The code shrinks before the message is cut into pages.
        let (main, block) = loop {
            let main = self.scale.main(wanted);
            let block = self.set_message(&message, main.message, smallest);
            let fits = block.height_px(block.lines()) <= main.message.h;
            let left = Scale::code_sizes().saturating_sub(wanted.code_size + 1);
            let readable = left == 1 && block.fitting(main.message.h) >= FEWEST_LINES;
            if fits || readable || left == 0 {
                break (main, block);
            }
            wanted.code_size += 1;
        };
        self.status(main.status);
        self.own_line(view.labels.lost, main.title, (3.4, 5.4), SOFT);
        self.message(&block, &message, main.message, page);
        if let Some(contact) = &view.notice.contact {
            self.contact(contact, &main);
            self.code(contact, main.code);
        }
        self.emergency(main.emergency);
        if view.notice.code_digits.is_some() {
            self.button(Key::EnterCode, view.labels.enter_code, main.enter_code);
        }
    }

    /// The message's smallest em: its capital letters keep their height also after rounding to whole pixels.
    fn message_em_px(&self) -> f32 {
        em_of_capital(self.scale.exact(MESSAGE_LETTER_MM) + 1.0)
    }

    fn set_message(&mut self, message: &str, area: Rect, smallest: f32) -> Block {
        self.setter.set(&Wish {
            text: message,
            width_px: area.w,
            height_px: area.h,
            lines: usize::MAX,
            em_px: smallest..=smallest * 2.0,
            align: Align::Center,
        })
    }

    fn message(&mut self, block: &Block, message: &str, area: Rect, page: usize) {
        let mut lines_area = area;
        let mut fitting = block.fitting(area.h);
        if fitting < block.lines() {
            let marks = lines_area.take_bottom(self.scale.px(1.2), self.scale.px(1.0));
            fitting = block.fitting(lines_area.h);
            self.message_pages = block.lines().div_ceil(fitting);
            self.marks(marks, page % self.message_pages);
            self.keys.push((Key::Message, area));
        }
        let first = (page % self.message_pages) * fitting;
        self.setter
            .paint(&mut self.canvas, block, first, lines_area, STRONG);
        self.message = lines_area;
        self.text.push(message.to_owned());
    }

    /// How to reach the owner; while it is they who call, what answers them and what ends that.
    fn contact(&mut self, contact: &str, main: &Main) {
        let labels = self.view.labels;
        let written = self.setter.readable(contact);
        let above = match self.view.ring {
            Ring::None => labels.contact,
            Ring::Ringing => labels.owner_calls,
            Ring::Connected => &written,
        };
        self.line(above, main.contact_label, (2.8, 3.6), SOFT);
        match self.view.ring {
            Ring::None => self.line(&written, main.contact, (3.6, 9.0), STRONG),
            Ring::Ringing => self.button(Key::Answer, labels.answer, main.contact),
            Ring::Connected => self.button(Key::EndAnswered, labels.hang_up, main.contact),
        }
    }

    fn emergency(&mut self, area: Rect) {
        let labels = self.view.labels;
        match &self.view.emergency {
            Emergency::Impossible => self.small_lines(labels.no_emergency, area),
            Emergency::Offered => self.button(Key::Emergency, labels.emergency, area),
            Emergency::Calling(number) => {
                let label = format!("{} {number} – {}", labels.calling, labels.hang_up);
                self.button(Key::HangUp, &label, area);
            }
            Emergency::Failed => {
                let label = format!("{} – {}", labels.failed, labels.emergency);
                self.button(Key::Emergency, &label, area);
            }
        }
    }

    /// The contact as a QR code: dark on light, with the quiet zone of four modules that readers want.
    fn code(&mut self, contact: &str, area: Rect) {
        let Some(code) = contact::code(&contact::uri(contact)) else {
            return;
        };
        let modules = i32::try_from(code.width).unwrap_or(i32::MAX - 8);
        let side = area.w.min(area.h) / (modules + 8);
        if side < 2 {
            return;
        }
        let whole = side * (modules + 8);
        let corner = (area.x + (area.w - whole) / 2, area.y + (area.h - whole) / 2);
        let light = Rect::new(corner.0, corner.1, whole, whole);
        self.canvas.fill(light, STRONG);
        for (row, modules) in code.dark.chunks(code.width).enumerate() {
            for (column, _) in modules.iter().enumerate().filter(|(_, dark)| **dark) {
                let [row, column] = [row, column].map(|at| i32::try_from(at).unwrap_or(0));
                let at = (light.x + (column + 4) * side, light.y + (row + 4) * side);
                self.canvas.fill(Rect::new(at.0, at.1, side, side), 0);
            }
        }
    }
}
