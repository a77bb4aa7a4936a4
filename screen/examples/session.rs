//! Draws the simulated phone's home screen with an open document, `hal/src/sim/session.png`, to standard output. It is no part of the product.
#![forbid(unsafe_code)]

use std::io::Write;

use cosmic_text::Align;
use homing_hal::sim::screen::{GEOMETRY, encode};
use homing_screen::canvas::{Canvas, Rect};
use homing_screen::typeset::{Typesetter, Wish};

const DIARY: &str = "Dear diary, nobody but me may read this. I found out who ate the cake: it was me, at night, \
    standing up, and I would do it again. Tomorrow: bread, candles, call Anna.";

fn main() -> std::io::Result<()> {
    let mut setter = Typesetter::new(&[], "en", &[]);
    let mut canvas = Canvas::new(GEOMETRY.width_px, GEOMETRY.height_px, (0, 0));
    canvas.fill(Rect::new(0, 0, 720, 1440), 60);
    let mut write = |canvas: &mut Canvas, text, area: Rect, em_px, luma, align| {
        let block = setter.set(&Wish {
            text,
            width_px: area.w,
            height_px: area.h,
            lines: usize::MAX,
            em_px: em_px..=em_px,
            align,
        });
        setter.paint(canvas, &block, 0, area, luma);
    };
    write(
        &mut canvas,
        "14:07",
        Rect::new(0, 10, 720, 60),
        36.0,
        255,
        Align::Center,
    );
    canvas.fill(Rect::new(30, 90, 660, 900), 245);
    canvas.fill(Rect::new(30, 90, 660, 90), 150);
    write(
        &mut canvas,
        "Diary, Monday",
        Rect::new(60, 90, 600, 90),
        44.0,
        0,
        Align::Left,
    );
    write(
        &mut canvas,
        DIARY,
        Rect::new(70, 210, 580, 740),
        46.0,
        20,
        Align::Left,
    );
    for (name, at) in ["Photos", "Messages", "Browser"].into_iter().zip(0..) {
        let left = 60 + at * 215;
        canvas.fill(
            Rect::new(left, 1060, 170, 170),
            150 + 30 * u8::try_from(at).unwrap_or(0),
        );
        write(
            &mut canvas,
            name,
            Rect::new(left - 20, 1240, 210, 60),
            32.0,
            255,
            Align::Center,
        );
    }
    canvas.fill(Rect::new(260, 1400, 200, 10), 255);
    let png = encode(&canvas.into_frame()).map_err(std::io::Error::other)?;
    std::io::stdout().write_all(&png)
}
