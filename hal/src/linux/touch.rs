//! Touch and keys through the kernel's event devices, taken from everybody else. What a finger means is decided elsewhere.

mod fingers;
mod matrix;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use evdev::raw_stream::RawDevice;
use evdev::{AbsoluteAxisCode, KeyCode, PropType};
use nix::errno::Errno;
use nix::libc;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::capability::touch::{Input, Touch};
use crate::fault::{Cancel, Fault, Probe, Roots};
use crate::linux::screen::{Built, turn};
use fingers::{
    ABS_MT_POSITION_X, ABS_MT_POSITION_Y, ABS_MT_TRACKING_ID, Fingers, Next, Protocol, Range, SLOTS,
};
use matrix::Matrix;

/// When devices that somebody else had are tried again.
const HELD_AGAIN: Duration = Duration::from_secs(5);
/// A wait without an end, as far as poll(2) knows one.
const FOREVER: Duration = Duration::from_secs(20 * 24 * 3600);
/// Codes below are keys, from here on buttons.
const FIRST_BUTTON: u16 = 0x100;

/// One device that is ours.
#[derive(Debug)]
struct Taken {
    device: RawDevice,
    fingers: Fingers,
    matrix: Matrix,
}

/// The driver.
#[derive(Debug)]
pub struct EventDevices {
    folder: PathBuf,
    run: PathBuf,
    built: Built,
    taken: BTreeMap<PathBuf, Taken>,
    /// Tells when devices come.
    watch: Option<Inotify>,
    /// Whether somebody else has one of them: a session that is just ending, or a program that turns keys into others.
    is_held: bool,
    ready: std::collections::VecDeque<Input>,
}

impl EventDevices {
    /// A driver for the devices below these roots; nothing is opened yet. Places are turned as the panel below is built in.
    #[must_use]
    pub fn new(roots: &Roots, built: Built) -> Self {
        Self {
            folder: roots.dev.join("input"),
            run: roots.run.clone(),
            built,
            taken: BTreeMap::new(),
            watch: None,
            is_held: false,
            ready: std::collections::VecDeque::new(),
        }
    }

    fn paths(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = entries
            .map(|entry| entry.path())
            .filter(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with("event")
            })
            .collect();
        found.sort();
        found
    }

    /// Takes what is not taken yet; the first that may not be opened is told of where nothing could be taken.
    fn take_new(&mut self) -> Result<(), Fault> {
        let mut why = Fault::Absent(format!(
            "no touch panel or keys in {}",
            self.folder.display()
        ));
        self.is_held = false;
        for path in self.paths() {
            if self.taken.contains_key(&path) {
                continue;
            }
            match take(&path, &self.run) {
                Ok(Some(taken)) => {
                    self.taken.insert(path, taken);
                }
                Ok(None) => {}
                Err(fault) => {
                    tracing::debug!(%fault, "an input device is left out");
                    match fault {
                        Fault::Busy(_) => self.is_held = true,
                        Fault::Denied(_) => why = fault,
                        _ => {}
                    }
                }
            }
        }
        if self.taken.is_empty() {
            Err(why)
        } else {
            Ok(())
        }
    }

    fn watch(&mut self) -> Result<(), Fault> {
        if self.watch.is_none() {
            let flags = InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK;
            let events = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_ATTRIB;
            let watch = Inotify::init(flags).and_then(|watch| {
                watch.add_watch(&self.folder, events)?;
                Ok(watch)
            });
            self.watch = Some(
                watch.map_err(|errno| Fault::from_errno("watching for input devices", errno))?,
            );
        }
        Ok(())
    }

    /// Sleeps until a device has something to say, or one has come.
    fn sleep(&self, cancel: &Cancel) -> Result<(), Fault> {
        let failed = |errno| Fault::from_errno("waiting for hands", errno);
        let all = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(failed)?;
        let event = || EpollEvent::new(EpollFlags::EPOLLIN, 0);
        for taken in self.taken.values() {
            all.add(taken.device.as_fd(), event()).map_err(failed)?;
        }
        if let Some(watch) = &self.watch {
            all.add(watch.as_fd(), event()).map_err(failed)?;
        }
        let patience = if self.is_held { HELD_AGAIN } else { FOREVER };
        match cancel.wait_readable(all.0.as_fd(), Instant::now() + patience) {
            Err(Fault::TimedOut(_)) => Ok(()),
            other => other,
        }
    }

    /// Reads everything that has come.
    fn read(&mut self) -> Result<(), Fault> {
        if let Some(watch) = &self.watch {
            let has_come = matches!(watch.read_events(), Ok(events) if !events.is_empty());
            if has_come {
                // Those that may not be opened yet come again when their rights are set.
                let _ = self.take_new();
            }
        }
        if self.is_held {
            let _ = self.take_new();
        }
        let mut gone = Vec::new();
        for (path, taken) in &mut self.taken {
            match taken.read() {
                Ok(inputs) => {
                    let rotation = self.built.rotation();
                    let turned = inputs
                        .into_iter()
                        .map(|input| turned(input, &taken.matrix, rotation));
                    self.ready.extend(turned);
                }
                Err(error) => {
                    tracing::debug!(%error, "an input device is gone");
                    gone.push(path.clone());
                }
            }
        }
        for path in gone {
            self.taken.remove(&path);
        }
        Ok(())
    }
}

