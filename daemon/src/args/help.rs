//! Help texts made from the table; it must not know a flag that the table does not.

use super::table::{COMMON, Flag, SUBCOMMANDS, Subcommand};

/// The help of one subcommand, or the overview.
pub(super) fn text(subcommand: Option<&Subcommand>) -> String {
    subcommand.map_or_else(overview, details)
}

fn overview() -> String {
    let words: Vec<(String, &str)> = SUBCOMMANDS
        .iter()
        .map(|subcommand| (subcommand.word.to_owned(), subcommand.summary))
        .collect();
    format!(
        "homingd - brings a lost phone home: the daemon on the phone\n\n\
         Usage: homingd SUBCOMMAND [FLAG...]\n\n\
         Commands:\n{}\n\
         Flags of every subcommand:\n{}\n\
         Exit codes: 0 success, 64 usage, 70 a fault of homingd, 74 input or output,\n\
         77 permission, 78 configuration. Manual: homingd(8), homingd.toml(5).\n",
        columns(&words),
        columns(&flags(&COMMON)),
    )
}

fn details(subcommand: &Subcommand) -> String {
    let Subcommand {
        word,
        operands,
        about,
        ..
    } = subcommand;
    let mut text = format!("Usage: homingd {word} [FLAG...] {operands}")
        .trim_end()
        .to_owned();
    text.push_str("\n\n");
    text.push_str(about);
    text.push_str("\n\nFlags:\n");
    let mut rows = flags(subcommand.flags);
    rows.extend(flags(&COMMON));
    rows.push(("-h, --help".into(), "print this help"));
    rows.push(("-V, --version".into(), "print the version"));
    text.push_str(&columns(&rows));
    text
}

fn flags(flags: &[Flag]) -> Vec<(String, &'static str)> {
    flags
        .iter()
        .map(|flag| {
            (
                flag.value.map_or_else(
                    || flag.name.to_owned(),
                    |value| format!("{} {value}", flag.name),
                ),
                flag.summary,
            )
        })
        .collect()
}

fn columns(rows: &[(String, &str)]) -> String {
    let width = rows
        .iter()
        .map(|(left, _)| left.len())
        .max()
        .unwrap_or_default();
    rows.iter()
        .map(|(left, right)| format!("  {left:width$}  {right}\n"))
        .collect()
}
