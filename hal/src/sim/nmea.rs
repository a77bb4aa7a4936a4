//! The simulated receiver as a stream of NMEA 0183 sentences over TCP, so that a real gpsd sees the simulated place. It belongs to the process `homing-sim` alone.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::request::{Capability, How};
use super::serve::Simulator;
use super::world::Statement;

/// One m/s in knots (1 NM = 1,852 m).
const KNOTS: f64 = 3600.0 / 1852.0;
/// The sky over the receiver: satellite number, elevation and azimuth in degrees, spread so that gpsd computes a good geometry.
const SKY: [(u8, u8, u16); 12] = [
    (2, 75, 40),
    (5, 55, 130),
    (7, 48, 220),
    (9, 40, 310),
    (12, 30, 20),
    (13, 28, 90),
    (15, 25, 160),
    (18, 22, 250),
    (20, 18, 290),
    (24, 15, 350),
    (25, 12, 60),
    (29, 10, 200),
];

/// Serves the receiver on 127.0.0.1 from a thread: one stream per connection, again and again, because gpsd reconnects. Returns the port.
///
/// # Errors
/// The system's when the port (0: any free one) cannot be had.
pub fn serve(simulator: &Arc<Simulator>, port: u16) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let port = listener.local_addr()?.port();
    let simulator = Arc::clone(simulator);
    thread::Builder::new().name("nmea".into()).spawn(move || {
        for stream in listener.incoming().flatten() {
            let simulator = Arc::clone(&simulator);
            let feed = move || {
                if let Err(error) = feed(&simulator, stream) {
                    tracing::debug!(%error, "an NMEA connection ended");
                }
            };
            if let Err(error) = thread::Builder::new().spawn(feed) {
                tracing::warn!(%error, "no thread for an NMEA connection");
            }
        }
    })?;
    Ok(port)
}

/// Sends one burst a second, from the moment the receiver was powered (the connection).
fn feed(simulator: &Simulator, mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let on = Instant::now();
    loop {
        let now = Instant::now();
        let (fault, statement) = {
            let world = simulator.world();
            (world.fault(Capability::Position), world.statement(on, now))
        };
        let burst = burst(statement.as_ref(), simulator.unix_ms(simulator.epoch(now)));
        match fault {
            None | Some((How::None, _)) => stream.write_all(burst.as_bytes())?,
            // A receiver on a loose cable: bytes come, and their checksums do not fit.
            Some((How::Broken, _)) => stream.write_all(burst.replace('*', "~*").as_bytes())?,
            Some((How::Slow, late)) => {
                thread::sleep(late);
                stream.write_all(burst.as_bytes())?;
            }
            Some((How::Absent | How::Busy | How::Denied, _)) => return Ok(()),
        }
        thread::sleep(
            simulator
                .until_next_epoch(Instant::now())
                .max(Duration::from_millis(1)),
        );
    }
}

/// One second of sentences: RMC, GGA, GSA and, as gpsd computes its error estimates from the sky, GSV.
#[must_use]
pub fn burst(statement: Option<&Statement>, unix_ms: i64) -> String {
    let (date, time) = date_and_time(unix_ms);
    let mut out = String::with_capacity(700);
    match statement {
        None => {
            sentence(&mut out, &format!("GPRMC,{time},V,,,,,,,{date},,,N"));
            sentence(&mut out, &format!("GPGGA,{time},,,,,0,00,,,M,,M,,"));
            sentence(&mut out, "GPGSA,A,1,,,,,,,,,,,,,,,");
        }
        Some(statement) => {
            let motion = statement.motion;
            let lat = angle(motion.place.latitude_deg, 2, ['N', 'S']);
            let lon = angle(motion.place.longitude_deg, 3, ['E', 'W']);
            let knots = motion.speed_m_s * KNOTS;
            let course = motion.course_deg;
            let used = statement.satellites.min(12);
            let hdop = statement.hdop;
            sentence(
                &mut out,
                &format!("GPRMC,{time},A,{lat},{lon},{knots:.2},{course:.1},{date},,,A"),
            );
            sentence(
                &mut out,
                &format!("GPGGA,{time},{lat},{lon},1,{used:02},{hdop:.1},34.0,M,45.0,M,,"),
            );
            let mut numbers: Vec<String> = SKY
                .iter()
                .take(used.into())
                .map(|(prn, ..)| format!("{prn:02}"))
                .collect();
            numbers.resize(12, String::new());
            // A sphere of errors splits about evenly: the vertical one is half as large again.
            let (vdop, pdop) = (hdop * 1.5, hdop.hypot(hdop * 1.5));
            sentence(
                &mut out,
                &format!(
                    "GPGSA,A,3,{},{pdop:.1},{hdop:.1},{vdop:.1}",
                    numbers.join(",")
                ),
            );
            sky(&mut out, used.into());
        }
    }
    out
}

