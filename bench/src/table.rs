//! The table in bench/README.md, made from bench/results/*.json with the design's targets beside the figures. It must not hold a figure of its own.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::error::{Error, unreadable};
use crate::record;

const README: &str = "bench/README.md";
const BEGIN: &str = "<!-- begin: written by `cargo xtask bench` -->";
const END: &str = "<!-- end -->";

/// One line of the table.
struct Row {
    bench: &'static str,
    /// What a reader calls it.
    label: Cow<'static, str>,
    /// Its name in the results.
    figure: Cow<'static, str>,
    /// What the design asks for.
    target: Option<Target>,
}

/// A target of the design.
struct Target {
    words: &'static str,
    /// The figure must not be above this, in its own unit.
    limit: f64,
    /// Which of its values: `median`, `p99` or `max`.
    of: &'static str,
    /// What stands in the way when it is not reached.
    why: &'static str,
}

const fn row(bench: &'static str, label: &'static str, figure: &'static str) -> Row {
    Row {
        bench,
        label: Cow::Borrowed(label),
        figure: Cow::Borrowed(figure),
        target: None,
    }
}

impl Row {
    const fn reach(
        mut self,
        words: &'static str,
        of: &'static str,
        limit: f64,
        why: &'static str,
    ) -> Self {
        self.target = Some(Target {
            words,
            limit,
            of,
            why,
        });
        self
    }
}

/// A megabyte of the design in MiB.
const MB: f64 = 1_000_000.0 / 1_048_576.0;

#[rustfmt::skip]
fn rows() -> Vec<Row> {
    vec![
        row("agent", "homingd agent, idle and connected: resident memory (RSS)", "homingd.rss")
            .reach("≤ 4 MB", "max", 4.0 * MB, "see “Memory” below"),
        row("agent", "— its share (PSS)", "homingd.pss"),
        row("agent", "— of this not backed by a file (anonymous)", "homingd.anonymous"),
        row("agent", "— threads", "homingd.threads"),
        row("agent", "bare link (rumqttc, rustls, tokio alone): RSS", "bare_link.rss"),
        row("agent", "— anonymous", "bare_link.anonymous"),
        row("agent", "mosquitto_sub (C, OpenSSL): RSS", "mosquitto_sub.rss"),
        row("agent", "— PSS", "mosquitto_sub.pss"),
        row("agent", "— anonymous", "mosquitto_sub.anonymous"),
        row("agent", "homingd: binary", "homingd.binary")
            .reach("≤ 6 MB, backup included (not built yet)", "max", 6.0 * MB, ""),
        row("agent", "homing: binary", "homing.binary"),
        row("agent", "homingd, an idle hour beyond keep-alive: bytes", "homingd.hour.beacons.bytes")
            .reach("≤ 4 KB", "max", 4_000.0, "see “Idle” below"),
        row("agent", "— wake-ups: what a bare link has not, at least those of the beacons", "homingd.hour.own.wakes")
            .reach("≤ 10", "max", 10.0, "see “Idle” below"),
        row("agent", "— sleeps (voluntary context switches, waits for the disk included)", "homingd.hour.beacons.switches"),
        row("agent", "homingd, an idle hour, everything: bytes", "homingd.hour.all.bytes"),
        row("agent", "— wake-ups", "homingd.hour.all.wakes"),
        row("agent", "— sleeps", "homingd.hour.all.switches"),
        row("agent", "— processor time", "homingd.hour.all.processor"),
        row("agent", "bare link, an idle hour: bytes", "bare_link.hour.all.bytes"),
        row("agent", "— wake-ups", "bare_link.hour.all.wakes"),
        row("agent", "— sleeps", "bare_link.hour.all.switches"),
        row("agent", "— processor time", "bare_link.hour.all.processor"),
        row("agent", "mosquitto_sub, an idle hour: bytes", "mosquitto_sub.hour.all.bytes"),
        row("agent", "— sleeps", "mosquitto_sub.hour.all.switches"),
        row("agent", "— processor time", "mosquitto_sub.hour.all.processor"),
        row("command", "bare echo: there and back", "near.status.echo"),
        row("command", "one fsync on that disk", "near.status.fsync"),
        row("command", "status: publish → done receipt", "near.status.answer"),
        row("command", "— against 2 echoes + 3 fsyncs", "near.status.answer_ratio_p99")
            .reach("≤ 1 (p99 of each)", "max", 1.0, "see “Commands” below"),
        row("command", "locate: publish → search begins", "near.locate.effect"),
        row("command", "— against 2 echoes + 1 fsync", "near.locate.effect_ratio_p99")
            .reach("≤ 1 (p99 of each)", "max", 1.0, "see “Commands” below"),
        row("command", "locate: publish → done receipt, without the receiver's time", "near.locate.answer_without_receiver"),
        row("command", "— against 2 echoes + 3 fsyncs", "near.locate.answer_ratio_p99")
            .reach("≤ 1 (p99 of each)", "max", 1.0, "see “Commands” below"),
        row("command", "ring: publish → loudspeaker opened", "near.ring.effect"),
        row("command", "— against 2 echoes + 1 fsync", "near.ring.effect_ratio_p99")
            .reach("≤ 1 (p99 of each)", "max", 1.0, "see “Commands” below"),
        row("command", "ring: publish → receipt “running”", "near.ring.answer"),
        row("command", "ring --stop: publish → receipt “done” (silence)", "near.ring.stop_to_silence"),
        row("command", "300 ms round trip: bare echo", "far.status.echo"),
        row("command", "300 ms round trip: status → done receipt", "far.status.answer")
            .reach("≤ 2 s (p99)", "p99", 2_000.0, ""),
        row("command", "300 ms round trip: ring → loudspeaker", "far.ring.effect"),
        row("command", "300 ms round trip with stalls: status → done receipt", "stalls.status.answer")
            .reach("≤ 2 s (p99) at 5 % loss", "p99", 2_000.0, "see “Commands” below"),
        row("command", "300 ms round trip with stalls: ring → loudspeaker", "stalls.ring.effect")
            .reach("≤ 2 s (p99) at 5 % loss", "p99", 2_000.0, "see “Commands” below"),
        row("command", "`homing ring` typed → loudspeaker opened", "command_line.ring.effect"),
        row("command", "`homing ring` typed → prompt back", "command_line.ring.whole"),
        row("command", "homingd agent after all these orders: RSS", "agent_after_all_orders.rss"),
        row("reconnect", "network back → order answered", "near.answered")
            .reach("≤ 2 s", "max", 2_000.0, "see “Reconnect” below"),
        row("reconnect", "the same with a 300 ms round trip", "far.answered")
            .reach("≤ 2 s", "max", 2_000.0, "see “Reconnect” below"),
    ]
}

