//! What a server's answer means, and whether it is what was announced. Believes no length before it was counted.

use super::super::{Class, StoreError};
use crate::timestamp::Timestamp;
use std::io::Read;
use std::time::{Duration, Instant};
use ureq::Body;
use ureq::http::header::{CONTENT_LENGTH, CONTENT_RANGE, LAST_MODIFIED};
use ureq::http::{Response, StatusCode};

/// Room made before anything has come, enough for a pack of ours; an announcement alone takes no more memory.
const FIRST_ROOM: u64 = 10 << 20;
/// Bytes read at once.
const PIECE: usize = 64 << 10;

/// How long a body may take.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    /// Without a byte.
    pub(super) silence: Duration,
    /// Bytes in a second, on the whole, at least.
    pub(super) slowest: u64,
}

impl Pace {
    /// Time for so many bytes.
    pub(super) fn time_for(self, bytes: u64) -> Duration {
        self.silence + Duration::from_secs(bytes / self.slowest.max(1))
    }
}

/// Size of the body, as the server announces it.
pub(super) fn length(answer: &Response<Body>) -> Option<u64> {
    let text = answer.headers().get(CONTENT_LENGTH)?.to_str().ok()?;
    text.parse().ok()
}

/// When the server says the file was written (RFC 9110, 8.8.2).
pub(super) fn modified(answer: &Response<Body>) -> Option<Timestamp> {
    http_date(answer.headers().get(LAST_MODIFIED)?.to_str().ok()?)
}

/// Reads the form that all must send: `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7).
fn http_date(text: &str) -> Option<Timestamp> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let mut parts = text.split_once(", ")?.1.split(' ');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    let (time, zone) = (parts.next()?, parts.next()?);
    if month.len() != 3 || zone != "GMT" || parts.next().is_some() {
        return None;
    }
    let month = MONTHS.find(month).filter(|place| place % 3 == 0)? / 3 + 1;
    format!("{year}-{month:02}-{day}T{time}Z").parse().ok()
}

/// Which part of a file was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Its first byte's place.
    pub(super) first: u64,
    /// Its last byte's place.
    pub(super) last: u64,
    /// Bytes in the whole file, if it is told.
    pub(super) total: Option<u64>,
}

/// Reads `Content-Range: bytes 0-9/100`.
pub(super) fn part(answer: &Response<Body>) -> Option<Part> {
    let text = answer.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let part = Part {
        first: first.parse().ok()?,
        last: last.parse().ok()?,
        total: match total {
            "*" => None,
            total => Some(total.parse().ok()?),
        },
    };
    let within = part.last < part.total.unwrap_or(u64::MAX);
    (part.first <= part.last && within).then_some(part)
}

/// Reads the body to its end. One that is shorter than announced, longer than `limit`, or slower than it may be is an error.
pub(super) fn whole(
    (what, address): (&'static str, &str),
    answer: Response<Body>,
    limit: u64,
    pace: Pace,
    into: &mut Vec<u8>,
) -> Result<(), StoreError> {
    let announced = length(&answer);
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large(what, address));
    }
    into.clear();
    let room = announced.unwrap_or(0).min(FIRST_ROOM);
    into.reserve_exact(usize::try_from(room).unwrap_or(0));
    let mut reader = answer.into_body().into_reader();
    let began = Instant::now();
    let mut piece = [0; PIECE];
    loop {
        let count = match reader.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(source) if source.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(source) => {
                return Err(error(what, address, &source.to_string(), Class::Temporary));
            }
        };
        into.extend_from_slice(&piece[..count]);
        let bytes = into.len() as u64;
        if bytes > limit {
            return Err(too_large(what, address));
        }
        if began.elapsed() > pace.time_for(bytes) {
            let slow = "the server sends so slowly that it would never end";
            return Err(error(what, address, slow, Class::Temporary));
        }
    }
    match announced {
        Some(length) if length != into.len() as u64 => Err(wrong_length(what, address)),
        _ => Ok(()),
    }
}

pub(super) fn wrong_length(what: &'static str, address: &str) -> StoreError {
    let reason = "the server sent other bytes, or another number of them, than it announced";
    error(what, address, reason, Class::Temporary)
}

