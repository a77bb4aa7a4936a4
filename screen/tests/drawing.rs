//! The lost screen's picture, measured: sizes in millimetres, contrast, what lies outside, what a camera reads. Says nothing about panels.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use homing_hal::capability::call::Ring;
use homing_hal::capability::panel::{Frame, Geometry};
use homing_screen::canvas::Rect;
use homing_screen::keypad::State;
use homing_screen::language::{ALL, ENGLISH, Labels};
use homing_screen::notice::Notice;
use homing_screen::page::{Drawn, Emergency, Key, Moment, Sheet, View, draw, texts};
use homing_screen::typeset::Typesetter;

/// Panels that phones have (width and height in pixels, in millimetres), and one that does not say how large it is.
const PANELS: [[u16; 4]; 7] = [
    [720, 1440, 68, 136],  // PinePhone, PinePhone Pro
    [720, 1440, 65, 129],  // Librem 5
    [1080, 2280, 68, 145], // OnePlus 6
    [480, 800, 52, 86],
    [1440, 720, 136, 68],
    [1920, 1200, 217, 136],
    [720, 1280, 0, 0],
];

fn panel([width_px, height_px, width_mm, height_mm]: [u16; 4]) -> Geometry {
    Geometry {
        width_px,
        height_px,
        width_mm,
        height_mm,
    }
}

fn notice(message: &str) -> Notice {
    Notice {
        episode: "00112233445566778899aabbccddeeff".into(),
        message: message.into(),
        contact: Some("+49 170 1234567".into()),
        code_digits: Some(8),
        since_unix_s: 1_790_000_000,
    }
}

fn view<'a>(notice: &'a Notice, labels: &'a Labels, geometry: Geometry) -> View<'a> {
    View {
        notice,
        labels,
        moment: Moment {
            clock: Some((9, 41)),
            battery_percent: Some(64),
        },
        geometry,
        sheet: Sheet::Message(0),
        emergency: Emergency::Impossible,
        ring: Ring::None,
        pressed: None,
        minute: 0,
    }
}

const KEYPAD: Sheet = Sheet::Keypad {
    state: State::Wrong { wait_s: 30 },
    progress: (3, 8),
};

fn drawn(view: &View<'_>, fonts: &[PathBuf]) -> Drawn {
    let mut setter = Typesetter::new(&texts(view.notice, view.labels), view.labels.tag, fonts);
    draw(&mut setter, view)
}

fn at(frame: &Frame, x: i32, y: i32) -> u8 {
    let [Ok(x), Ok(y)] = [x, y].map(usize::try_from) else {
        return 0;
    };
    let pixel = frame.luma.get(y * usize::from(frame.width_px) + x);
    *pixel.expect("a point of the picture")
}

/// Relative luminance of a grey as WCAG 2 defines it (sRGB), and the contrast of two.
fn contrast(one: u8, other: u8) -> f64 {
    let luminance = |luma: u8| {
        let part = f64::from(luma) / 255.0;
        match part <= 0.04045 {
            true => part / 12.92,
            false => ((part + 0.055) / 1.055).powf(2.4),
        }
    };
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

/// Heights of the stretches of rows in a rectangle that hold a pixel of at least half the light.
fn lit_rows(frame: &Frame, area: Rect) -> Vec<i32> {
    let mut heights = Vec::new();
    let mut height = 0;
    for y in area.y..=area.y + area.h {
        let lit = y < area.y + area.h && (area.x..area.x + area.w).any(|x| at(frame, x, y) >= 128);
        if lit {
            height += 1;
        } else if height > 0 {
            heights.push(std::mem::take(&mut height));
        }
    }
    heights
}

fn keep(name: &str, frame: &Frame) {
    if let Some(folder) = std::env::var_os("HOMING_TEST_SCREENSHOTS") {
        write_png(&Path::new(&folder).join(name), frame);
    }
}

fn write_png(path: &Path, frame: &Frame) {
    let file = std::fs::File::create(path).expect("a file");
    let mut encoder = png::Encoder::new(file, frame.width_px.into(), frame.height_px.into());
    encoder.set_color(png::ColorType::Grayscale);
    let mut writer = encoder.write_header().expect("a header");
    writer.write_image_data(&frame.luma).expect("pixels");
}

fn read_png(path: &Path) -> Frame {
    let file = std::io::BufReader::new(std::fs::File::open(path).expect("a golden picture"));
    let mut reader = png::Decoder::new(file).read_info().expect("a PNG");
    let mut luma = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut luma).expect("pixels");
    Frame {
        width_px: u16::try_from(info.width).expect("a width"),
        height_px: u16::try_from(info.height).expect("a height"),
        luma,
    }
}

