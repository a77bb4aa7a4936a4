//! A server for restic's REST protocol that keeps files in a folder and counts what comes and goes. For benchmarks only: it believes everybody.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;

/// What went over the wire since the last look.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    /// Requests.
    pub(crate) requests: u64,
    /// Bytes of bodies that clients sent.
    pub(crate) sent: u64,
    /// Bytes of bodies that clients got.
    pub(crate) received: u64,
}

#[derive(Debug, Default)]
struct Counted {
    requests: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

/// A running server; its threads end with the process.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    counted: Arc<Counted>,
}

impl Server {
    /// Serves a folder, which must be there, on a free port of this machine.
    ///
    /// # Errors
    /// No port.
    pub(crate) fn start(root: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Start {
            what: "a server",
            source,
        };
        let socket = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let counted = Arc::new(Counted::default());
        let (shared, root) = (Arc::clone(&counted), root.to_path_buf());
        std::thread::spawn(move || {
            for stream in socket.incoming().flatten() {
                let (counted, root) = (Arc::clone(&shared), root.clone());
                // A connection that breaks is the client's to notice.
                std::thread::spawn(move || while_it_lasts(&stream, &root, &counted));
            }
        });
        Ok(Self { address, counted })
    }

    /// The address as the clients write it.
    pub(crate) fn address(&self) -> String {
        format!("rest:http://{}/", self.address)
    }

    /// What was counted since the last call.
    pub(crate) fn traffic(&self) -> Traffic {
        let take = |number: &AtomicU64| number.swap(0, Ordering::SeqCst);
        Traffic {
            requests: take(&self.counted.requests),
            sent: take(&self.counted.sent),
            received: take(&self.counted.received),
        }
    }
}

struct Request {
    method: String,
    path: PathBuf,
    is_list: bool,
    makes: bool,
    range: Option<(u64, u64)>,
    body: Vec<u8>,
}

fn while_it_lasts(stream: &TcpStream, root: &Path, counted: &Counted) -> Option<()> {
    let mut reader = BufReader::with_capacity(1 << 16, stream.try_clone().ok()?);
    loop {
        let request = read(&mut reader, stream, root)?;
        counted.requests.fetch_add(1, Ordering::SeqCst);
        counted
            .sent
            .fetch_add(request.body.len() as u64, Ordering::SeqCst);
        let received = answer(stream, &request)?;
        counted.received.fetch_add(received, Ordering::SeqCst);
    }
}

fn read(reader: &mut BufReader<TcpStream>, mut stream: &TcpStream, root: &Path) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request {
        method,
        path: place(root, path),
        is_list: path.ends_with('/'),
        makes: query == "create=true",
        range: None,
        body: Vec::new(),
    };
    let (mut length, mut chunked) = (0, false);
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(": ") else {
            break;
        };
        match &*name.to_lowercase() {
            "content-length" => length = value.parse().ok()?,
            "transfer-encoding" => chunked = value.contains("chunked"),
            "expect" => stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?,
            "range" => {
                let (from, to) = value.strip_prefix("bytes=")?.split_once('-')?;
                request.range = Some((from.parse().ok()?, to.parse().unwrap_or(u64::MAX - 1)));
            }
            _ => {}
        }
    }
    match chunked {
        true => read_chunks(reader, &mut request.body)?,
        false => {
            request.body.resize(length, 0);
            reader.read_exact(&mut request.body).ok()?;
        }
    }
    Some(request)
}

fn read_chunks(reader: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> Option<()> {
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let size = usize::from_str_radix(line.trim(), 16).ok()?;
        let from = body.len();
        body.resize(from + size, 0);
        reader.read_exact(&mut body[from..]).ok()?;
        reader.read_line(&mut line).ok()?;
        if size == 0 {
            return Some(());
        }
    }
}

/// `/data/ID` lies in a folder of its first byte, as in a local repository, so that one folder never gets too long.
fn place(root: &Path, path: &str) -> PathBuf {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != "..")
        .collect();
    match parts[..] {
        ["data", id] if id.is_ascii() && id.len() > 2 => root.join("data").join(&id[..2]).join(id),
        _ => root.join(parts.join("/")),
    }
}

/// Answers; returns how many bytes the client got.
fn answer(mut stream: &TcpStream, request: &Request) -> Option<u64> {
    let path = &request.path;
    let (status, body, head) = match &*request.method {
        "POST" if request.makes => (200, Vec::new(), String::new()),
        "POST" => (store(path, &request.body), Vec::new(), String::new()),
        "GET" if request.is_list => {
            let kind = "Content-Type: application/vnd.x.restic.rest.v2\r\n";
            (200, list(path), kind.to_owned())
        }
        "HEAD" | "GET" => match fetch(path, request) {
            Some(found) => found,
            None => (404, Vec::new(), String::new()),
        },
        "DELETE" => {
            let gone = std::fs::remove_file(path).is_ok();
            (if gone { 200 } else { 404 }, Vec::new(), String::new())
        }
        _ => (405, Vec::new(), String::new()),
    };
    let length = match request.method == "HEAD" && status == 200 {
        true => String::new(),
        false => format!("Content-Length: {}\r\n", body.len()),
    };
    let head = format!("HTTP/1.1 {status} x\r\n{length}{head}\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&body).ok()?;
    Some(body.len() as u64)
}

fn store(path: &Path, body: &[u8]) -> u16 {
    let made = path
        .parent()
        .is_some_and(|folder| std::fs::create_dir_all(folder).is_ok());
    match made && std::fs::write(path, body).is_ok() {
        true => 200,
        false => 507,
    }
}

fn fetch(path: &Path, request: &Request) -> Option<(u16, Vec<u8>, String)> {
    let mut file = File::open(path).ok()?;
    let size = file
        .metadata()
        .ok()
        .filter(std::fs::Metadata::is_file)?
        .len();
    let dated = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    if request.method == "HEAD" {
        return Some((
            200,
            Vec::new(),
            format!("Content-Length: {size}\r\n{dated}"),
        ));
    }
    let (from, to) = request.range.unwrap_or((0, u64::MAX - 1));
    let end = size.min(to + 1);
    let mut body = Vec::new();
    file.seek(SeekFrom::Start(from)).ok()?;
    file.take(end.saturating_sub(from))
        .read_to_end(&mut body)
        .ok()?;
    Some(match request.range {
        None => (200, body, dated.to_owned()),
        Some(_) if from >= size => (416, Vec::new(), String::new()),
        Some(_) => {
            let last = end - 1;
            (
                206,
                body,
                format!("Content-Range: bytes {from}-{last}/{size}\r\n{dated}"),
            )
        }
    })
}

fn list(folder: &Path) -> Vec<u8> {
    let mut text = String::from("[");
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(data) = entry.metadata() else { continue };
            if data.is_dir() {
                open.push(entry.path());
                continue;
            }
            let comma = if text.len() > 1 { "," } else { "" };
            let name = entry.file_name();
            let name = name.to_string_lossy();
            text.push_str(&format!(
                "{comma}{{\"name\":\"{name}\",\"size\":{}}}",
                data.len()
            ));
        }
    }
    text.push(']');
    text.into_bytes()
}
