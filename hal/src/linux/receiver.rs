//! The position from a stream of NMEA sentences: gnss-share's socket, or the kernel's `/dev/gnssN`. The receiver runs only while one of the two is open; nobody else's use of it is disturbed.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{AccessFlags, access};

use super::gpsd::lines::LineReader;
use super::nmea::NmeaReader;
use super::search::Search;
use super::unix;
use crate::capability::position::{Fix, PositionSource, Turn};
use crate::fault::{Cancel, Fault, Probe, Roots};

/// Bytes read at once: one second of sentences is about 700.
const CHUNK: usize = 1024;
/// Receivers that are looked at: a phone has one.
const MOST_RECEIVERS: usize = 4;

/// gnss-share, which serves the receiver of a Librem 5 to several programs. It powers the receiver while one is connected.
#[derive(Debug)]
pub struct GnssShare {
    socket: PathBuf,
}

impl GnssShare {
    /// A driver for the socket below the runtime folder.
    #[must_use]
    pub fn new(roots: &Roots) -> Self {
        Self {
            socket: roots.run.join("gnss-share.sock"),
        }
    }

    fn open(&self) -> Result<File, Fault> {
        let doing = format!("connecting to {}", self.socket.display());
        match unix::connect(&self.socket) {
            Ok(stream) => Ok(File::from(OwnedFd::from(stream))),
            Err(error) => Err(Fault::from_io(&doing, &error)),
        }
    }
}

impl PositionSource for GnssShare {
    fn name(&self) -> &'static str {
        "gnss-share"
    }

    /// Connecting would power the receiver, so the socket is only looked at.
    fn probe(&self) -> Probe {
        let shown = self.socket.display();
        let found = fs::metadata(&self.socket)
            .map_err(|error| Fault::from_io(&format!("looking for {shown}"), &error))
            .and_then(|metadata| {
                let socket = metadata.file_type().is_socket();
                let may = AccessFlags::R_OK | AccessFlags::W_OK;
                match socket {
                    true => accessible(&self.socket, may),
                    false => Err(Fault::Broken(format!("{shown} is not a socket"))),
                }
            });
        probed(found.map(|()| format!("a socket at {shown}")))
    }

    fn turn(&self) -> Turn {
        Turn::AtOnceForAll
    }

    fn locate(&mut self, deadline: Duration, cancel: &Cancel) -> Result<Fix, Fault> {
        let mut nmea = NmeaReader::new();
        Search::new("gnss-share", deadline).over(cancel, |search| {
            let stream = self.open()?;
            search.reached();
            listen(search, &mut nmea, stream, cancel)
        })
    }
}

/// A receiver that the kernel drives itself.
#[derive(Debug)]
pub struct KernelGnss {
    dev: PathBuf,
    sys: PathBuf,
}

impl KernelGnss {
    /// A driver for the first receiver among the device nodes.
    #[must_use]
    pub fn new(roots: &Roots) -> Self {
        Self {
            dev: roots.dev.clone(),
            sys: roots.sys.clone(),
        }
    }

    /// The device nodes `gnss0`, `gnss1`, …, in this order.
    fn nodes(&self) -> Vec<String> {
        let names = fs::read_dir(&self.dev).into_iter().flatten().flatten();
        let mut nodes: Vec<String> = names
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| {
                name.strip_prefix("gnss").is_some_and(|number| {
                    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
                })
            })
            .collect();
        nodes.sort_by_key(|name| (name.len(), name.clone()));
        nodes.truncate(MOST_RECEIVERS);
        nodes
    }

    /// What the first receiver that this process may use answers to `ask`.
    fn first<T>(&self, ask: impl Fn(&Path, &str) -> Result<T, Fault>) -> Result<T, Fault> {
        let shown = self.dev.display();
        let mut last = Fault::Absent(format!("there is no {shown}/gnss0"));
        for name in self.nodes() {
            match ask(&self.dev.join(&name), &name) {
                Ok(answer) => return Ok(answer),
                Err(fault) => last = fault,
            }
        }
        Err(last)
    }
}

impl PositionSource for KernelGnss {
    fn name(&self) -> &'static str {
        "gnss-device"
    }

    /// Opening would power the receiver, so the node is only looked at.
    fn probe(&self) -> Probe {
        probed(self.first(|path, name| {
            accessible(path, AccessFlags::R_OK)?;
            let kind = fs::read_to_string(self.sys.join(format!("class/gnss/{name}/type")));
            let kind = kind.unwrap_or_default();
            Ok(match kind.trim() {
                "" => path.display().to_string(),
                kind => format!("{} ({kind})", path.display()),
            })
        }))
    }

    /// The kernel hands each byte to one reader alone: beside gnss-share or gpsd both would read torn sentences.
    fn turn(&self) -> Turn {
        Turn::WhereOthersAreAbsent
    }

    /// The kernel wakes a serial receiver while anybody has its node open (drivers/gnss/serial.c).
    fn is_idle(&self) -> bool {
        let nodes = self.nodes();
        let is_asleep = |name: &String| {
            let status = format!("class/gnss/{name}/device/power/runtime_status");
            fs::read_to_string(self.sys.join(status)).is_ok_and(|text| text.trim() == "suspended")
        };
        !nodes.is_empty() && nodes.iter().all(is_asleep)
    }

    fn locate(&mut self, deadline: Duration, cancel: &Cancel) -> Result<Fix, Fault> {
        let mut nmea = NmeaReader::new();
        Search::new("gnss-device", deadline).over(cancel, |search| {
            let device = self.first(|path, _| open(path))?;
            search.reached();
            listen(search, &mut nmea, device, cancel)
        })
    }
}

fn open(path: &Path) -> Result<File, Fault> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(|error| Fault::from_io(&format!("opening {}", path.display()), &error))
}

fn accessible(path: &Path, may: AccessFlags) -> Result<(), Fault> {
    access(path, may).map_err(|errno| {
        let fault = Fault::from_errno(&format!("using {}", path.display()), errno);
        match errno {
            Errno::EACCES => Fault::Denied(format!(
                "the user who asks is not among those who may use {}: add it to the file's group",
                path.display()
            )),
            _ => fault,
        }
    })
}

fn probed(found: Result<String, Fault>) -> Probe {
    match found {
        Ok(detail) => Probe::Ready { detail },
        Err(fault) => Probe::Unsupported {
            reason: fault.to_string(),
        },
    }
}

/// Reads sentences until two readings agree, the stream ends or the time is over.
fn listen(
    search: &mut Search,
    nmea: &mut NmeaReader,
    mut stream: File,
    cancel: &Cancel,
) -> Result<Fix, Fault> {
    let mut lines = LineReader::new();
    let mut chunk = [0; CHUNK];
    loop {
        cancel.wait_readable(stream.as_fd(), search.until())?;
        let length = match stream.read(&mut chunk) {
            Ok(0) => return Err(Fault::Broken("the receiver's stream has ended".into())),
            Ok(length) => length,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                continue;
            }
            Err(error) => return Err(Fault::from_io("reading from the receiver", &error)),
        };
        let mut confirmed = None;
        lines.push(chunk.get(..length).unwrap_or_default(), |line| {
            let reading = nmea.take(line, search.elapsed());
            confirmed = confirmed.or_else(|| search.offer(reading?));
        });
        if let Some(fix) = confirmed {
            return Ok(fix);
        }
    }
}