fn too_large(what: &'static str, address: &str) -> StoreError {
    error(what, address, "it is absurdly large", Class::Permanent)
}

/// What an answer means: only those of `wanted` are a success.
pub(super) fn answered(
    what: &'static str,
    address: &str,
    wanted: &[StatusCode],
    answer: Result<Response<Body>, ureq::Error>,
) -> Result<Response<Body>, StoreError> {
    let answer =
        answer.map_err(|failed| error(what, address, &in_words(&failed), class(&failed)))?;
    let status = answer.status();
    if wanted.contains(&status) {
        return Ok(answer);
    }
    let class = meaning(status);
    let reason = match class {
        Class::Full => "there is no room left on the server".into(),
        Class::Denied if status == StatusCode::UNAUTHORIZED => {
            format!(
                "the server answers {status}: it wants a user and a password, or others than these"
            )
        }
        _ => format!("the server answers {status}"),
    };
    Err(error(what, address, &reason, class))
}

/// Why there was no answer at all.
fn in_words(failed: &ureq::Error) -> String {
    match failed {
        ureq::Error::Io(source) => format!("no connection to the server: {source}"),
        ureq::Error::HostNotFound => "no server of that name is known".into(),
        other => other.to_string(),
    }
}

/// What a status says that is no success.
fn meaning(status: StatusCode) -> Class {
    match status.as_u16() {
        404 | 410 => Class::Missing,
        401 | 403 | 405 | 407 | 451 | 511 => Class::Denied,
        // Insufficient storage (RFC 4918, 11.5), and a quota spoken of as a size.
        413 | 507 => Class::Full,
        // 5xx of those who stand before the server (nginx, Cloudflare: 509, 520–530) pass as the server itself comes back.
        408 | 423 | 425 | 429 | 500 | 502..=504 | 509 | 520..=530 => Class::Temporary,
        _ => Class::Permanent,
    }
}

/// A connection that failed may be made another time; what was wrong before any connection stays wrong.
const fn class(failed: &ureq::Error) -> Class {
    match failed {
        ureq::Error::Io(_)
        | ureq::Error::Timeout(_)
        | ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::Protocol(_) => Class::Temporary,
        _ => Class::Permanent,
    }
}

pub(super) fn error(what: &'static str, address: &str, reason: &str, class: Class) -> StoreError {
    StoreError {
        what,
        subject: address.into(),
        reason: reason.into(),
        class,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_date_is_read_in_the_form_that_all_must_send() {
        assert_eq!(
            http_date("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(Timestamp::new(784_111_777, 0))
        );
        for nonsense in [
            "",
            "Sun, 06 Nov 1994",
            "Sun, 06 anF 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun, 36 Nov 1994 08:49:37 GMT x",
        ] {
            assert_eq!(http_date(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_connection_that_was_not_made_may_be_made_later_and_what_was_wrong_before_stays_wrong() {
        let refused = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        for (failed, expected) in [
            // A name that nobody knows: on a phone the network may only be on its way.
            (ureq::Error::HostNotFound, Class::Temporary),
            (ureq::Error::ConnectionFailed, Class::Temporary),
            (ureq::Error::Io(refused()), Class::Temporary),
            (
                ureq::Error::Timeout(ureq::Timeout::Resolve),
                Class::Temporary,
            ),
            (ureq::Error::BadUri("x".into()), Class::Permanent),
            (ureq::Error::Tls("x"), Class::Permanent),
        ] {
            assert_eq!(class(&failed), expected, "{failed}");
        }
        assert_eq!(
            in_words(&ureq::Error::HostNotFound),
            "no server of that name is known"
        );
    }

    #[test]
    fn every_status_has_a_meaning_and_none_but_a_success_is_one() {
        for code in 100..=999_u16 {
            let status = StatusCode::from_u16(code).unwrap();
            let class = meaning(status);
            let expected = match code {
                404 | 410 => Class::Missing,
                413 | 507 => Class::Full,
                401 | 403 | 405 | 407 | 451 | 511 => Class::Denied,
                408 | 423 | 425 | 429 | 500 | 502 | 503 | 504 | 509 => Class::Temporary,
                520..=530 => Class::Temporary,
                _ => Class::Permanent,
            };
            assert_eq!(class, expected, "{code}");
        }
    }
}