/// What is said where the archive misses a target.
const ARCHIVE: &str = "see “Archive” below";

#[rustfmt::skip]
fn archive_rows() -> Vec<Row> {
    let mut rows = vec![
        row("backup", "the phone's set: files", "phone.files"),
    ];
    rows.extend(programmed("backup"));
    rows.extend([
        row("backup", "first backup: processor, homing against borg", "ratio.phone.first.cpu_of_borg")
            .reach("≤ 0.82 (27 s where borg took 33)", "max", 0.82, ARCHIVE),
        row("backup", "— repository, homing against the smallest of the peers", "ratio.phone.first.stored")
            .reach("≤ 1.02", "max", 1.02, ARCHIVE),
        row("backup", "restore: processor, homing against the best peer", "ratio.phone.restore.cpu")
            .reach("≤ 0.75 (9 s where rustic took 12)", "max", 0.75, ARCHIVE),
        row("backup", "every byte verified: processor, homing against the best peer", "ratio.phone.verify.cpu")
            .reach("≤ 1", "max", 1.0, ARCHIVE),
        row("backup", "killed half-way: stored twice by homing", "phone.killed.homing.again")
            .reach("≤ one pack (8 MiB)", "max", 8.1, ARCHIVE),
        row("backup", "— by restic", "phone.killed.restic.again"),
        row("backup", "— by rustic", "phone.killed.rustic.again"),
        row("backup", "— by borg", "phone.killed.borg.again"),
        row("backup", "SQLite, 1 MiB written over: stored by homing alone", "phone.sqlite.contiguous.homing.stored")
            .reach("≤ 1.5 MB", "max", 1.5 * MB, ARCHIVE),
        row("backup", "— against the best peer", "ratio.phone.sqlite.contiguous")
            .reach("≤ 1", "max", 1.0, ARCHIVE),
        row("backup", "SQLite, one row in 5,000 changed: against the best peer", "ratio.phone.sqlite.scattered")
            .reach("≤ 1", "max", 1.0, ARCHIVE),
        row("backup", "SQLite, 1,000 rows more: against the best peer", "ratio.phone.sqlite.appended")
            .reach("≤ 1", "max", 1.0, ARCHIVE),
        row("backup", "SQLite, 1,000 rows less: against the best peer", "ratio.phone.sqlite.removed")
            .reach("≤ 1", "max", 1.0, ARCHIVE),
        row("backup", "SQLite, VACUUM: against the best peer", "ratio.phone.sqlite.vacuumed")
            .reach("≤ 1", "max", 1.0, ARCHIVE),
        row("backup", "homing, most memory in anything", "homing.peak_in_anything")
            .reach("≤ 64 MiB", "max", 64.0, ARCHIVE),
    ]);
    rows.extend(programmed("wire"));
    rows.push(row("wire", "homing, most memory in anything", "homing.peak_in_anything")
        .reach("≤ 64 MiB", "max", 64.0, ARCHIVE));
    rows.extend(programmed("many"));
    rows.extend(scanned("many"));
    rows.push(row("many", "homing, most memory in anything", "homing.peak_in_anything")
        .reach("≤ 64 MiB", "max", 64.0, ARCHIVE));
    rows
}

