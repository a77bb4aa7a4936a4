//! Pieces that every page is made of: lines, buttons, the row with time and battery. They decide nothing.

use cosmic_text::Align;

use super::{KEY, KEY_DOWN, Key, Painter, RIM, SOFT, STRONG};
use crate::canvas::Rect;
use crate::typeset::Wish;

impl Painter<'_> {
    /// One line in the middle of an area, as large as it fits between two sizes (millimetres per em); two lines where one is too narrow.
    pub(super) fn line(&mut self, text: &str, area: Rect, (small, large): (f32, f32), luma: u8) {
        let _ = self.set_line(text, area, (small, large), luma);
        self.text.push(text.to_owned());
    }

    /// The same for the screen's own words, which must have room in every language: tests fail where they have not.
    pub(super) fn own_line(&mut self, text: &str, area: Rect, sizes: (f32, f32), luma: u8) {
        let fits = self.set_line(text, area, sizes, luma);
        debug_assert!(fits, "no room for \"{text}\" in {area:?}");
        self.text.push(text.to_owned());
    }

    /// Whether all of it could be painted.
    fn set_line(&mut self, text: &str, area: Rect, (small, large): (f32, f32), luma: u8) -> bool {
        let mut wish = Wish {
            text,
            width_px: area.w,
            height_px: area.h,
            lines: 1,
            em_px: self.scale.exact(small)..=self.scale.exact(large),
            align: Align::Center,
        };
        let mut block = self.setter.set(&wish);
        if block.lines() > 1 {
            wish.lines = usize::MAX;
            wish.em_px = self.scale.exact(small * 0.7)..=self.scale.exact(large);
            block = self.setter.set(&wish);
        }
        self.setter.paint(&mut self.canvas, &block, 0, area, luma);
        block.height_px(block.lines()) <= area.h
    }

    /// A sentence in small letters, on as many lines as it takes.
    pub(super) fn small_lines(&mut self, text: &str, area: Rect) {
        let block = self.setter.set(&Wish {
            text,
            width_px: area.w,
            height_px: area.h,
            lines: usize::MAX,
            em_px: self.scale.exact(2.2)..=self.scale.exact(3.0),
            align: Align::Center,
        });
        self.setter.paint(&mut self.canvas, &block, 0, area, SOFT);
        self.text.push(text.to_owned());
    }

    /// A key with its label.
    pub(super) fn button(&mut self, key: Key, label: &str, area: Rect) {
        self.key(key, label, area, (2.6, 4.6));
    }

    /// A key with a label between two sizes, millimetres per em.
    pub(super) fn key(&mut self, key: Key, label: &str, area: Rect, sizes: (f32, f32)) {
        let face = match self.view.pressed == Some(key) {
            true => KEY_DOWN,
            false => KEY,
        };
        self.canvas.fill(area, face);
        self.canvas.outline(area, self.scale.px(0.2), RIM);
        self.own_line(label, area.inset(self.scale.px(0.8)), sizes, STRONG);
        self.keys.push((key, area));
    }

    /// Time on the left, battery on the right.
    pub(super) fn status(&mut self, area: Rect) {
        let moment = self.view.moment;
        let clock = moment.clock.map_or_else(
            || "--:--".to_owned(),
            |(hour, minute)| format!("{hour}:{minute:02}"),
        );
        let battery = moment
            .battery_percent
            .map_or_else(|| "– %".to_owned(), |percent| format!("{percent} %"));
        for (text, align, part) in [
            (
                &clock,
                Align::Left,
                Rect {
                    w: area.w / 2,
                    ..area
                },
            ),
            (
                &battery,
                Align::Right,
                Rect {
                    x: area.x + area.w / 2,
                    w: area.w - area.w / 2,
                    ..area
                },
            ),
        ] {
            let block = self.setter.set(&Wish {
                text,
                width_px: part.w,
                height_px: part.h,
                lines: 1,
                em_px: self.scale.exact(2.4)..=self.scale.exact(3.4),
                align,
            });
            self.setter.paint(&mut self.canvas, &block, 0, part, SOFT);
        }
        self.text.push(format!("{clock} {battery}"));
    }

    /// One mark for each page of the message, the shown one bright.
    pub(super) fn marks(&mut self, area: Rect, shown: usize) {
        let count = i32::try_from(self.message_pages).unwrap_or(i32::MAX / 2);
        let side = area.h.min(area.w / (2 * count)).max(1);
        let left = area.x + (area.w - count * 2 * side) / 2;
        for (page, at) in (0..self.message_pages).zip(0..) {
            let luma = if page == shown { STRONG } else { RIM };
            let mark = Rect::new(left + at * 2 * side, area.y, side, side);
            self.canvas.fill(mark, luma);
        }
    }
}
