//! A phone's vibrator, through the kernel's force feedback on an input device. It does not know why it is to shake.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc::{self, O_CLOEXEC, O_NONBLOCK, c_ulong};

use crate::capability::attention::{Attention, Pulse};
use crate::capability::siren::FoundMixer;
use crate::fault::{Fault, Probe, Roots};

/// Linux `include/uapi/linux/input-event-codes.h` and `input.h`.
const EV_FF: u16 = 0x15;
const FF_RUMBLE: u16 = 0x50;
/// Bytes of a device's kinds of feedback, one bit each (`FF_CNT` is 128).
const KINDS_BYTES: usize = 16;
/// How long a pulse lasts when nobody ends it, milliseconds.
const LONGEST_PULSE_MS: u16 = 1_000;

/// `struct ff_effect` with the member for a rumble. The longest member of its union ends with a pointer, which gives
/// the whole its size and alignment.
#[repr(C)]
struct Effect {
    kind: u16,
    id: i16,
    direction: u16,
    trigger: [u16; 2],
    length_ms: u16,
    delay_ms: u16,
    content: Content,
}

#[repr(C)]
union Content {
    rumble: Rumble,
    longest: Longest,
}

/// `struct ff_rumble_effect`: magnitudes of the heavy and the light motor.
#[repr(C)]
#[derive(Clone, Copy)]
struct Rumble {
    strong: u16,
    weak: u16,
}

/// `struct ff_periodic_effect`, of which nothing but the size is used.
#[repr(C)]
#[derive(Clone, Copy)]
struct Longest {
    numbers: [u16; 9],
    length: u32,
    pointer: usize,
}

/// `struct input_event`; the kernel ignores the time of an event that is written.
#[repr(C)]
struct Event {
    time: [c_ulong; 2],
    kind: u16,
    code: u16,
    value: i32,
}

/// Linux `include/uapi/asm-generic/ioctl.h`, the same on x86, ARM and RISC-V; the sizes are tested below.
#[expect(clippy::cast_possible_truncation, reason = "both sizes are below 100")]
const fn request(direction: u32, number: u32, size: usize) -> u32 {
    direction << 30 | (size as u32) << 16 | (b'E' as u32) << 8 | number
}

/// `EVIOCGBIT(EV_FF, 16)`.
const GET_KINDS: u32 = request(2, 0x20 + EV_FF as u32, KINDS_BYTES);
/// `EVIOCSFF`.
const UPLOAD: u32 = request(1, 0x80, size_of::<Effect>());

/// The driver.
#[derive(Debug)]
pub struct Vibrator {
    input: PathBuf,
    shaking: Option<Shaking>,
}

/// An open vibrator; the kernel ends what it does with its file.
#[derive(Debug)]
struct Shaking {
    file: File,
    effect: i16,
    pulse: Pulse,
}

impl Vibrator {
    /// A driver for the input devices below `roots.dev`; nothing is opened yet.
    #[must_use]
    pub fn new(roots: &Roots) -> Self {
        Self {
            input: roots.dev.join("input"),
            shaking: None,
        }
    }

    /// The first input device that rumbles.
    fn open(&self) -> Result<(File, PathBuf), Fault> {
        let mut why = Fault::Absent(format!("no vibrator in {}", self.input.display()));
        let entries = fs::read_dir(&self.input).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.retain(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("event"))
        });
        paths.sort();
        for path in paths {
            match open(&path) {
                Ok(file) if rumbles(&file) => return Ok((file, path)),
                Ok(_) => {}
                // It may be the vibrator: whoever may not open it should know.
                Err(denied @ Fault::Denied(_)) => why = denied,
                Err(fault) => tracing::debug!(%fault, "an input device that is not looked at"),
            }
        }
        Err(why)
    }
}

fn open(path: &Path) -> Result<File, Fault> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(O_NONBLOCK | O_CLOEXEC)
        .open(path)
        .map_err(|error| Fault::from_io(&format!("opening {}", path.display()), &error))
}

fn rumbles(file: &File) -> bool {
    let mut kinds = [0_u8; KINDS_BYTES];
    // SAFETY: the descriptor is open, and the request number says that the kernel writes at most 16 bytes.
    let answered = unsafe {
        libc::ioctl(
            file.as_raw_fd(),
            GET_KINDS as libc::Ioctl,
            kinds.as_mut_ptr(),
        )
    };
    let bit = usize::from(FF_RUMBLE);
    answered > 0 && kinds[bit / 8] & (1 << (bit % 8)) != 0
}

