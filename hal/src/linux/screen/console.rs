//! The kernel's text console: a virtual terminal of our own in front, drawing nothing, reading no keyboard, and not to be switched away from. It stays so when we die.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{self, c_int, c_ulong};

use super::note::Found;
use crate::fault::{Cancel, Fault};

// Linux include/uapi/linux/vt.h and kd.h.
const VT_OPENQRY: c_ulong = 0x5600;
const VT_GETSTATE: c_ulong = 0x5603;
const VT_ACTIVATE: c_ulong = 0x5606;
const VT_DISALLOCATE: c_ulong = 0x5608;
const VT_LOCKSWITCH: c_ulong = 0x560B;
const VT_UNLOCKSWITCH: c_ulong = 0x560C;
const KDSETMODE: c_ulong = 0x4B3A;
const KDGKBMODE: c_ulong = 0x4B44;
const KDSKBMODE: c_ulong = 0x4B45;
const KD_TEXT: c_ulong = 0;
const KD_GRAPHICS: c_ulong = 1;
/// `K_OFF`: no keyboard event becomes a character, nor a switch of terminals.
const K_OFF: c_ulong = 4;
/// `K_UNICODE`, what a terminal has before anybody changes it.
const K_UNICODE: i64 = 3;

/// How long a switch of terminals may take: a session that does not agree to it is being ended.
const SWITCH: Duration = Duration::from_secs(5);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// `struct vt_stat`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct State {
    active: u16,
    signal: u16,
    state: u16,
}

/// The console below `/dev`.
#[derive(Debug)]
pub(super) struct Console {
    dev: PathBuf,
}

impl Console {
    pub(super) fn new(dev: &Path) -> Self {
        Self { dev: dev.into() }
    }

    /// Takes the console, again and again; what is found the first time is added to `found`. A kernel without terminals has none to take.
    pub(super) fn take(&self, found: &mut Found) -> Result<(), Fault> {
        let Some(any) = self.open(0)? else {
            return Ok(());
        };
        // Switching may be locked by a holder that died.
        let _ = order(&any, VT_UNLOCKSWITCH, 1);
        let (_, ours) = match found.terminals {
            Some(terminals) => terminals,
            None => {
                let terminals = (active(&any)?, free(&any)?);
                *found.terminals.insert(terminals)
            }
        };
        order(&any, VT_ACTIVATE, c_ulong::from(ours))?;
        let until = Instant::now() + SWITCH;
        while active(&any)? != ours {
            if Instant::now() >= until {
                return Err(Fault::Busy("a session keeps its terminal in front".into()));
            }
            Cancel::new().rest(Instant::now() + LOOK)?;
        }
        let own = self
            .open(ours)?
            .ok_or_else(|| Fault::Absent(format!("terminal {ours} has no node")))?;
        if found.keyboard.is_none() {
            found.keyboard = Some(keyboard(&own)?);
        }
        order(&own, KDSETMODE, KD_GRAPHICS)?;
        order(&own, KDSKBMODE, K_OFF)?;
        order(&any, VT_LOCKSWITCH, 1)
    }

    /// Undoes all of it; the first step that failed is told of, after the others.
    pub(super) fn put_back(&self, found: &Found) -> Result<(), Fault> {
        let (Some((before, ours)), Some(any)) = (found.terminals, self.open(0)?) else {
            return Ok(());
        };
        let mut first = order(&any, VT_UNLOCKSWITCH, 1);
        if let Some(own) = self.open(ours)? {
            let keyboard = found.keyboard.unwrap_or(K_UNICODE);
            let keyboard = c_ulong::try_from(keyboard).unwrap_or(K_OFF);
            first = first.and(order(&own, KDSKBMODE, keyboard));
            first = first.and(order(&own, KDSETMODE, KD_TEXT));
        }
        first = first.and(order(&any, VT_ACTIVATE, c_ulong::from(before)));
        // Busy where something else has begun there since: then it is no longer ours.
        let _ = order(&any, VT_DISALLOCATE, c_ulong::from(ours));
        first
    }

    /// A terminal for orders; `None` where there is none. Writing is enough, and all that the group tty may do.
    fn open(&self, number: u16) -> Result<Option<File>, Fault> {
        let path = self.dev.join(format!("tty{number}"));
        let opened = OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_NOCTTY | libc::O_CLOEXEC)
            .open(&path);
        match opened {
            Ok(file) => Ok(Some(file)),
            Err(error) => match Fault::from_io(&format!("opening {}", path.display()), &error) {
                Fault::Absent(_) => Ok(None),
                fault => Err(fault),
            },
        }
    }
}

fn active(any: &File) -> Result<u16, Fault> {
    let mut state = State::default();
    // SAFETY: VT_GETSTATE writes one `struct vt_stat`, which `State` is.
    let result =
        unsafe { libc::ioctl(any.as_raw_fd(), VT_GETSTATE as libc::Ioctl, &raw mut state) };
    Errno::result(result)
        .map(|_| state.active)
        .map_err(|errno| Fault::from_errno("asking which terminal is in front", errno))
}

fn free(any: &File) -> Result<u16, Fault> {
    let mut number: c_int = -1;
    // SAFETY: VT_OPENQRY writes one int.
    let result =
        unsafe { libc::ioctl(any.as_raw_fd(), VT_OPENQRY as libc::Ioctl, &raw mut number) };
    Errno::result(result)
        .map_err(|errno| Fault::from_errno("asking for a free terminal", errno))?;
    u16::try_from(number).map_err(|_| Fault::Busy("every terminal is in use".into()))
}

fn keyboard(own: &File) -> Result<i64, Fault> {
    let mut mode: c_int = 0;
    // SAFETY: KDGKBMODE writes one int.
    let result = unsafe { libc::ioctl(own.as_raw_fd(), KDGKBMODE as libc::Ioctl, &raw mut mode) };
    Errno::result(result)
        .map(|_| i64::from(mode))
        .map_err(|errno| Fault::from_errno("asking how the keyboard is read", errno))
}

fn order(terminal: &File, request: c_ulong, argument: c_ulong) -> Result<(), Fault> {
    // SAFETY: these requests take their argument by value.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), request as libc::Ioctl, argument) };
    Errno::result(result)
        .map(drop)
        .map_err(|errno| Fault::from_errno("ordering the console about", errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_terminals_has_none_to_take_and_what_is_no_terminal_refuses() {
        let dev = tempfile::tempdir().unwrap();
        let console = Console::new(dev.path());
        let mut found = Found::default();
        assert_eq!(console.take(&mut found), Ok(()));
        assert_eq!(found, Found::default());
        File::create(dev.path().join("tty0")).unwrap();
        let refused = console.take(&mut found);
        assert!(matches!(refused, Err(Fault::Broken(_))), "{refused:?}");
        assert_eq!(found, Found::default());
    }
}
