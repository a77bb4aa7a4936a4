//! What is on a guest's panel, held against what the lost screen's own drawing code paints. It presses nothing.

use e2e::Guest;
use homing_hal::capability::call::Ring;
use homing_hal::capability::panel::Geometry;
use homing_screen::language::{ENGLISH, Labels};
use homing_screen::notice::Notice;
use homing_screen::page::{Emergency, Moment, Sheet, View, draw, texts};
use homing_screen::typeset::Typesetter;
use std::path::Path;
use std::time::SystemTime;

/// The marker that the story's document is written on: red, green, blue. Nothing of Phosh's and nothing of ours has it.
pub(crate) const MARKER: [u8; 3] = [255, 0, 200];
/// How far each part may be from it: a panel of 16 bits would round.
const NEAR: u8 = 12;

/// A screenshot.
pub(crate) struct Shot {
    width_px: u16,
    height_px: u16,
    /// Red, green, blue, row by row.
    pixels: Vec<[u8; 3]>,
}

impl Shot {
    /// Takes one under a name.
    #[track_caller]
    pub(crate) fn take(guest: &Guest, name: &str) -> Self {
        Self::read(&guest.screenshot(name))
    }

    #[track_caller]
    fn read(path: &Path) -> Self {
        let file = std::fs::File::open(path).expect("QEMU has written it");
        let mut reader = png::Decoder::new(std::io::BufReader::new(file))
            .read_info()
            .expect("a PNG");
        let mut bytes = vec![0; reader.output_buffer_size().expect("a small picture")];
        let info = reader.next_frame(&mut bytes).expect("a whole PNG");
        assert_eq!(info.bit_depth, png::BitDepth::Eight, "of QEMU's pictures");
        let parts = info.color_type.samples();
        assert!(parts >= 3, "QEMU's pictures have colours");
        let pixels = bytes[..info.buffer_size()].chunks_exact(parts);
        Self {
            width_px: u16::try_from(info.width).expect("a panel's width"),
            height_px: u16::try_from(info.height).expect("a panel's height"),
            pixels: pixels.map(|part| [part[0], part[1], part[2]]).collect(),
        }
    }

    /// How many pixels are the document's.
    pub(crate) fn marked(&self) -> usize {
        let near = |pixel: &&[u8; 3]| {
            let apart = pixel
                .iter()
                .zip(MARKER)
                .map(|(one, other)| one.abs_diff(other));
            apart.max().is_some_and(|most| most <= NEAR)
        };
        self.pixels.iter().filter(near).count()
    }

    /// Whether it is this picture in greys, pixel for pixel.
    fn is(&self, luma: &[u8]) -> bool {
        let same = |(pixel, luma): (&[u8; 3], &u8)| pixel.iter().all(|part| part == luma);
        self.pixels.len() == luma.len() && self.pixels.iter().zip(luma).all(same)
    }
}

/// What the guest's lost screen must show.
pub(crate) struct Expected {
    notice: Notice,
    geometry: Geometry,
    emergency: Vec<Emergency>,
}

impl Expected {
    /// Asks a guest for what its screen goes by: the notice, and how large its panel says to be.
    #[track_caller]
    pub(crate) fn of(guest: &mut Guest, notice: &str) -> Self {
        let json = guest.run(&format!("cat {notice}")).expect_success().text;
        // Centimetres across and down (EDID 1.4, bytes 21 and 22), which the kernel tells as millimetres.
        let said = guest
            .run("od -An -tu1 -j21 -N2 /sys/class/drm/card0-Virtual-1/edid")
            .expect_success();
        let cm: Vec<u16> = said
            .text
            .split_whitespace()
            .filter_map(|number| number.parse().ok())
            .collect();
        let [across, down] = cm[..] else {
            panic!("no size in {:?}", said.text)
        };
        Self {
            notice: Notice::parse(&json).expect("the actor wrote it"),
            geometry: Geometry {
                width_px: 720,
                height_px: 1440,
                width_mm: across * 10,
                height_mm: down * 10,
            },
            emergency: vec![Emergency::Impossible, Emergency::Offered],
        }
    }

    /// Whether the panel shows the notice's page, pixel for pixel. The guest's clock is read to the minute before and after, and the
    /// picture wanders with the minutes that a notice has been shown: of those at most `minutes` have passed.
    #[track_caller]
    pub(crate) fn is_shown(&mut self, guest: &mut Guest, name: &str, minutes: u64) -> bool {
        let before = clock(guest);
        let shot = Shot::take(guest, name);
        let after = clock(guest);
        if usize::from(shot.width_px) * usize::from(shot.height_px) != shot.pixels.len() {
            return false;
        }
        let labels = ENGLISH;
        // The phone's own fonts serve where the built-in face does not do, which is not so for these words.
        let mut setter = Typesetter::new(&texts(&self.notice, &labels), labels.tag, &[]);
        let mut clocks = vec![before, after];
        clocks.dedup();
        for emergency in self.emergency.clone() {
            for (clock, minute) in clocks
                .iter()
                .flat_map(|clock| (0..=minutes).map(move |minute| (*clock, minute)))
            {
                let view = self.view(&self.notice, &labels, clock, emergency.clone(), minute);
                if shot.is(&draw(&mut setter, &view).frame.luma) {
                    self.emergency = vec![emergency];
                    return true;
                }
            }
        }
        false
    }

    /// The first page of a notice, as nobody has touched it. QEMU's phone has no battery.
    fn view<'notice>(
        &self,
        notice: &'notice Notice,
        labels: &'notice Labels,
        clock: (u8, u8),
        emergency: Emergency,
        minute: u64,
    ) -> View<'notice> {
        View {
            notice,
            labels,
            moment: Moment {
                clock: Some(clock),
                battery_percent: None,
            },
            geometry: self.geometry,
            sheet: Sheet::Message(0),
            emergency,
            ring: Ring::None,
            pressed: None,
            minute,
        }
    }

    /// Whether the panel shows what stands there before a disk's passphrase, pixel for pixel. Nobody can be asked for the time then: it
    /// is this machine's, in UTC.
    #[track_caller]
    pub(crate) fn stands_before_the_prompt(&self, guest: &Guest, name: &str) -> bool {
        let shot = Shot::take(guest, name);
        let mut labels = ENGLISH;
        labels.enter_code = labels.passphrase;
        let mut notice = self.notice.clone();
        notice.code_digits = Some(1);
        let mut setter = Typesetter::new(&texts(&notice, &labels), labels.tag, &[]);
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now_min = since_1970.expect("a clock").as_secs() / 60;
        (0..3_u64).any(|ago| {
            let of_day = (now_min - ago) % (24 * 60);
            let part = |number: u64| u8::try_from(number).expect("below 60");
            (0..3).any(|minute| {
                let clock = (part(of_day / 60), part(of_day % 60));
                let view = self.view(&notice, &labels, clock, Emergency::Impossible, minute);
                shot.is(&draw(&mut setter, &view).frame.luma)
            })
        })
    }
}

/// Hour and minute of the guest.
#[track_caller]
fn clock(guest: &mut Guest) -> (u8, u8) {
    let said = guest.run("date -u +%H:%M").expect_success().text;
    let parts = said
        .trim()
        .split_once(':')
        .and_then(|(hour, minute)| Some((hour.parse().ok()?, minute.parse().ok()?)));
    parts.unwrap_or_else(|| panic!("no time in {said:?}"))
}