#[test]
fn the_longest_message_has_letters_of_four_millimetres_on_every_panel() {
    let long = notice(&"HIHI HH IIHH ".repeat(13)[..160]);
    let short = notice("HIH");
    for size in PANELS {
        let geometry = panel(size);
        for notice in [&long, &short] {
            let drawn = drawn(&view(notice, &ENGLISH, geometry), &[]);
            keep(&format!("long-{}x{}.png", size[0], size[1]), &drawn.frame);
            let heights = lit_rows(&drawn.frame, drawn.message);
            let wanted = 4.0 * geometry.px_per_mm();
            assert!(!heights.is_empty(), "{size:?}: no message");
            for height in heights {
                #[expect(clippy::cast_precision_loss, reason = "pixels of a panel")]
                let height = height as f32;
                assert!(height >= wanted, "{size:?}: {height} of {wanted} px");
            }
        }
    }
}

#[test]
fn every_key_is_nine_millimetres_high_and_reads_seven_to_one() {
    let notice = notice("Please call me.");
    for size in PANELS {
        let geometry = panel(size);
        let wanted = 9.0 * geometry.px_per_mm();
        for (sheet, emergency, keys) in [
            (KEYPAD, Emergency::Impossible, 12),
            (Sheet::Message(0), Emergency::Offered, 2),
            (Sheet::Message(0), Emergency::Calling("112".into()), 2),
        ] {
            for pressed in [None, Some(Key::Digit(5))] {
                let view = View {
                    sheet,
                    emergency: emergency.clone(),
                    pressed,
                    ..view(&notice, &ENGLISH, geometry)
                };
                let drawn = drawn(&view, &[]);
                assert_eq!(drawn.keys.len(), keys, "{size:?}");
                for (key, area) in &drawn.keys {
                    // The key's face as it was painted, beside its label.
                    let column = area.x + area.w / 40 + 2;
                    let face = (area.y..area.y + area.h)
                        .filter(|y| at(&drawn.frame, column, *y) >= 30)
                        .count();
                    #[expect(clippy::cast_precision_loss, reason = "pixels of a panel")]
                    let face = face as f32;
                    assert!(face >= wanted, "{size:?} {key:?}: {face} of {wanted} px");
                    let label = area.inset(area.h / 5);
                    let pixels: BTreeSet<u8> = (label.y..label.y + label.h)
                        .flat_map(|y| (label.x..label.x + label.w).map(move |x| (x, y)))
                        .map(|(x, y)| at(&drawn.frame, x, y))
                        .collect();
                    let [dark, light] = [pixels.first(), pixels.last()].map(|end| *end.unwrap());
                    let ratio = contrast(dark, light);
                    assert!(ratio >= 7.0, "{size:?} {key:?}: {ratio}");
                }
            }
        }
    }
}

