//! Who has taken a playback device, and how it is taken from them. It ends nobody but the one process the kernel names.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fault::{Cancel, Fault, Roots};

/// How long a program may take to end in order; a sound server needs some tens of milliseconds.
const ORDERLY: Duration = Duration::from_millis(400);
/// How long the kernel may take to close the files of a process that was killed.
const KILLED: Duration = Duration::from_millis(400);
/// How often the device is tried meanwhile: a sound server that is started again must not be quicker.
const BETWEEN: Duration = Duration::from_millis(10);

/// The process that has a playback device open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    process: Pid,
    name: String,
}

/// The holder of a card's playback device, as `/proc/asound` names it: readable by everybody, unlike `/proc/PID/fd`.
pub(super) fn of(roots: &Roots, card: u32, device: u32) -> Option<Holder> {
    let folder = roots.proc.join(format!("asound/card{card}/pcm{device}p"));
    let mut subdevices: Vec<_> = fs::read_dir(folder)
        .ok()?
        .flatten()
        .map(|e| e.path())
        .collect();
    subdevices.sort();
    subdevices.iter().find_map(|path| holder(roots, path))
}

fn holder(roots: &Roots, subdevice: &Path) -> Option<Holder> {
    let status = fs::read_to_string(subdevice.join("status")).ok()?;
    let thread = number_after(&status, "owner_pid")?;
    // The kernel names the thread that opened it.
    let status = fs::read_to_string(roots.proc.join(format!("{thread}/status")));
    let process = number_after(&status.unwrap_or_default(), "Tgid").unwrap_or(thread);
    let name = fs::read_to_string(roots.proc.join(format!("{process}/comm"))).unwrap_or_default();
    Some(Holder {
        process: Pid::from_raw(process),
        name: name.trim().to_owned(),
    })
}

/// The number in a line such as `owner_pid   : 4711`.
fn number_after(text: &str, key: &str) -> Option<i32> {
    text.lines().find_map(|line| {
        let number = line.strip_prefix(key)?.trim_start().strip_prefix(':')?;
        number.trim().parse().ok()
    })
}

impl Holder {
    fn described(&self) -> String {
        match self.name.as_str() {
            "" => format!("process {}", self.process),
            name => format!("{name} (process {})", self.process),
        }
    }
}

/// Takes the device by ending its holder, in order if it will, and opens it in the moment it is free. A sound server of
/// a user's session is started again by its socket as soon as a program wants to play.
///
/// # Errors
/// [`Fault::Busy`] when there is no holder to be seen, it is this program, this user may not end it, or it stays; else what
/// `open` says.
pub(super) fn take<T>(
    holder: Option<Holder>,
    mut open: impl FnMut() -> Result<T, Fault>,
) -> Result<T, Fault> {
    let Some(holder) = holder else {
        return Err(Fault::Busy("another program has the loudspeaker".into()));
    };
    let who = holder.described();
    // Sirens exclude each other before they come here; a program must not end itself in any case.
    if holder.process == Pid::this() {
        return Err(Fault::Busy("this program has the loudspeaker".into()));
    }
    for (signal, patience) in [(Signal::SIGTERM, ORDERLY), (Signal::SIGKILL, KILLED)] {
        tracing::warn!(holder = who, %signal, "the loudspeaker is taken");
        match kill(holder.process, signal) {
            // It may have ended by itself meanwhile.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => {
                let why = errno.desc();
                return Err(Fault::Busy(format!(
                    "{who} has the loudspeaker and may not be ended: {why}"
                )));
            }
        }
        let until = Instant::now() + patience;
        while Instant::now() < until {
            match open() {
                Err(Fault::Busy(_)) => Cancel::new().rest(Instant::now() + BETWEEN)?,
                other => return other,
            }
        }
    }
    Err(Fault::Busy(format!(
        "{who} has the loudspeaker and does not end"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::folder;
    use std::process::{Child, Command};

    struct Ended(Child);
    impl Drop for Ended {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn started(program: &str, arguments: &[&str]) -> (Ended, Holder) {
        let child = Command::new(program).args(arguments).spawn().unwrap();
        let holder = Holder {
            process: Pid::from_raw(child.id().try_into().unwrap()),
            name: program.into(),
        };
        (Ended(child), holder)
    }

    #[test]
    fn the_kernel_names_the_holder_and_a_free_device_has_none() {
        let status = "state: RUNNING\nowner_pid   : 4711\ntrigger_time: 1.2\n";
        let (_dir, roots) = folder(&[
            ("proc/asound/card1/pcm0p/sub0/status", "closed\n"),
            ("proc/asound/card1/pcm0p/sub1/status", status),
            ("proc/asound/card1/pcm2p/sub0/status", "closed\n"),
            ("proc/4711/status", "Name:\tdata-loop.0\nTgid:\t4700\n"),
            ("proc/4700/comm", "pipewire\n"),
        ]);
        let found = of(&roots, 1, 0).unwrap();
        assert_eq!(found.described(), "pipewire (process 4700)");
        assert_eq!(of(&roots, 1, 2), None);
        assert_eq!(of(&roots, 3, 0), None);
    }

    #[test]
    fn a_holder_is_ended_and_the_device_opened_as_soon_as_it_is_free() {
        let (mut holding, holder) = started("sleep", &["600"]);
        let mut open = || match holding.0.try_wait().unwrap() {
            None => Err(Fault::Busy("held".into())),
            Some(_) => Ok("open"),
        };
        // As the siren does it: a machine that is too crowded for one attempt is no fault of the taking.
        let until = Instant::now() + Duration::from_secs(20);
        let mut taken = take(Some(holder.clone()), &mut open);
        while taken.is_err() && Instant::now() < until {
            taken = take(Some(holder.clone()), &mut open);
        }
        assert_eq!(taken, Ok("open"));
    }

    #[test]
    fn nobody_is_ended_when_no_holder_is_seen_or_it_is_this_program() {
        let never = || -> Result<(), Fault> { panic!("it is not free") };
        assert!(matches!(take(None, never), Err(Fault::Busy(_))));
        let own = Holder {
            process: Pid::this(),
            name: "x".into(),
        };
        let said = take(Some(own), never).unwrap_err().to_string();
        assert!(said.contains("this program"), "{said}");
    }
}
