//! A drawing surface in shades of grey. It knows rectangles and coverage, and nothing of what they mean.

use homing_hal::capability::panel::Frame;

/// A rectangle in pixels, from the upper left corner of the picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rect {
    /// Left edge.
    pub x: i32,
    /// Upper edge.
    pub y: i32,
    /// Width.
    pub w: i32,
    /// Height.
    pub h: i32,
}

impl Rect {
    /// A rectangle from its corner and size.
    #[must_use]
    pub fn new(x: i32, y: i32, w: i32, h: i32) -> Self {
        Self { x, y, w, h }
    }

    /// Whether the point lies within.
    #[must_use]
    pub fn contains(&self, x: i32, y: i32) -> bool {
        (self.x..self.x + self.w).contains(&x) && (self.y..self.y + self.h).contains(&y)
    }

    /// The same rectangle elsewhere.
    #[must_use]
    pub fn moved(&self, (dx, dy): (i32, i32)) -> Self {
        Self {
            x: self.x + dx,
            y: self.y + dy,
            ..*self
        }
    }

    /// The rectangle without a rim of this many pixels.
    #[must_use]
    pub fn inset(&self, rim: i32) -> Self {
        Self::new(
            self.x + rim,
            self.y + rim,
            (self.w - 2 * rim).max(0),
            (self.h - 2 * rim).max(0),
        )
    }

    /// Takes `h` pixels off the top, followed by a gap.
    pub fn take_top(&mut self, h: i32, gap: i32) -> Self {
        let h = h.clamp(0, self.h);
        let taken = Self::new(self.x, self.y, self.w, h);
        let used = (h + gap).min(self.h);
        self.y += used;
        self.h -= used;
        taken
    }

    /// Takes `h` pixels off the bottom, preceded by a gap.
    pub fn take_bottom(&mut self, h: i32, gap: i32) -> Self {
        let h = h.clamp(0, self.h);
        let taken = Self::new(self.x, self.y + self.h - h, self.w, h);
        self.h -= (h + gap).min(self.h);
        taken
    }
}

/// A picture being drawn; everything is shifted by `shift` and clipped to the picture.
#[derive(Clone, Debug)]
pub struct Canvas {
    frame: Frame,
    shift: (i32, i32),
}

impl Canvas {
    /// A black picture of this many pixels, whose drawing is shifted.
    #[must_use]
    pub fn new(width_px: u16, height_px: u16, shift: (i32, i32)) -> Self {
        let luma = vec![0; usize::from(width_px) * usize::from(height_px)];
        Self {
            frame: Frame {
                width_px,
                height_px,
                luma,
            },
            shift,
        }
    }

    /// The finished picture.
    #[must_use]
    pub fn into_frame(self) -> Frame {
        self.frame
    }

    /// Fills a rectangle.
    pub fn fill(&mut self, rect: Rect, luma: u8) {
        let (width, height) = (self.frame.width_px, self.frame.height_px);
        let moved = rect.moved(self.shift);
        let within = |at: i32, whole: u16| {
            usize::from(u16::try_from(at.max(0)).unwrap_or(u16::MAX).min(whole))
        };
        let left = within(moved.x, width);
        let right = within(moved.x.saturating_add(moved.w), width).max(left);
        let top = within(moved.y, height);
        let bottom = within(moved.y.saturating_add(moved.h), height).max(top);
        let rows = self.frame.luma.chunks_exact_mut(usize::from(width).max(1));
        for row in rows.take(bottom).skip(top) {
            if let Some(pixels) = row.get_mut(left..right) {
                pixels.fill(luma);
            }
        }
    }

    /// Draws the rim of a rectangle, inwards.
    pub fn outline(&mut self, rect: Rect, thick: i32, luma: u8) {
        let thick = thick.max(1);
        self.fill(Rect { h: thick, ..rect }, luma);
        self.fill(Rect { w: thick, ..rect }, luma);
        self.fill(
            Rect::new(rect.x, rect.y + rect.h - thick, rect.w, thick),
            luma,
        );
        self.fill(
            Rect::new(rect.x + rect.w - thick, rect.y, thick, rect.h),
            luma,
        );
    }

    /// Covers one pixel with a shade, by this many 255ths.
    pub fn blend(&mut self, x: i32, y: i32, luma: u8, coverage: u8) {
        let (x, y) = (x + self.shift.0, y + self.shift.1);
        let (Ok(x), Ok(y)) = (u16::try_from(x), u16::try_from(y)) else {
            return;
        };
        if x >= self.frame.width_px || y >= self.frame.height_px {
            return;
        }
        let at = usize::from(y) * usize::from(self.frame.width_px) + usize::from(x);
        if let Some(pixel) = self.frame.luma.get_mut(at) {
            let (old, new, part) = (u32::from(*pixel), u32::from(luma), u32::from(coverage));
            let mixed = (old * (255 - part) + new * part + 127) / 255;
            *pixel = u8::try_from(mixed).unwrap_or(255);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_outside_is_cut_and_the_shift_applies_to_everything() {
        let mut canvas = Canvas::new(4, 3, (1, 1));
        canvas.fill(Rect::new(-5, -5, 6, 6), 200);
        canvas.fill(Rect::new(2, 1, 50, 50), 255);
        canvas.blend(0, 1, 255, 128);
        #[rustfmt::skip]
        assert_eq!(
            canvas.into_frame().luma,
            [200, 200, 0, 0,
             200, 200, 0, 0,
             0, 128, 0, 255]
        );
    }

    #[test]
    fn a_rectangle_is_used_up_and_never_more_than_that() {
        let mut rest = Rect::new(0, 0, 10, 20);
        assert_eq!(rest.take_top(5, 2), Rect::new(0, 0, 10, 5));
        assert_eq!(rest.take_bottom(5, 2), Rect::new(0, 15, 10, 5));
        assert_eq!(rest, Rect::new(0, 7, 10, 6));
        assert_eq!(rest.take_top(50, 2).h, 6);
        assert_eq!(rest.h, 0);
    }
}
