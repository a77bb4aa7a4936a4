//! A satellite receiver at a guest's serial port: NMEA 0183, one fix a second, from a thread. It must not be cleverer than a receiver.

use crate::wait::{PATIENCE, wait_until};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A receiver under open sky, at rest; silent once dropped.
#[derive(Debug)]
pub struct SerialReceiver {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl SerialReceiver {
    /// Where it is: degrees, WGS 84.
    pub const LATITUDE_DEG: f64 = 52.516_27;
    /// Degrees east of Greenwich.
    pub const LONGITUDE_DEG: f64 = 13.377_7;

    #[track_caller]
    pub(super) fn plug_in(socket: &Path) -> Self {
        let mut stream = wait_until(PATIENCE, "the guest's serial port", || {
            UnixStream::connect(socket).ok()
        });
        // A guest that does not read must not block a test's end.
        let _ = stream.set_write_timeout(Some(Duration::from_secs(1)));
        let (end, ended) = channel();
        let thread = std::thread::spawn(move || {
            while ended.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                let now = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |since| since.as_secs());
                if let Err(error) = stream.write_all(epoch(now).as_bytes())
                    && error.kind() != std::io::ErrorKind::WouldBlock
                {
                    return;
                }
            }
        });
        Self {
            end: Some(end),
            thread: Some(thread),
        }
    }
}

impl Drop for SerialReceiver {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// RMC, GGA and GSA of one second, with their checksums (NMEA 0183: exclusive or of what lies between `$` and `*`).
fn epoch(unix_s: u64) -> String {
    let (hour, minute, second) = (unix_s / 3600 % 24, unix_s / 60 % 60, unix_s % 60);
    let (year, month, day) = civil(unix_s / 86_400);
    let time = format!("{hour:02}{minute:02}{second:02}.00");
    let place = "5230.9762,N,01322.6620,E";
    [
        format!(
            "GPRMC,{time},A,{place},0.0,0.0,{day:02}{month:02}{:02},,,A",
            year % 100
        ),
        format!("GPGGA,{time},{place},1,08,0.9,34.0,M,45.0,M,,"),
        "GPGSA,A,3,01,02,03,04,05,06,07,08,,,,,1.5,0.9,1.2".to_owned(),
    ]
    .iter()
    .map(|sentence| {
        let checksum = sentence.bytes().fold(0, |sum, byte| sum ^ byte);
        format!("${sentence}*{checksum:02X}\r\n")
    })
    .collect()
}

/// Days since 1970 as year, month, day of the Gregorian calendar.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_written_as_a_receiver_writes_it() {
        // 2024-02-29 12:34:56 UTC.
        let text = epoch(1_709_210_096);
        assert!(
            text.starts_with("$GPRMC,123456.00,A,5230.9762,N,01322.6620,E,0.0,0.0,290224,,,A*"),
            "{text}"
        );
        assert_eq!(text.matches("\r\n").count(), 3);
    }
}