/// Gives the kernel one pulse at full strength; returns the number it has there.
fn upload(file: &File) -> Result<i16, Fault> {
    let mut effect = Effect {
        kind: FF_RUMBLE,
        id: -1,
        direction: 0,
        trigger: [0; 2],
        length_ms: LONGEST_PULSE_MS,
        delay_ms: 0,
        content: Content {
            longest: Longest {
                numbers: [0; 9],
                length: 0,
                pointer: 0,
            },
        },
    };
    effect.content.rumble = Rumble {
        strong: u16::MAX,
        weak: u16::MAX,
    };
    // SAFETY: the descriptor is open, the request number says that the kernel reads one `Effect` and writes its id, and
    // for a rumble it follows no pointer.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), UPLOAD as libc::Ioctl, &raw mut effect) };
    Errno::result(result).map_err(|errno| Fault::from_errno("preparing the vibrator", errno))?;
    Ok(effect.id)
}

/// Plays an uploaded effect, or ends it.
fn play(mut file: &File, effect: i16, pulse: Pulse) -> Result<(), Fault> {
    let event = Event {
        time: [0; 2],
        kind: EV_FF,
        code: effect.cast_unsigned(),
        value: i32::from(pulse == Pulse::On),
    };
    let mut bytes = Vec::with_capacity(size_of::<Event>());
    for part in event.time {
        bytes.extend(part.to_ne_bytes());
    }
    bytes.extend(event.kind.to_ne_bytes());
    bytes.extend(event.code.to_ne_bytes());
    bytes.extend(event.value.to_ne_bytes());
    file.write_all(&bytes)
        .map_err(|error| Fault::from_io("moving the vibrator", &error))
}

impl Attention for Vibrator {
    fn name(&self) -> &'static str {
        "vibrator"
    }

    fn probe(&self) -> Probe {
        match self.open() {
            Ok((_, path)) => Probe::Ready {
                detail: path.display().to_string(),
            },
            Err(fault) => Probe::Unsupported {
                reason: fault.to_string(),
            },
        }
    }

    fn found(&mut self) -> Option<FoundMixer> {
        None
    }

    fn pulse(&mut self, pulse: Pulse) -> Result<(), Fault> {
        let shaking = match &mut self.shaking {
            Some(shaking) => shaking,
            None if pulse == Pulse::Off => return Ok(()),
            None => {
                let (file, _) = self.open()?;
                let effect = upload(&file)?;
                let pulse = Pulse::Off;
                self.shaking.insert(Shaking {
                    file,
                    effect,
                    pulse,
                })
            }
        };
        if shaking.pulse == pulse {
            return Ok(());
        }
        let played = play(&shaking.file, shaking.effect, pulse);
        match played {
            Ok(()) => shaking.pulse = pulse,
            // The next pulse opens it anew.
            Err(_) => self.shaking = None,
        }
        played
    }

    fn put_back(&mut self, _found: &str) -> Result<(), Fault> {
        Err(Fault::Broken("a vibrator owes nothing".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::folder;
    use std::mem::offset_of;

    /// The figures are those of a C compiler with the kernel's header, on x86-64 and, by the rule of its ABI, ARM.
    #[test]
    fn the_structures_and_numbers_are_the_kernels() {
        let long = size_of::<c_ulong>();
        assert_eq!(size_of::<Effect>(), if long == 8 { 48 } else { 44 });
        assert_eq!(offset_of!(Effect, length_ms), 10);
        assert_eq!(offset_of!(Effect, content), 16);
        assert_eq!(size_of::<Event>(), 2 * long + 8);
        assert_eq!(GET_KINDS, 0x8010_4535);
        if long == 8 {
            assert_eq!(UPLOAD, 0x4030_4580);
        }
    }

    #[test]
    fn a_phone_without_a_vibrator_is_told_so_and_what_is_no_input_device_does_not_matter() {
        let (_dir, roots) = folder(&[("dev/input/event0", "x"), ("dev/input/mouse0", "x")]);
        let mut vibrator = Vibrator::new(&roots);
        assert!(matches!(vibrator.probe(), Probe::Unsupported { .. }));
        assert!(matches!(vibrator.pulse(Pulse::On), Err(Fault::Absent(_))));
        assert_eq!(vibrator.pulse(Pulse::Off), Ok(()));
    }
}
