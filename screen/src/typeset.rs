//! Text in any script as lines of glyphs, and those as pixels. It shapes, breaks and paints; where text stands is decided by the page.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use cosmic_text::{
    Align, Attrs, Buffer, Family, FontSystem, LayoutRun, Metrics, PlatformFallback, Shaping,
    SwashCache, SwashContent, SwashImage, Wrap,
};

use crate::canvas::{Canvas, Rect};
use crate::fonts;

/// Height of a capital letter of the built-in face, in ems (its OS/2 table: 1456 of 2048 units).
const CAPITAL_EM: f32 = 1456.0 / 2048.0;
/// Distance of lines in ems: room for what stands above and below the letters of South Asian scripts.
const LINE_EM: f32 = 1.35;
/// Sizes that are tried between the largest and the smallest.
const SIZES: u8 = 8;

/// Sets and paints text.
pub struct Typesetter {
    fonts: FontSystem,
    glyphs: SwashCache,
    missing: BTreeSet<char>,
}

impl std::fmt::Debug for Typesetter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Typesetter({} faces)", self.fonts.db().len())
    }
}

/// Text that was set: lines of a known height.
#[derive(Debug)]
pub struct Block {
    buffer: Buffer,
    lines: usize,
    line_px: f32,
    em_px: f32,
}

impl Block {
    /// How many lines it has.
    #[must_use]
    pub fn lines(&self) -> usize {
        self.lines
    }

    /// Height of so many of its lines, pixels, rounded up.
    #[must_use]
    pub fn height_px(&self, lines: usize) -> i32 {
        whole(self.line_px * as_f32(lines))
    }

    /// How many of its lines are wholly visible in this height, at least one.
    #[must_use]
    pub fn fitting(&self, height_px: i32) -> usize {
        (1..=self.lines)
            .take_while(|lines| self.height_px(*lines) <= height_px)
            .last()
            .unwrap_or(1)
    }

    /// The size of its letters, pixels per em.
    #[must_use]
    pub fn em_px(&self) -> f32 {
        self.em_px
    }
}

/// The em of the built-in face whose capital letters are this high, in the same unit.
#[must_use]
pub fn em_of_capital(height: f32) -> f32 {
    height / CAPITAL_EM
}

/// What a text shall become.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    /// The text.
    pub text: &'a str,
    /// Its width in pixels.
    pub width_px: i32,
    /// Its height in pixels.
    pub height_px: i32,
    /// Most lines.
    pub lines: usize,
    /// Smallest and largest size, pixels per em.
    pub em_px: RangeInclusive<f32>,
    /// Where lines stand.
    pub align: Align,
}

impl Typesetter {
    /// A typesetter for these texts, in a language (ISO 639), with the fonts of these folders where the built-in face does not do.
    #[must_use]
    pub fn new(texts: &[&str], language: &str, folders: &[PathBuf]) -> Self {
        let chosen = fonts::choose(texts, language, folders);
        let fonts = FontSystem::new_with_locale_and_db_and_fallback(
            language.to_owned(),
            chosen.database,
            PlatformFallback,
        );
        Self {
            fonts,
            glyphs: SwashCache::new(),
            missing: chosen.missing,
        }
    }

    /// Names of scripts that occur in the text and that no font here has, such as `Devanagari`.
    #[must_use]
    pub fn unreadable(&self, text: &str) -> Vec<&'static str> {
        let letters = text.chars().filter(|letter| self.missing.contains(letter));
        fonts::scripts(&letters.collect())
    }

    /// The text as it can be written here: the name of the script in brackets stands for what no font has.
    #[must_use]
    pub fn readable(&self, text: &str) -> String {
        let mut written = String::with_capacity(text.len());
        let mut gap = BTreeSet::new();
        let mut spaces = String::new();
        for letter in text.chars() {
            if self.missing.contains(&letter) {
                gap.insert(letter);
                spaces.clear();
            } else if letter.is_whitespace() && !gap.is_empty() {
                spaces.push(letter);
            } else {
                close(&mut written, &mut gap, &mut spaces);
                written.push(letter);
            }
        }
        close(&mut written, &mut gap, &mut spaces);
        written
    }

    /// Sets a text as large as it fits; at the smallest size it may have more lines than fit.
    #[must_use]
    pub fn set(&mut self, wish: &Wish<'_>) -> Block {
        let (small, large) = (*wish.em_px.start(), *wish.em_px.end());
        let step = (small / large).powf(1.0 / f32::from(SIZES));
        let mut block = self.shaped(wish, large);
        for size in 0..SIZES {
            self.lay_out(&mut block, large * step.powi(i32::from(size)));
            if block.lines <= wish.lines && block.height_px(block.lines) <= wish.height_px {
                return block;
            }
        }
        self.lay_out(&mut block, small);
        block
    }

    /// The text's glyphs, which are the same at every size.
    fn shaped(&mut self, wish: &Wish<'_>, em_px: f32) -> Block {
        let mut buffer = Buffer::new_empty(Metrics::new(em_px, em_px * LINE_EM));
        buffer.set_wrap(Wrap::WordOrGlyph);
        buffer.set_size(Some(as_f32(wish.width_px.max(1))), None);
        let attributes = Attrs::new().family(Family::Name(fonts::FAMILY));
        buffer.set_text(wish.text, &attributes, Shaping::Advanced, Some(wish.align));
        Block {
            buffer,
            lines: 0,
            line_px: 0.0,
            em_px,
        }
    }

    /// Breaks the lines anew for a size.
    fn lay_out(&mut self, block: &mut Block, em_px: f32) {
        block.em_px = em_px;
        block.line_px = em_px * LINE_EM;
        block.buffer.set_metrics(Metrics::new(em_px, block.line_px));
        block.buffer.shape_until_scroll(&mut self.fonts, false);
        block.lines = block.buffer.layout_runs().count();
    }

    /// Paints lines of a block from `first` on, as many as are wholly visible, in the middle of the area's height and nowhere outside.
    pub fn paint(
        &mut self,
        canvas: &mut Canvas,
        block: &Block,
        first: usize,
        area: Rect,
        luma: u8,
    ) {
        let count = block.fitting(area.h).min(block.lines.saturating_sub(first));
        let top = area.y + (area.h - block.height_px(count)) / 2;
        let above = block.line_px * as_f32(first);
        for run in block.buffer.layout_runs().skip(first).take(count) {
            let glyphs = glyphs_of(&run, as_f32(area.x), as_f32(top) - above);
            for (key, x, y) in glyphs {
                if let Some(image) = self.glyphs.get_image_uncached(&mut self.fonts, key) {
                    stamp(canvas, &image, (x, y), area, luma);
                }
            }
        }
    }
}

