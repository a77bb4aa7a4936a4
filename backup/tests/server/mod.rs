//! A small server for restic's REST protocol that misbehaves when told to. restic itself is its judge; keeps files in memory.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot start its server must stop"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// How the server treats a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Treat {
    /// As it should.
    Well,
    /// With this status and nothing else.
    Status(u16),
    /// It does it, but the connection is reset before the answer.
    DoAndReset,
    /// It answers nothing until the server ends.
    Hang,
    /// The connection is reset in the middle of the body.
    ResetInBody,
    /// It announces more bytes than it sends.
    TooShort,
    /// It sends the body in five pieces.
    Slow,
    /// It sends the body byte by byte, and would go on for hours.
    Trickle,
    /// The same with the head of its answer.
    TrickleHead,
    /// It takes what is sent to it so slowly that it would go on for hours.
    TakeSlowly,
    /// With this head, and the body that belongs to the request.
    Lie(&'static str),
    /// It gives no parts, and says that there are none.
    NoParts,
}

/// Which protocol it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// Listings without sizes, whatever is asked for.
    One,
    /// Listings with sizes.
    Two,
}

struct Inner {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    /// What happens to the requests to come, one after the other; then all goes well.
    plan: Mutex<Vec<Treat>>,
    requests: AtomicU64,
    version: Version,
    login: Option<String>,
    ended: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

/// A running server. Ends when dropped.
pub(crate) struct Server {
    inner: Arc<Inner>,
    address: SocketAddr,
    listener: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(version: Version, login: Option<&str>) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let inner = Arc::new(Inner {
            files: Mutex::default(),
            plan: Mutex::default(),
            requests: AtomicU64::new(0),
            version,
            login: login.map(Into::into),
            ended: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let shared = Arc::clone(&inner);
        let listener = std::thread::spawn(move || {
            for stream in socket.incoming().flatten() {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                shared
                    .open
                    .lock()
                    .unwrap()
                    .push(stream.try_clone().unwrap());
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(&shared, stream));
            }
        });
        Self {
            inner,
            address,
            listener: Some(listener),
        }
    }