/// The search for changes against its floor and the peers.
#[rustfmt::skip]
fn scanned(bench: &'static str) -> [Row; 4] {
    [
        row(bench, "many files: one lstat of each, processor", "many.lstat.cpu"),
        row(bench, "many files, nothing new, homing's whole scan against that", "ratio.many.nothing.cpu_of_lstat")
            .reach("≤ 2", "max", 2.0, ARCHIVE),
        row(bench, "many files, nothing new, told so: against the best peer", "ratio.many.nothing_told.cpu")
            .reach("≤ 1/50", "max", 0.02, ARCHIVE),
        row(bench, "many files, ten changed, told which: against the best peer", "ratio.many.ten_told.cpu")
            .reach("≤ 1/50", "max", 0.02, ARCHIVE),
    ]
}

/// Who is compared, homing first.
const PROGRAMS: [&str; 4] = ["homing", "restic", "rustic", "borg"];

/// What each program took for each step: what it is called, the step, the figure.
#[rustfmt::skip]
const STEPS: [(&str, &str, &str); 31] = [
    ("first backup, processor", "phone.first", "cpu"),
    ("first backup, peak memory", "phone.first", "peak"),
    ("first backup, repository", "phone.first", "stored"),
    ("nothing new, processor", "phone.nothing", "cpu"),
    ("ten files changed, processor", "phone.ten", "cpu"),
    ("SQLite, 1 MiB written over: stored", "phone.sqlite.contiguous", "stored"),
    ("restore, processor", "phone.restore", "cpu"),
    ("— of this in the kernel", "phone.restore", "system"),
    ("restore, peak memory", "phone.restore", "peak"),
    ("every byte verified, processor", "phone.verify", "cpu"),
    ("many files, first backup, processor", "many.first", "cpu"),
    ("many files, first backup, peak memory", "many.first", "peak"),
    ("many files, nothing new, processor", "many.nothing", "cpu"),
    ("many files, nothing new, peak memory", "many.nothing", "peak"),
    ("many files, nothing new, told so, processor", "many.nothing_told", "cpu"),
    ("many files, ten changed, processor", "many.ten", "cpu"),
    ("many files, ten changed, told which, processor", "many.ten_told", "cpu"),
    ("many files, restore, processor", "many.restore", "cpu"),
    ("many files, restore, peak memory", "many.restore", "peak"),
    ("many files, every byte verified, processor", "many.verify", "cpu"),
    ("many files, opening the repository, processor", "many.open", "cpu"),
    ("to a server, first backup, bytes sent", "wire.first", "sent"),
    ("to a server, first backup, requests", "wire.first", "requests"),
    ("to a server, nothing new, requests", "wire.nothing", "requests"),
    ("to a server, ten files changed, bytes sent", "wire.ten", "sent"),
    ("to a server, ten files changed, requests", "wire.ten", "requests"),
    ("from a server, restore, bytes got", "wire.restore", "received"),
    ("from a server, restore, requests", "wire.restore", "requests"),
    ("from a server, restore, processor", "wire.restore", "cpu"),
    ("from a server, restore, by the clock", "wire.restore", "wall"),
    ("from a server, restore, peak memory", "wire.restore", "peak"),
];

