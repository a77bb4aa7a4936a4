//! The position from gpsd over TCP or a Unix socket. It watches only while somebody asks for the position, because gpsd powers the receiver as long as a client watches.

pub mod lines;
mod listener;
pub mod message;
pub mod time;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use super::search::Search;
use crate::capability::position::{Fix, PositionSource, Turn};
use crate::fault::{Cancel, Fault, Probe};
use lines::LineReader;
use message::{Message, SkyView, parse, reading};

/// Where gpsd listens when nobody says otherwise (its IANA port).
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:2947";
/// How long a probe or a single connection attempt may take; gpsd is local.
const GREETING_TIME: Duration = Duration::from_secs(2);
/// Bytes read at once. gpsd's lines are about 1 KiB.
const CHUNK: usize = 2048;

const WATCH: &[u8] = b"?WATCH={\"enable\":true,\"json\":true};\n";
const UNWATCH: &[u8] = b"?WATCH={\"enable\":false};\n";

/// Where a gpsd is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GpsdAddress {
    /// A TCP address; names are not resolved, because that may block for longer than any deadline.
    Tcp(SocketAddr),
    /// A Unix socket, such as `/run/gpsd.sock`.
    Unix(PathBuf),
}

impl FromStr for GpsdAddress {
    type Err = String;

    /// Reads `HOST:PORT` with a numeric host (or `localhost`), or an absolute path.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        text.replacen("localhost:", "127.0.0.1:", 1)
            .parse()
            .map(Self::Tcp)
            .map_err(|_| format!("gpsd's address `{text}` is neither NUMBER.OF.THE.HOST:PORT nor an absolute path"))
    }
}

impl std::fmt::Display for GpsdAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The driver.
#[derive(Debug)]
pub struct Gpsd {
    address: GpsdAddress,
}

impl Gpsd {
    /// A driver for the gpsd at this address; nothing is opened yet.
    #[must_use]
    pub fn new(address: GpsdAddress) -> Self {
        Self { address }
    }

    fn greeting(&self) -> Result<String, Fault> {
        let until = Instant::now() + GREETING_TIME;
        let mut session = Session::connect(&self.address)?;
        let mut release = None;
        while release.is_none() {
            session.next_lines(until, &Cancel::new(), |line| {
                if let Message::Version(found) = parse(line) {
                    release.get_or_insert(found);
                }
            })?;
        }
        release.ok_or_else(|| Fault::Broken("gpsd did not greet".into()))
    }
}

impl PositionSource for Gpsd {
    fn name(&self) -> &'static str {
        "gpsd"
    }

    fn probe(&self) -> Probe {
        match self.greeting() {
            Ok(release) => Probe::Ready {
                detail: format!("gpsd {release} at {}", self.address),
            },
            Err(fault) => Probe::Unsupported {
                reason: format!("gpsd at {}: {fault}", self.address),
            },
        }
    }

    fn turn(&self) -> Turn {
        Turn::AtOnceForAll
    }

    fn locate(&mut self, deadline: Duration, cancel: &Cancel) -> Result<Fix, Fault> {
        let mut sky = SkyView::default();
        Search::new("gpsd", deadline).over(cancel, |search| {
            watch(search, &mut sky, &self.address, cancel)
        })
    }
}

/// Watches over one connection until the position is confirmed, the connection ends or the deadline passes.
fn watch(
    search: &mut Search,
    sky: &mut SkyView,
    address: &GpsdAddress,
    cancel: &Cancel,
) -> Result<Fix, Fault> {
    let mut session = Session::connect(address)?;
    search.reached();
    session.send(WATCH)?;
    let mut confirmed = None;
    let ended = loop {
        let fed = session.next_lines(search.until(), cancel, |line| {
            if let (None, Some(fix)) = (confirmed, take(search, sky, line)) {
                confirmed = Some(fix);
            }
        });
        match (confirmed, fed) {
            (Some(fix), _) => break Ok(fix),
            (None, Err(fault)) => break Err(fault),
            (None, Ok(())) => {}
        }
    };
    // Closing would do too; saying so first lets gpsd stop the receiver without waiting for the reset.
    if let Err(fault) = session.send(UNWATCH) {
        tracing::debug!(%fault, "gpsd: ending the watch");
    }
    ended
}

fn take(search: &mut Search, sky: &mut SkyView, line: &[u8]) -> Option<Fix> {
    match parse(line) {
        Message::Sky(seen) => {
            *sky = SkyView {
                // gpsd splits the sky over several lines; a line without a part does not unsay it.
                hdop: seen.hdop.or(sky.hdop),
                satellites: seen.satellites.or(sky.satellites),
            };
            None
        }
        Message::Place(tpv) => search.offer(reading(&tpv, *sky, search.elapsed())?),
        Message::NoFix | Message::Version(_) | Message::Ignored => None,
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One connection.
struct Session {
    stream: Stream,
    lines: LineReader,
}

impl Session {
    fn connect(address: &GpsdAddress) -> Result<Self, Fault> {
        let stream = match address {
            GpsdAddress::Tcp(address) => TcpStream::connect_timeout(address, GREETING_TIME)
                .and_then(|stream| {
                    stream.set_nonblocking(true)?;
                    Ok(Stream::Tcp(stream))
                }),
            GpsdAddress::Unix(path) => UnixStream::connect(path).and_then(|stream| {
                stream.set_nonblocking(true)?;
                Ok(Stream::Unix(stream))
            }),
        };
        if let (GpsdAddress::Tcp(address), Ok(_)) = (address, &stream)
            && let Some(objection) = listener::objection(*address)
        {
            return Err(Fault::Denied(objection));
        }
        match stream {
            Ok(stream) => Ok(Self {
                stream,
                lines: LineReader::new(),
            }),
            Err(error) => Err(Fault::from_io(
                &format!("connecting to gpsd at {address}"),
                &error,
            )),
        }
    }

    /// Waits for bytes, reads once and hands the completed lines to `each`.
    fn next_lines(
        &mut self,
        until: Instant,
        cancel: &Cancel,
        each: impl FnMut(&[u8]),
    ) -> Result<(), Fault> {
        cancel.wait_readable(self.stream.as_fd(), until)?;
        let mut chunk = [0; CHUNK];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(Fault::Broken("gpsd closed the connection".into())),
            Ok(length) => {
                self.lines
                    .push(chunk.get(..length).unwrap_or_default(), each);
                Ok(())
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                Ok(())
            }
            Err(error) => Err(Fault::from_io("reading from gpsd", &error)),
        }
    }

    /// Sends a request of a few bytes, which an empty socket buffer always takes whole.
    fn send(&mut self, request: &[u8]) -> Result<(), Fault> {
        self.stream
            .write_all(request)
            .map_err(|error| Fault::from_io("writing to gpsd", &error))
    }
}

impl Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Unix(stream) => stream.write_all(bytes),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}