/// GSV: the satellites in view, four a sentence.
fn sky(out: &mut String, count: usize) {
    let view = SKY.get(..count).unwrap_or(&SKY);
    let groups: Vec<_> = view.chunks(4).collect();
    for (index, group) in groups.iter().enumerate() {
        let mut body = format!("GPGSV,{},{},{count:02}", groups.len(), index + 1);
        for (prn, elevation, azimuth) in *group {
            // Writing to a string cannot fail.
            let _ = write!(body, ",{prn:02},{elevation:02},{azimuth:03},42");
        }
        sentence(out, &body);
    }
}

/// Degrees as NMEA writes them: whole degrees, then minutes to 1e-5 (2 cm), then the hemisphere.
fn angle(degrees: f64, width: usize, [positive, negative]: [char; 2]) -> String {
    let hemisphere = match degrees < 0.0 {
        true => negative,
        false => positive,
    };
    // Rounded before it is split, or 59.999999 minutes would print as 60.
    let hundred_thousandths = (degrees.abs() * 60.0 * 1e5).round();
    let whole = (hundred_thousandths / 6e6).floor();
    let minutes = (hundred_thousandths - whole * 6e6) / 1e5;
    format!("{whole:0width$.0}{minutes:08.5},{hemisphere}")
}

/// `ddmmyy` and `hhmmss.ss` of an instant in UTC.
fn date_and_time(unix_ms: i64) -> (String, String) {
    let seconds = unix_ms.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // The inverse of gpsd::time's calendar: years begin in March, 146,097 days are 400 of them.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let hundredths = unix_ms.rem_euclid(1000) / 10;
    (
        format!("{day:02}{month:02}{:02}", year.rem_euclid(100)),
        format!(
            "{:02}{:02}{:02}.{hundredths:02}",
            second / 3600,
            second / 60 % 60,
            second % 60
        ),
    )
}

/// Appends a sentence with its checksum: the exclusive or of what lies between `$` and `*`.
fn sentence(out: &mut String, body: &str) {
    let sum = body.bytes().fold(0, |sum, byte| sum ^ byte);
    // Writing to a string cannot fail.
    let _ = write!(out, "${body}*{sum:02X}\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_and_angles_are_those_of_the_standard() {
        let mut out = String::new();
        // The example that receivers' manuals share.
        sentence(
            &mut out,
            "GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,",
        );
        assert!(out.ends_with("*47\r\n"), "{out}");
        assert_eq!(angle(48.1173, 2, ['N', 'S']), "4807.03800,N");
        assert_eq!(angle(-0.5, 3, ['E', 'W']), "00030.00000,W");
        assert_eq!(angle(9.999_999_999, 2, ['N', 'S']), "1000.00000,N");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(
            date_and_time(951_825_600_500),
            ("290200".into(), "120000.50".into())
        );
        assert_eq!(date_and_time(0), ("010170".into(), "000000.00".into()));
    }

    #[test]
    fn without_a_fix_every_sentence_says_so() {
        let text = burst(None, 0);
        assert!(text.contains(",V,") && text.contains(",0,00,") && text.contains("GSA,A,1,"));
    }
}