#[test]
fn everything_written_reads_seven_to_one_and_most_of_the_panel_is_dark() {
    let notice = notice("Please call me. There is a reward.");
    let drawn = drawn(&view(&notice, &ENGLISH, panel(PANELS[0])), &[]);
    let frame = &drawn.frame;
    // Row by row: wherever something is written on black, its strokes reach 7:1.
    let code = 27 * 11;
    let mut y = 0;
    while y < i32::from(frame.height_px) {
        let row = |y| {
            (0..i32::from(frame.width_px))
                .map(|x| at(frame, x, y))
                .max()
                .unwrap_or(0)
        };
        let mut brightest = 0;
        while y < i32::from(frame.height_px) && row(y) > 8 {
            brightest = brightest.max(row(y));
            y += 1;
        }
        if brightest > 0 {
            assert!(contrast(brightest, 0) >= 7.0, "row {y}: {brightest}");
        }
        y += 1;
    }
    let lit = frame.luma.iter().filter(|luma| **luma >= 128).count();
    let part = lit * 100 / frame.luma.len();
    assert!(
        part <= 15,
        "{part} % of the panel is lit, {code} px of code"
    );
}

#[test]
fn nothing_ever_reaches_the_panel_s_rim() {
    let texts = [
        "W".repeat(160),
        "Wohnungsbaugenossenschaftsvorsitzender ".repeat(4),
        "\n".repeat(80) + "end",
        "i".repeat(160),
        "Ǻ̂̂̂̂ gjpqy ".repeat(16),
        String::new(),
    ];
    for size in PANELS {
        let geometry = panel(size);
        for (text, minute) in texts.iter().zip(0..) {
            let mut notice = notice(text);
            notice.contact = Some("WWWWWWWWWWWW@WWWWWWWW.org".into());
            for sheet in [Sheet::Message(0), Sheet::Message(7), KEYPAD] {
                let view = View {
                    sheet,
                    minute: minute * 5,
                    emergency: Emergency::Failed,
                    ..view(&notice, &ENGLISH, geometry)
                };
                inside(&drawn(&view, &[]).frame, geometry, text);
            }
        }
    }
}

/// Three millimetres stay black all around: the rim less what the picture wanders.
fn inside(frame: &Frame, geometry: Geometry, what: &str) {
    #[expect(clippy::cast_possible_truncation, reason = "pixels of a panel")]
    let rim = (2.9 * geometry.px_per_mm()) as i32;
    let (width, height) = (i32::from(frame.width_px), i32::from(frame.height_px));
    let middle = Rect::new(0, 0, width, height).inset(rim);
    for y in 0..height {
        for x in (0..width).filter(|x| !middle.contains(*x, y)) {
            assert_eq!(at(frame, x, y), 0, "{geometry:?} {x},{y}: {what:?}");
        }
    }
}

#[test]
fn every_language_fits_with_the_fonts_that_there_are() {
    let notice = notice("…");
    for labels in &ALL {
        let unheard = Sheet::Keypad {
            state: State::Unheard,
            progress: (0, 8),
        };
        for sheet in [Sheet::Message(0), KEYPAD, unheard] {
            let called = Emergency::Calling("112".into());
            for (emergency, ring) in [
                (Emergency::Impossible, Ring::None),
                (Emergency::Offered, Ring::Ringing),
                (called, Ring::Connected),
            ] {
                let view = View {
                    sheet,
                    emergency,
                    ring,
                    ..view(&notice, labels, panel(PANELS[0]))
                };
                let drawn = drawn(&view, &[]);
                inside(&drawn.frame, view.geometry, labels.tag);
                keep(
                    &format!("{}-{}-{ring:?}.png", labels.tag, drawn.keys.len()),
                    &drawn.frame,
                );
            }
        }
    }
}

#[test]
fn a_message_too_long_for_one_page_is_shown_page_by_page() {
    let words: Vec<String> = (0..40).map(|word| format!("w{word:02}")).collect();
    let notice = notice(&words.join(" "));
    let geometry = panel(PANELS[3]);
    let first = drawn(&view(&notice, &ENGLISH, geometry), &[]);
    assert!(first.message_pages > 1, "it fits");
    assert!(first.keys.iter().any(|(key, _)| *key == Key::Message));
    let pages: BTreeSet<Vec<u8>> = (0..2 * first.message_pages)
        .map(|page| {
            let view = View {
                sheet: Sheet::Message(page),
                ..view(&notice, &ENGLISH, geometry)
            };
            drawn(&view, &[]).frame.luma
        })
        .collect();
    assert_eq!(pages.len(), first.message_pages);
}

