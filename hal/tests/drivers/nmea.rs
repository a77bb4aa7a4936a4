//! The two drivers that read sentences themselves, against a gnss-share and a kernel's receiver (a pseudo-terminal) that behave and that do not.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use homing_hal::capability::position::PositionSource;
use homing_hal::conformance::{
    a_position_source_without_a_fix, a_working_position_source, an_absent_position_source,
    eventually,
};
use homing_hal::fault::{Cancel, Fault, Probe, Roots};
use homing_hal::linux::receiver::{GnssShare, KernelGnss};
use nix::pty::openpty;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// A sentence with its checksum and line end.
fn sentence(body: &str) -> String {
    let sum = body.bytes().fold(0, |sum, byte| sum ^ byte);
    format!("${body}*{sum:02X}\r\n")
}

/// One second of a receiver at 52.5 N, 13.4 E, which has a fix.
fn second(second: u32) -> String {
    let rmc = format!("GNRMC,1000{second:02}.00,A,5230.00000,N,01324.00000,E,0.1,,231126,,,A");
    let gga =
        format!("GNGGA,1000{second:02}.00,5230.00000,N,01324.00000,E,1,09,0.9,34.0,M,45.0,M,,");
    sentence(&rmc) + &sentence("GPGSV,1,1,01,02,75,040,42") + &sentence(&gga)
}

fn good(stream: &mut impl Write) {
    let _ = stream.write_all((second(1) + &second(2)).as_bytes());
}

fn roots(folder: &Path) -> Roots {
    Roots {
        run: folder.into(),
        dev: folder.into(),
        sys: folder.into(),
        ..Roots::default()
    }
}

/// A gnss-share that does what a test says with each connection.
struct FakeShare {
    folder: TempDir,
    open: Arc<AtomicUsize>,
    accepted: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FakeShare {
    /// `each` gets the stream and the connection's number, from 0 on; a connection is kept until the client leaves it.
    fn start(each: impl Fn(&mut UnixStream, usize) + Send + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("gnss-share.sock")).unwrap();
        let open = Arc::new(AtomicUsize::new(0));
        let accepted = Arc::new(AtomicUsize::new(0));
        let ends = Arc::new(AtomicBool::new(false));
        let (ending, opened, counted) =
            (Arc::clone(&ends), Arc::clone(&open), Arc::clone(&accepted));
        let thread = thread::spawn(move || {
            for (number, mut stream) in listener.incoming().flatten().enumerate() {
                if ending.load(Ordering::SeqCst) {
                    return;
                }
                opened.fetch_add(1, Ordering::SeqCst);
                counted.fetch_add(1, Ordering::SeqCst);
                each(&mut stream, number);
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let _ = stream.read_to_end(&mut Vec::new());
                opened.fetch_sub(1, Ordering::SeqCst);
            }
        });
        Self {
            folder,
            open,
            accepted,
            ends,
            thread: Some(thread),
        }
    }

    /// The connections accepted so far, this question's own among them: one that a search has left while it still waited to be accepted comes before it in the queue.
    fn connections(&self) -> usize {
        let mut own = UnixStream::connect(self.folder.path().join("gnss-share.sock")).unwrap();
        own.shutdown(std::net::Shutdown::Write).unwrap();
        own.read_to_end(&mut Vec::new()).unwrap();
        self.accepted.load(Ordering::SeqCst)
    }

    fn driver(&self) -> GnssShare {
        GnssShare::new(&roots(self.folder.path()))
    }
}

impl Drop for FakeShare {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        let _ = UnixStream::connect(self.folder.path().join("gnss-share.sock"));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Keeps the connection until the client hangs up.
fn until_hung_up(stream: &mut UnixStream) {
    let _ = stream.read_to_end(&mut Vec::new());
}

/// A receiver of the kernel: the far end of a pseudo-terminal, under the name of the device node.
struct FakeDevice {
    folder: TempDir,
    far: Option<File>,
    _near: File,
}

impl FakeDevice {
    fn new() -> Self {
        let pair = openpty(None, None).unwrap();
        let mut modes = tcgetattr(&pair.slave).unwrap();
        cfmakeraw(&mut modes);
        tcsetattr(&pair.slave, SetArg::TCSANOW, &modes).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let name = std::fs::read_link(format!("/proc/self/fd/{}", pair.slave.as_raw_fd())).unwrap();
        symlink(name, folder.path().join("gnss0")).unwrap();
        Self {
            folder,
            far: Some(File::from(pair.master)),
            _near: File::from(pair.slave),
        }
    }

    fn say(&mut self, text: &[u8]) {
        self.far.as_mut().unwrap().write_all(text).unwrap();
    }

