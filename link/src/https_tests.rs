//! Questions over HTTPS to a server of the test's own that answers as it is told; no other host is asked.

use std::net::{Ipv4Addr, TcpListener};
use std::thread::{self, JoinHandle};

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection};

use super::*;

const LONG: Duration = Duration::from_secs(20);

/// A server with a certificate of its own for `localhost`, which does this with one connection.
struct Server {
    port: u16,
    authority: String,
    thread: Option<JoinHandle<Vec<u8>>>,
}

impl Server {
    fn start(answer: &'static [u8], hangs: bool) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let secret = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], secret)
            .unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = thread::spawn(move || {
            let Ok((socket, _)) = listener.accept() else {
                return Vec::new();
            };
            let session = ServerConnection::new(Arc::new(config)).unwrap();
            let mut stream = StreamOwned::new(session, socket);
            let mut heard = vec![0; 4096];
            let mut length = 0;
            while !heard[..length].ends_with(b"{}") {
                match stream.read(&mut heard[length..]) {
                    Ok(more) if more > 0 => length += more,
                    _ => break,
                }
            }
            heard.truncate(length);
            let _ = stream.write_all(answer);
            let _ = stream.flush();
            if hangs {
                let _ = stream.read(&mut [0]);
            }
            heard
        });
        Self {
            port,
            authority: certificate.pem(),
            thread: Some(thread),
        }
    }

    fn ask(&self, lasting: Duration) -> Result<Vec<u8>, NoAnswer> {
        let url = format!("https://localhost:{}/v1/geolocate?key=secret", self.port);
        let until = Instant::now() + lasting;
        let now = clock::build_time;
        post_json(&url.parse().unwrap(), &self.authority, now, b"{}", until)
    }

    fn heard(&mut self) -> String {
        String::from_utf8(self.thread.take().unwrap().join().unwrap()).unwrap()
    }
}

#[test]
fn a_question_is_posted_and_its_answer_read_by_its_length_or_to_the_end() {
    for answer in [
        b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 7\r\n\r\n{\"a\":1}and more".as_slice(),
        b"HTTP/1.0 200 OK\r\n\r\n{\"a\":1}",
    ] {
        let mut server = Server::start(answer, false);
        assert_eq!(server.ask(LONG).unwrap(), b"{\"a\":1}");
        let heard = server.heard();
        let head = "POST /v1/geolocate?key=secret HTTP/1.0\r\nHost: localhost:";
        let head = format!("{head}{}\r\n", server.port);
        assert!(heard.starts_with(&head), "{heard}");
        assert!(heard.contains("Content-Length: 2\r\n") && heard.ends_with("\r\n\r\n{}"));
    }
}

#[test]
fn an_answer_that_is_none_torn_or_no_success_is_told_apart() {
    let ask = |answer| Server::start(answer, false).ask(LONG).unwrap_err();
    let host = || "localhost".to_owned();
    assert_eq!(
        ask(b"HTTP/1.1 404 Not Found\r\n\r\n{}"),
        NoAnswer::Status {
            host: host(),
            status: 404
        }
    );
    for torn in [
        b"".as_slice(),
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
        b"ICY 200 OK\r\n\r\n{}",
        b"\xff\xff\r\n\r\n",
    ] {
        assert_eq!(ask(torn), NoAnswer::Torn { host: host() });
    }
}

#[test]
fn a_server_that_hangs_is_left_at_the_deadline() {
    let server = Server::start(b"HTTP/1.1 200 OK\r\n", true);
    let began = Instant::now();
    let ended = server.ask(Duration::from_millis(700));
    assert!(matches!(ended, Err(NoAnswer::TimedOut { .. })), "{ended:?}");
    assert!(began.elapsed() < LONG);
}

#[test]
fn a_server_that_drips_byte_after_byte_is_left_at_the_deadline() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let pace = Duration::from_millis(20);
        socket.set_read_timeout(Some(pace)).unwrap();
        // A handshake record of 16 KiB begins and takes minutes.
        let mut record = [0x16, 3, 3, 0x40, 0, 2, 0, 0x3f, 0xfc].into_iter();
        while socket.write_all(&[record.next().unwrap_or(0)]).is_ok() {
            match socket.read(&mut [0; 1024]) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    });
    let url = format!("https://localhost:{port}/").parse().unwrap();
    let authority = Server::start(b"", false);
    let began = Instant::now();
    let until = began + Duration::from_millis(700);
    let ended = post_json(&url, &authority.authority, clock::build_time, b"{}", until);
    assert!(matches!(ended, Err(NoAnswer::TimedOut { .. })), "{ended:?}");
    assert!(began.elapsed() < LONG);
    server.join().unwrap();
    let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, authority.port));
}

#[test]
fn a_server_whose_certificate_nobody_vouches_for_is_not_asked() {
    let server = Server::start(b"", false);
    let stranger = Server::start(b"", false);
    let url = format!("https://localhost:{}/", server.port)
        .parse()
        .unwrap();
    let until = Instant::now() + LONG;
    let refused = post_json(&url, &stranger.authority, clock::build_time, b"{}", until);
    assert!(
        matches!(refused, Err(NoAnswer::Unreachable { .. })),
        "{refused:?}"
    );
    let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, stranger.port));
}

#[test]
fn an_address_is_read_or_refused_with_a_reason_and_its_path_is_not_shown() {
    let url: HttpsUrl = "https://example.org/v1/geolocate?key=abc".parse().unwrap();
    assert_eq!(
        (url.host(), url.port, url.path.as_str()),
        ("example.org", 443, "/v1/geolocate?key=abc")
    );
    assert!(!format!("{url:?}").contains("abc"));
    let bare: HttpsUrl = "https://10.0.0.1:8443".parse().unwrap();
    assert_eq!((bare.port, bare.path.as_str()), (8443, "/"));
    for wrong in [
        "http://example.org/",
        "example.org",
        "https://",
        "https://a b/",
        "https://user@example.org/",
        "https://example.org:port/",
        "https://example.org/a\r\nHost: b",
    ] {
        assert!(wrong.parse::<HttpsUrl>().is_err(), "{wrong}");
    }
}
