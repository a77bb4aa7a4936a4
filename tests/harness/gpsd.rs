//! A real gpsd that hears the simulated receiver over TCP. It must not change what either says.

use crate::wait::{PATIENCE, wait_until};
use crate::{Proc, foreign, free_port};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A running gpsd on a free port of 127.0.0.1.
#[derive(Debug)]
pub struct Gpsd {
    process: Proc,
    port: u16,
}

impl Gpsd {
    /// Starts it in the foreground, reading NMEA from a TCP port (`homing-sim --nmea`), with its log in `folder`.
    ///
    /// # Panics
    /// When it does not listen.
    #[track_caller]
    #[must_use]
    pub fn start(folder: &Path, nmea: u16) -> Self {
        let port = free_port();
        let mut command = Command::new(foreign("gpsd"));
        command
            .args(["-N", "-n", "-S", &port.to_string()])
            .arg(format!("tcp://127.0.0.1:{nmea}"))
            .stdin(Stdio::null());
        let mut process = Proc::start("gpsd", folder, &mut command);
        wait_until(PATIENCE, "gpsd to listen", || {
            assert!(
                process.ended().is_none(),
                "gpsd ended at once:\n{}",
                process.log()
            );
            TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), Duration::from_secs(1)).ok()
        });
        Self { process, port }
    }

    /// The port on which it serves clients.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// SIGKILL.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// It stops answering without going away, as a hung driver does.
    pub fn freeze(&self) {
        self.process.signal(nix::sys::signal::Signal::SIGSTOP);
    }

    /// It goes on.
    pub fn thaw(&self) {
        self.process.signal(nix::sys::signal::Signal::SIGCONT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scratch;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    /// GGA and RMC of one epoch with their checksums, as a receiver sends them each second.
    fn epoch(number: u32) -> String {
        let (minute, second) = (number / 60, number % 60);
        let sentences = [
            format!(
                "GPGGA,12{minute:02}{second:02}.00,5230.9762,N,01322.6620,E,1,08,0.9,34.0,M,45.0,M,,"
            ),
            format!(
                "GPRMC,12{minute:02}{second:02}.00,A,5230.9762,N,01322.6620,E,2.5,90.0,221126,,,A"
            ),
        ];
        sentences
            .iter()
            .map(|sentence| {
                let checksum = sentence.bytes().fold(0, |sum, byte| sum ^ byte);
                format!("${sentence}*{checksum:02X}\r\n")
            })
            .collect()
    }

    #[test]
    fn a_real_gpsd_turns_nmea_from_tcp_into_positions() {
        let scratch = Scratch::new();
        let receiver = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let nmea = receiver.local_addr().unwrap().port();
        let feeder = std::thread::spawn(move || {
            let (mut stream, _) = receiver.accept().unwrap();
            // Ends when gpsd goes away, which closes the stream.
            for number in 0..3_600 {
                if stream.write_all(epoch(number).as_bytes()).is_err() {
                    return;
                }
                std::thread::park_timeout(Duration::from_millis(100));
            }
        });
        let gpsd = Gpsd::start(scratch.path(), nmea);
        let mut stream = TcpStream::connect(("127.0.0.1", gpsd.port())).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
            .write_all(b"?WATCH={\"enable\":true,\"json\":true};\n")
            .unwrap();
        let position = BufReader::new(&stream)
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(&line).ok())
            .find(|report| report["class"] == "TPV" && report["lat"].is_f64())
            .unwrap();
        assert!(
            (position["lat"].as_f64().unwrap() - 52.51627).abs() < 1e-4,
            "{position}"
        );
        drop(gpsd);
        feeder.join().unwrap();
    }
}