    fn driver(&self) -> KernelGnss {
        KernelGnss::new(&roots(self.folder.path()))
    }
}

#[test]
fn a_gnss_share_conforms_and_is_connected_only_while_somebody_asks() {
    let share = FakeShare::start(|stream, _| {
        good(stream);
        until_hung_up(stream);
    });
    let mut driver = share.driver();
    a_working_position_source(&mut driver, (52.5, 13.4), PATIENCE);
    let before = share.connections();
    eventually("nobody is connected", || {
        share.open.load(Ordering::SeqCst) == 0
    });
    let _ = driver.probe();
    assert_eq!(share.connections(), before + 1, "a probe powers nothing");
    let fix = driver.locate(PATIENCE, &Cancel::new()).unwrap();
    assert_eq!(fix.satellites, Some(9));
    assert_eq!(
        fix.position.accuracy_dm, 135,
        "a dilution of 0.9 times 15 m"
    );
}

#[test]
fn a_gnss_share_without_a_fix_that_hangs_or_babbles_ends_at_the_deadline() {
    let silent = FakeShare::start(|stream, _| until_hung_up(stream));
    a_position_source_without_a_fix(&mut silent.driver());
    let babbling = FakeShare::start(|stream, _| {
        let denied = sentence("GNRMC,100001.00,V,,,,,,,231126,,,N") + "$GNGGA,1\n\u{0}*\n";
        while stream.write_all(denied.as_bytes()).is_ok() {}
    });
    a_position_source_without_a_fix(&mut babbling.driver());
}

#[test]
fn a_gnss_share_that_ends_in_mid_sentence_is_connected_again() {
    let share = FakeShare::start(|stream, number| {
        let whole = second(u32::try_from(number).unwrap() + 1);
        let cut = if number == 1 { 50 } else { whole.len() };
        let _ = stream.write_all(&whole.as_bytes()[..cut]);
    });
    let fix = share.driver().locate(PATIENCE, &Cancel::new()).unwrap();
    assert_eq!(fix.position.latitude_e7, 525_000_000);
}

#[test]
fn an_absent_gnss_share_conforms_whether_its_socket_is_gone_or_left_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut driver = GnssShare::new(&roots(folder.path()));
    an_absent_position_source(&mut driver);
    drop(UnixListener::bind(folder.path().join("gnss-share.sock")).unwrap());
    let ended = driver.locate(Duration::from_secs(90), &Cancel::new());
    assert!(matches!(ended, Err(Fault::Absent(_))), "{ended:?}");
    std::fs::remove_file(folder.path().join("gnss-share.sock")).unwrap();
    std::fs::write(folder.path().join("gnss-share.sock"), "").unwrap();
    assert!(matches!(driver.probe(), Probe::Unsupported { .. }));
}

#[test]
fn a_gnss_share_whose_queue_is_full_does_not_hang_the_search() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gnss-share.sock");
    let listener = UnixListener::bind(&path).unwrap();
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let _first = UnixStream::connect(&path).unwrap();
    let ended =
        GnssShare::new(&roots(folder.path())).locate(Duration::from_millis(700), &Cancel::new());
    assert!(matches!(ended, Err(Fault::TimedOut(_))), "{ended:?}");
}

#[test]
fn a_receiver_of_the_kernel_conforms() {
    let mut device = FakeDevice::new();
    device.say((second(1) + &second(2)).as_bytes());
    let mut driver = device.driver();
    a_working_position_source(&mut driver, (52.5, 13.4), PATIENCE);
    a_position_source_without_a_fix(&mut driver);
    std::fs::create_dir_all(device.folder.path().join("class/gnss/gnss0")).unwrap();
    std::fs::write(device.folder.path().join("class/gnss/gnss0/type"), "NMEA\n").unwrap();
    assert!(driver.probe().to_string().ends_with("gnss0 (NMEA)"));
}

#[test]
fn a_receiver_of_the_kernel_that_is_absent_or_has_gone_is_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    an_absent_position_source(&mut KernelGnss::new(&roots(folder.path())));
    let mut device = FakeDevice::new();
    device.far = None;
    let ended = device
        .driver()
        .locate(Duration::from_secs(3), &Cancel::new());
    assert!(matches!(ended, Err(Fault::Absent(_))), "{ended:?}");
}

#[test]
fn the_simulated_receiver_is_read_through_gnss_share() {
    let phone = crate::phone::Phone::start();
    let nmea = phone.nmea;
    let share = FakeShare::start(move |stream, _| {
        let mut receiver = std::net::TcpStream::connect(("127.0.0.1", nmea)).unwrap();
        let _ = std::io::copy(&mut receiver, stream);
    });
    let fix = share.driver().locate(PATIENCE, &Cancel::new()).unwrap();
    homing_hal::conformance::is_near(&fix, (52.5, 13.4));
}