/// Who has no figure of a step has no line.
fn programmed(bench: &'static str) -> impl Iterator<Item = Row> {
    STEPS.into_iter().flat_map(move |(what, step, figure)| {
        PROGRAMS.map(|program| Row {
            bench,
            label: match program {
                "homing" => format!("{what}: homing").into(),
                peer => format!("— {peer}").into(),
            },
            figure: format!("{step}.{program}.{figure}").into(),
            target: None,
        })
    })
}

/// Writes the table between its two marks.
///
/// # Errors
/// No README with the marks, damaged results.
pub(crate) fn write() -> Result<(), Error> {
    let path = Path::new(README);
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    let text = replaced(&text, &table()?)
        .ok_or_else(|| unreadable("bench/README.md without the table's marks"))?;
    std::fs::write(path, text).map_err(|source| Error::Write {
        path: path.to_owned(),
        source,
    })
}

fn replaced(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{table}{END}{after}"))
}

fn table() -> Result<String, Error> {
    let mut text = String::new();
    let mut open = "";
    let mut result = None;
    for row in rows().into_iter().chain(archive_rows()) {
        if row.bench != open {
            open = row.bench;
            result = record::load(open)?;
            if let Some(result) = &result {
                begin(&mut text, result);
            }
        }
        let figure = result
            .as_ref()
            .map(|result| &result["figures"][row.figure.as_ref()]);
        if let Some(figure) = figure.filter(|figure| figure.is_object()) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}", line(&row, figure));
        }
    }
    Ok(text)
}

fn begin(text: &mut String, result: &Value) {
    let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let (machine, versions) = (&result["machine"], &result["versions"]);
    let settings: Vec<String> = result["settings"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name} {}", value.to_string().trim_matches('"')))
        .collect();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "\n### {}\n\n{}; {} cores of {}, Linux {}, {}; {}; {}.\n\n\
         | figure | median | p99 | max | n | target | reached |\n|---|---:|---:|---:|---:|---|---|",
        word(&result["bench"]),
        word(&result["date"]),
        machine["cores"],
        word(&machine["processor"]),
        word(&machine["kernel"]),
        word(&machine["file_system"]),
        named(versions),
        settings.join(", ")
    );
}

/// The programs whose versions matter.
fn named(versions: &Value) -> String {
    let names = match versions["homingd"].is_string() {
        true => ["homingd", "mosquitto"].as_slice(),
        false => &["homing", "restic", "rustic", "borg"],
    };
    let said = names.iter().filter_map(|name| versions[*name].as_str());
    said.collect::<Vec<_>>().join("; ")
}

fn line(row: &Row, figure: &Value) -> String {
    let unit = figure["unit"].as_str().unwrap_or_default();
    let with_unit = |name: &str| format!("{} {unit}", figure[name]).trim().to_owned();
    let many = figure["n"].as_u64().unwrap_or(0) > 1;
    let spread = |name: &str| if many { with_unit(name) } else { String::new() };
    let (words, verdict) = match &row.target {
        None => ("", String::new()),
        Some(target) => {
            let reached = figure[target.of]
                .as_f64()
                .is_some_and(|value| value <= target.limit);
            let verdict = match (reached, target.why) {
                (true, _) => "yes".to_owned(),
                (false, why) => format!("no: {why}"),
            };
            (target.words, verdict)
        }
    };
    format!(
        "| {} | {} | {} | {} | {} | {words} | {verdict} |",
        row.label,
        with_unit("median"),
        spread("p99"),
        spread("max"),
        figure["n"]
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_target_that_is_missed_is_called_missed() {
        let row = row("agent", "memory", "x").reach("≤ 4", "max", 4.0, "too much");
        let figure =
            |max: f64| json!({"n": 1, "median": max, "p99": max, "max": max, "unit": "MiB"});
        assert!(line(&row, &figure(4.0)).ends_with("| ≤ 4 | yes |"));
        assert!(line(&row, &figure(4.1)).ends_with("| ≤ 4 | no: too much |"));
    }

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let new = replaced(&text, "new\n").unwrap();
        assert_eq!(new, format!("before\n{BEGIN}\nnew\n{END}\nafter\n"));
        assert!(replaced("no marks", "new").is_none());
    }

    #[test]
    fn every_row_that_may_be_missed_has_a_target_in_words() {
        for row in rows() {
            assert!(row.target.is_none_or(|target| target.words.contains('≤')));
        }
    }
}