#[test]
fn a_camera_reads_the_contact_from_every_panel() {
    for size in PANELS {
        let notice = notice("Please call me.");
        let drawn = drawn(&view(&notice, &ENGLISH, panel(size)), &[]);
        let (width, height) = (drawn.frame.width_px, drawn.frame.height_px);
        let mut picture =
            rqrr::PreparedImage::prepare_from_greyscale(width.into(), height.into(), |x, y| {
                drawn.frame.luma[y * usize::from(width) + x]
            });
        let found = picture.detect_grids();
        let read: Vec<String> = found
            .iter()
            .filter_map(|grid| grid.decode().ok().map(|(_, text)| text))
            .collect();
        assert_eq!(read, ["tel:+491701234567"], "{size:?}");
    }
}

fn test_fonts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fonts")
}

#[test]
fn scripts_of_installed_fonts_are_shaped_and_others_are_reported() {
    let geometry = panel(PANELS[0]);
    let notice = notice("कृपया फ़ोन करें  من فضلك اتصل  請打電話");
    let with = drawn(&view(&notice, &ENGLISH, geometry), &[test_fonts()]);
    keep("scripts.png", &with.frame);
    assert_eq!(with.unreadable, ["Han"]);
    let shown = with.text.iter().any(|line| line.ends_with("[Han]"));
    assert!(shown, "{:?}", with.text);
    let without = drawn(&view(&notice, &ENGLISH, geometry), &[]);
    assert_eq!(without.unreadable, ["Arabic", "Devanagari", "Han"]);
    assert_ne!(with.frame.luma, without.frame.luma);
}

/// Columns of a drawn message from the left: how many pixels are lit in each that has any.
fn columns(message: &str) -> Vec<usize> {
    let notice = notice(message);
    let drawn = drawn(&view(&notice, &ENGLISH, panel(PANELS[0])), &[test_fonts()]);
    let area = drawn.message;
    (area.x..area.x + area.w)
        .map(|x| {
            (area.y..area.y + area.h)
                .filter(|y| at(&drawn.frame, x, *y) >= 128)
                .count()
        })
        .filter(|lit| *lit > 0)
        .collect()
}

#[test]
fn arabic_runs_from_right_to_left_and_its_letters_join() {
    // Alef is an upright stroke and comes first: it stands at the right edge, higher than anything else.
    let word = columns("اسس");
    let tallest = word.iter().max().copied().unwrap_or(0);
    let place = word.iter().position(|lit| *lit == tallest).unwrap();
    assert!(place > word.len() * 3 / 4, "{place} of {}", word.len());
    // Two joined letters take less room than two that stand alone.
    let (joined, alone) = (columns("سس"), columns("س س"));
    assert!(joined.len() < alone.len());
}

#[test]
fn the_picture_is_what_it_was() {
    let notice = notice("Hello! This phone is lost. Grüße, Ελλάδα, Київ. Please call:");
    let small = panel([360, 720, 68, 136]);
    for (name, sheet) in [("message", Sheet::Message(0)), ("keypad", KEYPAD)] {
        let view = View {
            sheet,
            ..view(&notice, &ENGLISH, small)
        };
        let frame = drawn(&view, &[]).frame;
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.png"));
        if std::env::var_os("HOMING_WRITE_GOLDEN").is_some() {
            write_png(&path, &frame);
        }
        let golden = read_png(&path);
        assert_eq!(
            (golden.width_px, golden.height_px),
            (frame.width_px, frame.height_px)
        );
        // A rasteriser of another version may round otherwise; a word elsewhere makes ten times this.
        let off: u64 = golden
            .luma
            .iter()
            .zip(&frame.luma)
            .map(|(one, other)| u64::from(one.abs_diff(*other)))
            .sum();
        let mean = off * 1000 / frame.luma.len() as u64;
        assert!(
            mean <= 500,
            "{name}: {mean} thousandths of a shade in the mean"
        );
    }
}