    pub(crate) fn address(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// The next requests are treated so; those after them well.
    pub(crate) fn treat(&self, plan: &[Treat]) {
        *self.inner.plan.lock().unwrap() = plan.iter().rev().cloned().collect();
    }

    pub(crate) fn requests(&self) -> u64 {
        self.inner.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.inner.ended.store(true, Ordering::SeqCst);
        for stream in self.inner.open.lock().unwrap().iter() {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

struct Request {
    method: String,
    path: String,
    query: String,
    range: Option<(usize, usize)>,
    v2: bool,
    login: Option<String>,
    body: Vec<u8>,
}

fn serve(inner: &Inner, stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some((request, treat)) = read_request(inner, &mut reader, &stream) {
        if !answer(inner, &stream, &request, &treat) {
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
    }
}

/// A pause; nobody sends on its channel.
fn pause(time: Duration) {
    let (_keep, never) = mpsc::channel::<()>();
    let _ = never.recv_timeout(time);
}

fn read_request(
    inner: &Inner,
    reader: &mut BufReader<TcpStream>,
    stream: &TcpStream,
) -> Option<(Request, Treat)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut parts = line.split(' ');
    let (method, target) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut request = Request {
        method,
        path: path.into(),
        query: query.into(),
        range: None,
        v2: false,
        login: None,
        body: Vec::new(),
    };
    let (mut length, mut chunked) = (0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(": ") else {
            break;
        };
        match &*name.to_lowercase() {
            "content-length" => length = value.parse().unwrap(),
            "transfer-encoding" => chunked = value.contains("chunked"),
            "accept" => request.v2 = value.contains("rest.v2"),
            "authorization" => request.login = Some(value.into()),
            "expect" => {
                let _ = (&*stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            "range" => {
                let (from, to) = value.strip_prefix("bytes=")?.split_once('-')?;
                request.range = Some((from.parse().ok()?, to.parse().unwrap_or(usize::MAX)));
            }
            _ => {}
        }
    }
    inner.requests.fetch_add(1, Ordering::SeqCst);
    let treat = inner.plan.lock().unwrap().pop().unwrap_or(Treat::Well);
    if treat == Treat::TakeSlowly {
        // Until the client has had enough.
        while !inner.ended.load(Ordering::SeqCst) && reader.read_exact(&mut [0; 512]).is_ok() {
            pause(Duration::from_millis(20));
        }
        return None;
    }
    if chunked {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let size = usize::from_str_radix(line.trim(), 16).ok()?;
            let from = request.body.len();
            request.body.resize(from + size, 0);
            reader.read_exact(&mut request.body[from..]).ok()?;
            reader.read_line(&mut String::new()).ok()?;
            if size == 0 {
                break;
            }
        }
    } else {
        request.body.resize(length, 0);
        reader.read_exact(&mut request.body).ok()?;
    }
    Some((request, treat))
}

/// Every file here is of one moment.
const WRITTEN: &str = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

struct Answer {
    status: u16,
    headers: String,
    body: Vec<u8>,
    /// What a HEAD announces without sending it.
    length: usize,
}

fn plain(status: u16) -> Answer {
    Answer {
        status,
        headers: String::new(),
        body: Vec::new(),
        length: 0,
    }
}

/// Does what is asked; `false` when the connection is of no more use.
fn answer(inner: &Inner, mut stream: &TcpStream, request: &Request, treat: &Treat) -> bool {
    let mut answer = match treat {
        Treat::Status(status) => plain(*status),
        Treat::Hang => {
            // The client gives up, or the server is dropped: then a read ends.
            let _ = stream.read(&mut [0]);
            return false;
        }
        Treat::NoParts if request.range.is_some() => plain(416),
        _ if inner.login.is_some() && request.login != inner.login => plain(401),
        _ => act(inner, request),
    };
    if *treat == Treat::DoAndReset {
        return false;
    }
    let sends = answer.body.len();
    if *treat == Treat::TooShort {
        answer.length += 10;
    }
    let head = match treat {
        Treat::Lie(head) => format!("HTTP/1.1 {head}\r\n\r\n"),
        _ => format!(
            "HTTP/1.1 {} x\r\nContent-Length: {}\r\n{}\r\n",
            answer.status, answer.length, answer.headers
        ),
    };
    if *treat == Treat::TrickleHead {
        return trickle(inner, stream, head.as_bytes());
    }
    if stream.write_all(head.as_bytes()).is_err() {
        return false;
    }
    match treat {
        Treat::ResetInBody => {
            let _ = stream.write_all(&answer.body[..sends / 2]);
            false
        }
        Treat::TooShort => {
            let _ = stream.write_all(&answer.body);
            false
        }
        Treat::Slow => answer.body.chunks(sends.div_ceil(5).max(1)).all(|piece| {
            pause(Duration::from_millis(40));
            stream.write_all(piece).is_ok()
        }),
        Treat::Trickle => trickle(inner, stream, &answer.body),
        // What was said of the length may be wrong: the connection is of no more use.
        Treat::Lie(_) => {
            let _ = stream.write_all(&answer.body);
            false
        }
        _ => stream.write_all(&answer.body).is_ok(),
    }
}

/// Sends byte by byte until the client has had enough; the connection is of no use then.
fn trickle(inner: &Inner, mut stream: &TcpStream, bytes: &[u8]) -> bool {
    for byte in bytes {
        if inner.ended.load(Ordering::SeqCst) || stream.write_all(&[*byte]).is_err() {
            break;
        }
        pause(Duration::from_millis(20));
    }
    false
}

fn act(inner: &Inner, request: &Request) -> Answer {
    let mut files = inner.files.lock().unwrap();
    let path = request.path.clone();
    match &*request.method {
        "POST" if request.query == "create=true" => plain(200),
        "POST" => {
            // rest-server refuses to write what is there.
            if files.contains_key(&path) && !path.ends_with("config") {
                return plain(403);
            }
            files.insert(path, request.body.clone());
            plain(200)
        }
        "GET" if path.ends_with('/') => list(inner.version, &files, &path, request.v2),
        "GET" | "HEAD" => match files.get(&path) {
            None => plain(404),
            Some(bytes) => file(bytes, request),
        },
        "DELETE" => plain(files.remove(&path).map_or(404, |_| 200)),
        _ => plain(405),
    }
}

fn file(bytes: &[u8], request: &Request) -> Answer {
    let mut answer = plain(200);
    answer.length = bytes.len();
    answer.headers = WRITTEN.into();
    match request.range {
        _ if request.method == "HEAD" => {}
        None => answer.body = bytes.to_vec(),
        Some((from, _)) if from >= bytes.len() => return plain(416),
        Some((from, to)) => {
            let end = to.saturating_add(1).min(bytes.len());
            answer.status = 206;
            answer.body = bytes[from..end].to_vec();
            answer.length = end - from;
            answer.headers = format!(
                "{WRITTEN}Content-Range: bytes {from}-{}/{}\r\n",
                end - 1,
                bytes.len()
            );
        }
    }
    answer
}

fn list(version: Version, files: &BTreeMap<String, Vec<u8>>, path: &str, v2: bool) -> Answer {
    let sized = v2 && version == Version::Two;
    let names: Vec<String> = files
        .iter()
        .filter_map(|(name, bytes)| Some((name.strip_prefix(path)?, bytes.len())))
        .filter(|(name, _)| !name.contains('/'))
        .map(|(name, size)| match sized {
            true => format!("{{\"name\":\"{name}\",\"size\":{size}}}"),
            false => format!("\"{name}\""),
        })
        .collect();
    let mut answer = plain(200);
    answer.headers = format!(
        "Content-Type: application/vnd.x.restic.rest.v{}\r\n",
        if sized { 2 } else { 1 }
    );
    answer.body = format!("[{}]", names.join(",")).into_bytes();
    answer.length = answer.body.len();
    answer
}
