//! The owner's clock and how its times are written. The only place that reads the system clock.
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// How far the clock is off, seconds: tests play an owner whose clock is wrong.
static OFFSET_S: AtomicI64 = AtomicI64::new(0);

/// From now on this process believes that it is so many seconds later (earlier, when negative).
pub(crate) fn simulate_offset(seconds: i64) {
    OFFSET_S.store(seconds, Ordering::Relaxed);
}

/// Where a test writes how far the clock is off, while this process runs.
static OFFSET_FROM: OnceLock<PathBuf> = OnceLock::new();

/// From now on this process believes what this file says, seconds as text; what cannot be read is no offset.
pub(crate) fn simulate_offset_from(file: PathBuf) {
    // Said once, by the command line.
    let _ = OFFSET_FROM.set(file);
}

/// The system clock, also for the check of the broker's certificate; never before 1970.
pub(crate) fn system() -> SystemTime {
    let told = OFFSET_FROM.get().map(std::fs::read_to_string);
    let told = told.map(|text| {
        text.ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0)
    });
    let offset = told.unwrap_or_else(|| OFFSET_S.load(Ordering::Relaxed));
    let distance = Duration::from_secs(offset.unsigned_abs());
    let now = if offset < 0 {
        SystemTime::now().checked_sub(distance)
    } else {
        SystemTime::now().checked_add(distance)
    };
    now.unwrap_or(UNIX_EPOCH).max(UNIX_EPOCH)
}

/// Milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UnixMs(pub(crate) i64);

impl UnixMs {
    /// Now, by this machine's clock.
    pub(crate) fn now() -> Self {
        let since = system().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// RFC 3339 in UTC with seconds, for `--json`; times outside years 0–9999 print as the number.
    pub(crate) fn rfc3339(self) -> String {
        at(self)
            .and_then(|time| time.replace_nanosecond(0).ok())
            .and_then(|time| time.format(&Rfc3339).ok())
            .unwrap_or_else(|| self.0.to_string())
    }

    /// Date and time in the zone the terminal's user lives in, `YYYY-MM-DD HH:MM`.
    pub(crate) fn dated(self) -> String {
        at(self).map(local).map_or_else(
            || self.0.to_string(),
            |time| format!("{} {:02}:{:02}", time.date(), time.hour(), time.minute()),
        )
    }

    /// The clock time in the zone the terminal's user lives in, `HH:MM:SS`, with the date when it is not today.
    pub(crate) fn short(self, now: Self) -> String {
        let (Some(time), Some(today)) = (at(self).map(local), at(now).map(local)) else {
            return self.0.to_string();
        };
        let clock = format!(
            "{:02}:{:02}:{:02}",
            time.hour(),
            time.minute(),
            time.second()
        );
        if time.date() == today.date() {
            clock
        } else {
            format!("{} {clock}", time.date())
        }
    }
}

fn at(time: UnixMs) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(time.0) * 1_000_000).ok()
}

static OFFSET: OnceLock<UtcOffset> = OnceLock::new();

/// Reads the terminal's time zone; call it once, while the process has a single thread (libc's zone data is not safe to read beside another thread that writes the environment).
pub(crate) fn read_zone() {
    let _ = OFFSET.set(UtcOffset::current_local_offset().unwrap_or(UtcOffset::UTC));
}

/// The offset of that moment: summer's times are summer's also in winter. Beside other threads (a name look-up) `time` does not ask libc, and the offset of the start has to do.
fn local(time: OffsetDateTime) -> OffsetDateTime {
    let offset = UtcOffset::local_offset_at(time).ok();
    let offset = offset.or(OFFSET.get().copied()).unwrap_or(UtcOffset::UTC);
    // The last hours of the year 9999 are in the next one elsewhere, where no calendar of ours goes.
    time.checked_to_offset(offset).unwrap_or(time)
}