fn turned(input: Input, matrix: &Matrix, rotation: crate::capability::panel::Rotation) -> Input {
    match input {
        Input::Touch { phase, x, y } => {
            let (x, y) = turn::upright_point(matrix.apply((x, y)), rotation);
            Input::Touch { phase, x, y }
        }
        key @ Input::Key(_) => key,
    }
}

impl Taken {
    fn read(&mut self) -> std::io::Result<Vec<Input>> {
        loop {
            let mut ask = Next::Event;
            match self.device.fetch_events() {
                Ok(events) => {
                    for event in events {
                        let next =
                            self.fingers
                                .event(event.event_type().0, event.code(), event.value());
                        if next == Next::Ask {
                            ask = Next::Ask;
                        }
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(self.fingers.take());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if ask == Next::Ask {
                resume(&self.device, &mut self.fingers);
            }
        }
    }
}

/// Opens and takes a device, if hands reach a session through it.
fn take(path: &Path, run: &Path) -> Result<Option<Taken>, Fault> {
    let failed =
        |error: std::io::Error| Fault::from_io(&format!("taking {}", path.display()), &error);
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)
        .map_err(failed)?;
    let number = file.metadata().map_err(failed)?.rdev();
    let number = (libc::major(number).into(), libc::minor(number).into());
    let mut device = RawDevice::try_from(file).map_err(failed)?;
    let Some((protocol, x, y)) = kind(&device) else {
        return Ok(None);
    };
    device.grab().map_err(failed)?;
    let mut fingers = Fingers::new(protocol, x, y);
    if protocol == Protocol::Slots {
        // A finger may lie on it already, and what has not changed is never said.
        resume(&device, &mut fingers);
    }
    Ok(Some(Taken {
        device,
        fingers,
        matrix: Matrix::of_device(run, number),
    }))
}

/// What a device is, and the ranges of its axes; `None` for one that has neither keys nor places.
fn kind(device: &RawDevice) -> Option<(Protocol, Range, Range)> {
    let axes: BTreeMap<u16, Range> = device
        .get_absinfo()
        .into_iter()
        .flatten()
        .map(|(axis, info)| {
            let range = Range {
                least: info.minimum(),
                most: info.maximum(),
            };
            (axis.0, range)
        })
        .collect();
    let both = |x: u16, y: u16| Some((*axes.get(&x)?, *axes.get(&y)?));
    let has_key = |code| {
        let keys = device.supported_keys();
        keys.is_some_and(|keys| keys.contains(code))
    };
    if let Some((x, y)) = both(ABS_MT_POSITION_X, ABS_MT_POSITION_Y) {
        let is_screen = !device.properties().contains(PropType::POINTER);
        return Some(match is_screen {
            true => (Protocol::Slots, x, y),
            false => (Protocol::Keys, x, y),
        });
    }
    let single = both(AbsoluteAxisCode::ABS_X.0, AbsoluteAxisCode::ABS_Y.0);
    if let Some((x, y)) = single.filter(|_| has_key(KeyCode::BTN_TOUCH)) {
        return Some((Protocol::Single, x, y));
    }
    let none = Range { least: 0, most: 0 };
    let keys = device.supported_keys()?;
    let reaches = keys
        .iter()
        .any(|key| key.0 < FIRST_BUTTON || key == KeyCode::BTN_LEFT);
    reaches.then_some((Protocol::Keys, none, none))
}

/// Asks a device for its slots, or for the one finger that it knows, and tells the fingers.
fn resume(device: &RawDevice, fingers: &mut Fingers) {
    if fingers.protocol() != Protocol::Slots {
        // What cannot be asked for counts as lifted; the next events are heard in any case.
        let pressed = device.get_key_state().ok();
        let is_down = pressed.is_some_and(|keys| keys.contains(KeyCode::BTN_TOUCH));
        let axes = device.get_abs_state().ok();
        let place = |axis: AbsoluteAxisCode| {
            let info = axes.as_ref().and_then(|axes| axes.get(usize::from(axis.0)));
            info.map_or(0, |info| info.value)
        };
        let (x, y) = (
            place(AbsoluteAxisCode::ABS_X),
            place(AbsoluteAxisCode::ABS_Y),
        );
        return fingers.resume(&[(if is_down { 0 } else { -1 }, x, y)], 0);
    }
    let asked = [ABS_MT_TRACKING_ID, ABS_MT_POSITION_X, ABS_MT_POSITION_Y]
        .map(|code| slots(device, code).ok());
    if let [Some(tracking), Some(x), Some(y)] = asked {
        let slots: Vec<(i32, i32, i32)> = tracking
            .into_iter()
            .zip(x)
            .zip(y)
            .map(|((tracking, x), y)| (tracking, x, y))
            .collect();
        let current = device.get_abs_state().map_or(0, |state| {
            let slot = usize::from(AbsoluteAxisCode::ABS_MT_SLOT.0);
            state.get(slot).map_or(0, |info| info.value)
        });
        fingers.resume(&slots, current);
    }
}

/// `EVIOCGMTSLOTS`: a code, and its value in every slot. Slots that a device does not have stay free.
#[repr(C)]
struct Slots {
    code: u32,
    values: [i32; SLOTS],
}

/// Linux `include/uapi/linux/input.h`: `_IOC(_IOC_READ, 'E', 0x0a, length)`.
#[expect(clippy::cast_possible_truncation, reason = "132 bytes")]
const GET_SLOTS: u32 = 2 << 30 | (size_of::<Slots>() as u32) << 16 | (b'E' as u32) << 8 | 0x0a;

fn slots(device: &RawDevice, code: u16) -> Result<[i32; SLOTS], Errno> {
    let mut slots = Slots {
        code: code.into(),
        values: [-1; SLOTS],
    };
    // SAFETY: the kernel writes at most as many bytes as the request says, which is the size of `Slots`.
    let result =
        unsafe { libc::ioctl(device.as_raw_fd(), GET_SLOTS as libc::Ioctl, &raw mut slots) };
    Errno::result(result).map(|_| slots.values)
}

impl Touch for EventDevices {
    fn name(&self) -> &'static str {
        "evdev"
    }

    fn probe(&self) -> Probe {
        let paths = self.paths();
        let readable = paths.iter().any(|path| fs::File::open(path).is_ok());
        match (paths.len(), readable) {
            (0, _) => Probe::Unsupported {
                reason: format!("no input devices in {}", self.folder.display()),
            },
            (_, false) => Probe::Unsupported {
                reason: "the input devices may not be opened".into(),
            },
            (count, true) => Probe::Ready {
                detail: format!("{count} input devices"),
            },
        }
    }

    fn take(&mut self) -> Result<(), Fault> {
        // The watch first: a device that comes in between is seen.
        self.watch()?;
        self.take_new()
    }

    fn next(&mut self, cancel: &Cancel) -> Result<Input, Fault> {
        self.watch()?;
        loop {
            if let Some(input) = self.ready.pop_front() {
                return Ok(input);
            }
            self.sleep(cancel)?;
            self.read()?;
        }
    }

    fn release(&mut self) -> Result<(), Fault> {
        // The kernel gives a device back with its last descriptor.
        self.taken.clear();
        self.watch = None;
        self.ready.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_without_input_devices_says_so_and_its_wait_can_be_cancelled() {
        let root = tempfile::tempdir().unwrap();
        let roots = Roots {
            dev: root.path().to_path_buf(),
            ..Roots::default()
        };
        let mut touch = EventDevices::new(&roots, Built::default());
        assert!(matches!(touch.take(), Err(Fault::Absent(_))));
        fs::create_dir(root.path().join("input")).unwrap();
        assert!(matches!(touch.probe(), Probe::Unsupported { .. }));
        assert!(matches!(touch.take(), Err(Fault::Absent(_))));
        // What is no device is left out, and what comes later is looked at without an end to the wait.
        fs::write(root.path().join("input/event0"), "").unwrap();
        assert!(matches!(touch.take(), Err(Fault::Absent(_))));
        let cancel = Cancel::new();
        let other = cancel.clone();
        let waiting = std::thread::spawn(move || touch.next(&other));
        fs::write(root.path().join("input/event1"), "").unwrap();
        cancel.cancel();
        assert!(matches!(waiting.join().unwrap(), Err(Fault::Cancelled(_))));
    }
}
