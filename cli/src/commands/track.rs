//! `track`: the movement history as a table, JSON, GPX or GeoJSON, with what is doubtful marked and what is missing said.
use super::find::{joined, order};
use super::position::{degrees, source};
use super::{Context, catch_up, waiting};
use crate::args::{Track, TrackFormat};
use crate::clock::UnixMs;
use crate::error::Error;
use crate::exchange::{Acceptance, Exchange, Stay};
use crate::file::{self, Access};
use crate::output::{Tone, harmless};
use crate::store::{DeviceRow, Store, StoredReport};
use crate::trackfile;
use homing_owner::phone::Phone;
use homing_owner::track::{Doubt, doubts};
use homing_protocol::command::Op;
use homing_protocol::id::CommandId;
use homing_protocol::measure::Position;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// One position of a history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    /// The number under which the phone reported it.
    pub(crate) number: u64,
    /// What it reported.
    pub(crate) position: Position,
    /// By the receiver's clock, else when it was stored here.
    pub(crate) at: UnixMs,
    /// What cannot be true about it.
    pub(crate) doubt: Option<Doubt>,
}

/// A history: positions by number, and the numbers that are missing between them.
#[derive(Clone, Debug)]
pub(crate) struct History {
    /// The phone's name.
    pub(crate) name: String,
    /// By number.
    pub(crate) points: Vec<Point>,
    /// Ranges, first and last number.
    pub(crate) gaps: Vec<(u64, u64)>,
}

/// `homing track`.
pub(crate) fn run(context: &Context, args: &Track) -> Result<(), Error> {
    let store = Store::open(&context.home)?;
    let row = joined(&store, &args.name)?;
    let store = fetch(context, store, &row, args.wait.0)?;
    let span = i64::try_from(args.since.0.as_millis()).unwrap_or(i64::MAX);
    let history = read(&store, &row, UnixMs(UnixMs::now().0.saturating_sub(span)))?;
    let format = if context.out.is_json() {
        TrackFormat::Json
    } else {
        args.format
    };
    for (first, last) in &history.gaps {
        context.out.warn(&format!(
            "positions {first} to {last} are not here yet; `homing watch` or a later call brings them"
        ));
    }
    let text = match format {
        TrackFormat::Table => table(context, &history),
        TrackFormat::Json => lines(&row, &history)?,
        TrackFormat::Gpx => trackfile::gpx(&history),
        TrackFormat::Geojson => trackfile::geojson(&history)?,
    };
    match &args.output {
        Some(path) => file::replace(path, text.as_bytes(), Access::Private),
        None => context.out.raw(&text),
    }
}

/// Meets the broker until nothing is missing, or `within` has passed.
fn fetch(
    context: &Context,
    mut store: Store,
    row: &DeviceRow,
    within: Duration,
) -> Result<Store, Error> {
    let asked = ask_for_newest(&mut store, row)?;
    waiting(async {
        let mut exchange = Exchange::start(store, Stay::Call, Acceptance::Locked)?;
        exchange
            .until(within, |it| {
                if !it.is_connected() {
                    return Ok(it.trouble().is_some().then_some(()));
                }
                let answered = match asked {
                    Some(id) => it.store.order(id)?.progress.state().is_final(),
                    None => true,
                };
                Ok((answered && !it.misses_positions()?).then_some(()))
            })
            .await?;
        if exchange.is_connected() {
            // What came in is confirmed to the phone before we leave.
            catch_up(&mut exchange, Duration::from_secs(2)).await?;
        } else {
            let why = exchange
                .trouble()
                .unwrap_or("no answer from the broker")
                .to_owned();
            context.out.warn(&format!(
                "not connected ({why}); showing what is known here"
            ));
        }
        exchange.close().await?;
        Ok(exchange.into_unlocked().0)
    })
}

/// Orders what is missing here behind the newest that is known: the newest beacon may be a quarter of an hour old. `None` when such an order is under way.
fn ask_for_newest(store: &mut Store, row: &DeviceRow) -> Result<Option<CommandId>, Error> {
    let asking = store
        .outbox()?
        .iter()
        .any(|order| order.device == row.id && matches!(order.intent.op, Op::ResendReports { .. }));
    match store.missing(row.id, u64::MAX / 2)? {
        Some((first, last)) if !asking => {
            order(store, row, Op::ResendReports { first, last }, None).map(Some)
        }
        _ => Ok(None),
    }
}

/// Stands for the time that has not ended, behind every past one.
const NOW: u32 = u32::MAX;

