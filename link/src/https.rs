//! One question to one web service over HTTPS, for whoever can wait: blocking, with a deadline. It keeps no connection, follows no redirection and knows no proxy.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::clock::{self, VerifierClock};
use crate::tls;

/// The port of HTTPS (IANA).
const HTTPS_PORT: u16 = 443;
/// Longest answer that is read, head included, bytes.
const LONGEST_ANSWER: usize = 64 * 1024;
/// Longest wait for one address to take the connection.
const SLICE: Duration = Duration::from_secs(5);

/// Where a question goes: `https://HOST[:PORT]/PATH`.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpsUrl {
    host: String,
    port: u16,
    path: String,
}

/// A path may hold an access key.
impl fmt::Debug for HttpsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpsUrl({}, redacted)", self.host)
    }
}

impl HttpsUrl {
    /// The service's host.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl FromStr for HttpsUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text
            .strip_prefix("https://")
            .ok_or("the address must begin with https://")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains(['@', '[', ']']) {
            return Err("neither a user nor a numeric IPv6 address can be in it");
        }
        let (host, port) = match authority.split_once(':') {
            None => (authority, HTTPS_PORT),
            Some((host, port)) => (host, port.parse().map_err(|_| "the port must be a number")?),
        };
        if ServerName::try_from(host).is_err() {
            return Err("the host is neither a DNS name nor an IP address");
        }
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("the path must be plain ASCII without spaces");
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            path: if path.is_empty() { "/" } else { path }.to_owned(),
        })
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// Name, connection or TLS failed.
    #[error("{host} cannot be reached: {why}")]
    Unreachable {
        /// The host.
        host: String,
        /// What the system or rustls says.
        why: String,
    },
    /// The service answered with another status than 200.
    #[error("{host} answers with status {status}")]
    Status {
        /// The host.
        host: String,
        /// The HTTP status code.
        status: u16,
    },
    /// What came is no HTTP answer, or is too long, or ends too early.
    #[error("{host} gives no whole answer")]
    Torn {
        /// The host.
        host: String,
    },
    /// The deadline passed.
    #[error("{host} does not answer in time")]
    TimedOut {
        /// The host.
        host: String,
    },
}

/// Posts JSON and returns the body of a successful answer.
///
/// `authorities` are the certificate authorities that are believed, PEM; `now` is the system's clock, which counts only
/// from this program's build time on.
///
/// # Errors
/// [`NoAnswer`].
pub fn post_json(
    url: &HttpsUrl,
    authorities: &str,
    now: fn() -> SystemTime,
    body: &[u8],
    until: Instant,
) -> Result<Vec<u8>, NoAnswer> {
    let unreachable = |why: String| NoAnswer::Unreachable {
        host: url.host.clone(),
        why,
    };
    let config = config(authorities, now).map_err(unreachable)?;
    let name =
        ServerName::try_from(url.host.clone()).map_err(|error| unreachable(error.to_string()))?;
    let session = ClientConnection::new(Arc::new(config), name)
        .map_err(|error| unreachable(error.to_string()))?;
    let socket = Timed {
        socket: connect(url, until)?,
        until,
    };
    let mut stream = StreamOwned::new(session, socket);
    let port = match url.port {
        HTTPS_PORT => String::new(),
        port => format!(":{port}"),
    };
    let head = format!(
        "POST {} HTTP/1.0\r\nHost: {}{port}\r\nContent-Type: application/json\r\nAccept: application/json\r\nUser-Agent: homing\r\nContent-Length: {}\r\n\r\n",
        url.path,
        url.host,
        body.len()
    );
    let mut request = head.into_bytes();
    request.extend_from_slice(body);
    let failed = |error: &io::Error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => NoAnswer::TimedOut {
            host: url.host.clone(),
        },
        _ => unreachable(error.to_string()),
    };
    stream.write_all(&request).map_err(|error| failed(&error))?;
    let answer = read(&mut stream, url)?;
    take_apart(&answer, url)
}