fn close(written: &mut String, gap: &mut BTreeSet<char>, spaces: &mut String) {
    if !gap.is_empty() {
        written.push('[');
        written.push_str(&fonts::scripts(gap).join(", "));
        written.push(']');
        gap.clear();
    }
    written.push_str(spaces);
    spaces.clear();
}

/// Each glyph of a line with its place on the canvas.
fn glyphs_of(
    run: &LayoutRun<'_>,
    x: f32,
    y: f32,
) -> impl Iterator<Item = (cosmic_text::CacheKey, i32, i32)> {
    let baseline = y + run.line_y;
    run.glyphs.iter().map(move |glyph| {
        let placed = glyph.physical((x, baseline), 1.0);
        (placed.cache_key, placed.x, placed.y)
    })
}

/// Covers the canvas with a glyph, inside of the area only.
fn stamp(canvas: &mut Canvas, image: &SwashImage, (x, y): (i32, i32), area: Rect, luma: u8) {
    let width = usize::try_from(image.placement.width).unwrap_or(0).max(1);
    let bytes = match image.content {
        SwashContent::Mask => 1,
        SwashContent::Color | SwashContent::SubpixelMask => 4,
    };
    for (row, pixels) in image.data.chunks(width * bytes).enumerate() {
        for (column, pixel) in pixels.chunks(bytes).enumerate() {
            let at_x = x + image.placement.left + as_i32(column);
            let at_y = y - image.placement.top + as_i32(row);
            if !area.contains(at_x, at_y) {
                continue;
            }
            match pixel {
                [coverage] => canvas.blend(at_x, at_y, luma, *coverage),
                [red, green, blue, alpha] => {
                    canvas.blend(at_x, at_y, grey(*red, *green, *blue), *alpha);
                }
                _ => {}
            }
        }
    }
}

/// A coloured sign in grey, with the weights of ITU-R BT.601.
fn grey(red: u8, green: u8, blue: u8) -> u8 {
    let sum = 299 * u32::from(red) + 587 * u32::from(green) + 114 * u32::from(blue);
    u8::try_from(sum / 1000).unwrap_or(u8::MAX)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "numbers of lines and pixels of a phone are far below 2^24"
)]
fn as_f32(number: impl TryInto<i32>) -> f32 {
    number.try_into().unwrap_or(0) as f32
}

fn as_i32(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX / 2)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "float casts saturate, and a panel's pixels are far below the limit"
)]
fn whole(length: f32) -> i32 {
    length.ceil() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_font_has_is_named_in_its_place() {
        let text = "Call नमस्ते जी now 🙂";
        let setter = Typesetter::new(&[text], "en", &[]);
        assert_eq!(setter.readable(text), "Call [Devanagari] now [Symbols]");
        assert_eq!(setter.unreadable(text), ["Devanagari", "Symbols"]);
        assert_eq!(setter.readable("plain  text "), "plain  text ");
    }

    #[test]
    fn text_shrinks_until_it_fits_and_has_more_lines_only_at_its_smallest() {
        let mut setter = Typesetter::new(&[], "en", &[]);
        let mut wish = Wish {
            text: "To whom it may concern: this is a message.",
            width_px: 400,
            height_px: 140,
            lines: usize::MAX,
            em_px: 20.0..=80.0,
            align: Align::Center,
        };
        let block = setter.set(&wish);
        assert!(block.em_px() > 20.0 && block.em_px() < 80.0);
        assert!(block.height_px(block.lines()) <= 140);
        wish.height_px = 10;
        let block = setter.set(&wish);
        assert!((block.em_px() - 20.0).abs() < 0.01);
        assert_eq!(block.fitting(10), 1);
    }

    #[test]
    fn not_a_pixel_lies_outside_of_the_area() {
        let mut setter = Typesetter::new(&[], "en", &[]);
        let wish = Wish {
            text: "Ägypten ÇÅÜ qjpgy MMMMMMMMMMMMMMMMMMMMMMM",
            width_px: 100,
            height_px: 40,
            lines: usize::MAX,
            em_px: 30.0..=30.0,
            align: Align::Left,
        };
        let block = setter.set(&wish);
        let area = Rect::new(20, 30, 100, 40);
        let mut canvas = Canvas::new(200, 120, (0, 0));
        setter.paint(&mut canvas, &block, 0, area, 255);
        let frame = canvas.into_frame();
        let lit = frame.luma.iter().enumerate().filter(|(_, luma)| **luma > 0);
        let places = lit.map(|(at, _)| (as_i32(at % 200), as_i32(at / 200)));
        let mut count = 0;
        for (x, y) in places {
            assert!(area.contains(x, y), "{x}, {y}");
            count += 1;
        }
        assert!(count > 100, "{count}");
    }
}