/// The history from `since` on, but never longer than what may be kept.
fn read(store: &Store, row: &DeviceRow, since: UnixMs) -> Result<History, Error> {
    let since = since.max(store.kept_since(row.id, UnixMs::now())?);
    let account = store.account()?;
    let mut found: BTreeMap<(u32, u64), (Position, UnixMs)> = BTreeMap::new();
    // What it said before its state was set back, or before it was enrolled again, under the keys of that time. A state
    // that was set back says some of it twice.
    let mut said: BTreeMap<u64, Vec<Position>> = BTreeMap::new();
    let mut take = |era, certified: Phone, stored: StoredReport| -> Result<(), Error> {
        let report = certified.hear_report(&stored.bytes, &account.client.reading)?;
        for (number, position) in (report.first..).zip(report.positions) {
            let before = said.entry(number).or_default();
            if !before.contains(&position) {
                before.push(position);
                let at = position.time_unix_ms.map_or(stored.received_at, UnixMs);
                // The first that came under a number stands.
                found.entry((era, number)).or_insert((position, at));
            }
        }
        Ok(())
    };
    for past in store.past_reports_since(row.id, since)? {
        let phone = Phone::certified(&past.certificate, &account.root, &row.address(account.id))?;
        take(past.era, phone, past.report)?;
    }
    if let Some(phone) = row.phone(account.id, &account.root)? {
        for stored in store.reports_since(row.id, since)? {
            take(NOW, phone, stored)?;
        }
    }
    let of_now = found.keys().filter(|(era, _)| *era == NOW);
    let gaps = gaps(of_now.map(|(_, number)| *number));
    let doubts = doubts(found.values().map(|(position, _)| position));
    let points = found
        .into_iter()
        .zip(doubts)
        .map(|(((_, number), (position, at)), doubt)| Point {
            number,
            position,
            at,
            doubt,
        })
        .filter(|point| point.at >= since)
        .collect();
    Ok(History {
        name: row.name.clone(),
        points,
        gaps,
    })
}

fn gaps(numbers: impl Iterator<Item = u64>) -> Vec<(u64, u64)> {
    let mut gaps = Vec::new();
    let mut before: Option<u64> = None;
    for number in numbers {
        if let Some(before) = before
            && number > before + 1
        {
            gaps.push((before + 1, number - 1));
        }
        before = Some(number);
    }
    gaps
}

/// Columns for people: the terminal's own time zone, as everywhere.
fn table(context: &Context, history: &History) -> String {
    let now = UnixMs::now();
    let mut text = format!(
        "{:<19} {:>12} {:>13} {:>9} {:>9}  {:<10}\n",
        "time", "latitude", "longitude", "± m (95%)", "km/h", "source"
    );
    for point in &history.points {
        let position = &point.position;
        let speed = position.speed_cm_s.map_or_else(
            || "-".to_owned(),
            |cm_s| format!("{:.0}", f64::from(cm_s) * 0.036),
        );
        let line = format!(
            "{:<19} {:>12} {:>13} {:>9} {speed:>9}  {:<10}",
            point.at.short(now),
            degrees(position.latitude_e7),
            degrees(position.longitude_e7),
            position.accuracy_dm.div_ceil(10),
            source(position.source),
        );
        text.push_str(line.trim_end());
        if let Some(doubt) = point.doubt {
            text.push_str("  ");
            text.push_str(&context.out.toned(Tone::Warning, doubt.word()));
        }
        text.push('\n');
    }
    let number = match history.points.len() {
        1 => "1 position".to_owned(),
        more => format!("{more} positions"),
    };
    text.push_str(&format!("{}: {number}\n", harmless(&history.name)));
    text
}

/// One object a line, as everywhere with `--json`.
fn lines(row: &DeviceRow, history: &History) -> Result<String, Error> {
    let mut text = String::new();
    for point in &history.points {
        let mut object = properties(point);
        object["device"] = json!(row.id.to_string());
        object["name"] = json!(row.name);
        object["latitude"] = json!(decimal(point.position.latitude_e7));
        object["longitude"] = json!(decimal(point.position.longitude_e7));
        object["altitude_m"] = json!(altitude_m(&point.position));
        text.push_str(&serde_json::to_string(&object)?);
        text.push('\n');
    }
    Ok(text)
}

/// Degrees as the nearest double of their exact decimal form.
pub(crate) fn decimal(e7: i32) -> f64 {
    degrees(e7).parse().unwrap_or(0.0)
}

/// Metres.
pub(crate) fn altitude_m(position: &Position) -> Option<f64> {
    position.altitude_dm.map(|value| f64::from(value) / 10.0)
}

/// What is said of a position besides its place, in the words of `locate --json`.
pub(crate) fn properties(point: &Point) -> Value {
    let position = &point.position;
    json!({
        "number": point.number,
        "time": position.time_unix_ms.map(|time| UnixMs(time).rfc3339()),
        "age_s": position.age_s,
        "accuracy_m": f64::from(position.accuracy_dm) / 10.0,
        "speed_m_s": position.speed_cm_s.map(|value| f64::from(value) / 100.0),
        "course_deg": position.course_cdeg.map(|value| f64::from(value) / 100.0),
        "source": source(position.source),
        "doubt": point.doubt.map(Doubt::word),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_lie_between_numbers_only() {
        assert_eq!(gaps([].into_iter()), []);
        assert_eq!(gaps([5].into_iter()), []);
        assert_eq!(gaps([3, 4, 7, 8, 10].into_iter()), [(5, 6), (9, 9)]);
    }
}