fn config(authorities: &str, now: fn() -> SystemTime) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    let certificates = tls::certificates(authorities)?;
    // A system's list may hold an authority that rustls does not understand.
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err("no certificate authority can be read".into());
    }
    let clock = VerifierClock {
        system: now,
        floor: clock::build_time(),
    };
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_details(provider, Arc::new(clock))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

/// Connects to the first address that takes the connection.
fn connect(url: &HttpsUrl, until: Instant) -> Result<TcpStream, NoAnswer> {
    let unreachable = |why: String| NoAnswer::Unreachable {
        host: url.host.clone(),
        why,
    };
    let addresses = (url.host.as_str(), url.port)
        .to_socket_addrs()
        .map_err(|error| unreachable(error.to_string()))?;
    let mut last = unreachable("its name has no address".into());
    for address in addresses {
        let left = slice(url, until)?;
        match TcpStream::connect_timeout(&address, left) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = unreachable(error.to_string()),
        }
    }
    Err(last)
}

/// The next wait for a connection: never nothing, which a socket takes for ever.
fn slice(url: &HttpsUrl, until: Instant) -> Result<Duration, NoAnswer> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(NoAnswer::TimedOut {
            host: url.host.clone(),
        });
    }
    Ok(left.min(SLICE))
}

/// A socket whose deadline holds for everything that goes over it: TLS reads as often as bytes come, one by one if need be.
struct Timed {
    socket: TcpStream,
    until: Instant,
}

impl Timed {
    /// The time that is left.
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.until.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(ErrorKind::TimedOut.into()),
            false => Ok(Some(left)),
        }
    }
}

impl Read for Timed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(self.left()?)?;
        self.socket.read(into)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.left()?)?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// Reads until the service closes the connection or said all that it announced.
fn read(
    stream: &mut StreamOwned<ClientConnection, Timed>,
    url: &HttpsUrl,
) -> Result<Vec<u8>, NoAnswer> {
    let mut answer = Vec::new();
    let mut chunk = [0; 2048];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(answer),
            Ok(length) => answer.extend_from_slice(chunk.get(..length).unwrap_or_default()),
            // Many servers close without TLS's goodbye; a torn answer shows by its length.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(answer),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // What a socket says depends on the system; its timeout is the deadline.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(NoAnswer::TimedOut {
                    host: url.host.clone(),
                });
            }
            Err(error) => {
                return Err(NoAnswer::Unreachable {
                    host: url.host.clone(),
                    why: error.to_string(),
                });
            }
        }
        if answer.len() > LONGEST_ANSWER {
            return Err(NoAnswer::Torn {
                host: url.host.clone(),
            });
        }
        if is_whole(&answer) {
            return Ok(answer);
        }
    }
}

/// Head and body, where the head has ended.
fn parts(answer: &[u8]) -> Option<(&str, &[u8])> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(answer.get(..end)?).ok()?;
    Some((head, answer.get(end + 4..)?))
}

fn announced(head: &str) -> Option<usize> {
    head.lines().skip(1).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    })
}

fn is_whole(answer: &[u8]) -> bool {
    parts(answer).is_some_and(|(head, body)| announced(head).is_some_and(|all| body.len() >= all))
}

fn take_apart(answer: &[u8], url: &HttpsUrl) -> Result<Vec<u8>, NoAnswer> {
    let torn = || NoAnswer::Torn {
        host: url.host.clone(),
    };
    let (head, body) = parts(answer).ok_or_else(torn)?;
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
    let status: Option<u16> = words.next().and_then(|word| word.parse().ok());
    match status {
        Some(200) if is_http => {}
        Some(status) if is_http => {
            return Err(NoAnswer::Status {
                host: url.host.clone(),
                status,
            });
        }
        _ => return Err(torn()),
    }
    match announced(head) {
        Some(all) => body.get(..all).map(<[u8]>::to_vec).ok_or_else(torn),
        None => Ok(body.to_vec()),
    }
}

#[cfg(test)]
#[path = "https_tests.rs"]
mod tests;
