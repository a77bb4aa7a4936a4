//! The table of features against the tests: every row names one that exists. Says nothing about what a test proves.

use super::scan::code_only;
use super::{Breach, Source};
use std::collections::BTreeSet;
use std::path::Path;

const TABLE: &str = "docs/features.md";

/// Reads `docs/features.md` and compares it with the tests in `sources`.
pub(super) fn check(root: &Path, sources: &[Source]) -> Vec<Breach> {
    let Ok(table) = std::fs::read_to_string(root.join(TABLE)) else {
        return vec![Breach::new(
            TABLE,
            "is missing: the table of features with a test named per row",
        )];
    };
    let tests: BTreeSet<String> = sources
        .iter()
        .flat_map(|source| tests_in(&source.text))
        .collect();
    compare(&table, &tests)
}

/// Names of the functions marked `#[test]`, also inside `proptest!`.
fn tests_in(text: &str) -> Vec<String> {
    let code = code_only(text);
    let mut names = Vec::new();
    let mut marked = false;
    for line in code.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
        }
        let declared = line.rsplit("#[test]").next().unwrap_or(line).trim();
        let declared = declared.strip_prefix("async ").unwrap_or(declared);
        if let Some(rest) = declared.strip_prefix("fn ") {
            let name = rest.split(['(', '<']).next().unwrap_or(rest);
            if marked {
                names.push(name.trim().to_owned());
            }
            marked = false;
        }
    }
    names
}

/// Each row below the heading of each table must hold, in its last cell, names of tests in backticks (a path's last part counts).
fn compare(table: &str, tests: &BTreeSet<String>) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let mut rows = 0;
    let mut in_body = false;
    for (index, line) in table.lines().map(str::trim).enumerate() {
        if !line.starts_with('|') {
            in_body = false;
            continue;
        }
        if line.chars().all(|character| "|-: ".contains(character)) {
            in_body = true;
            continue;
        }
        if !in_body {
            continue;
        }
        rows += 1;
        let place = format!("{TABLE}:{}", index + 1);
        let last = line
            .trim_end_matches('|')
            .rsplit('|')
            .next()
            .unwrap_or_default();
        let named: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            breaches.push(Breach::new(
                &place,
                "this row names no test in its last cell",
            ));
        }
        for name in named {
            let short = name.rsplit("::").next().unwrap_or(name);
            if !tests.contains(short) {
                breaches.push(Breach::new(&place, format!("there is no test {name}")));
            }
        }
    }
    if rows == 0 {
        breaches.push(Breach::new(TABLE, "holds no row"));
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_found_by_their_mark_and_other_functions_are_not() {
        let text = "#[test]\nfn a_phone_rings() {}\nfn with_ease() {}\nproptest! {\n  #[test]\n  fn any_flip_is_refused(x in 0..9) {}\n}\n";
        assert_eq!(tests_in(text), ["a_phone_rings", "any_flip_is_refused"]);
    }

    #[test]
    fn a_row_without_a_test_or_with_one_that_is_gone_is_named() {
        let tests = BTreeSet::from(["a_phone_rings".to_owned()]);
        let table = "| Feature | Test |\n|---|---|\n| Ring | `scenarios::ring::a_phone_rings` |\n| Locate | `a_phone_is_found` |\n| Erase | soon |\n";
        let breaches = compare(table, &tests);
        assert_eq!(
            breaches,
            [
                Breach::new("docs/features.md:4", "there is no test a_phone_is_found"),
                Breach::new(
                    "docs/features.md:5",
                    "this row names no test in its last cell"
                ),
            ]
        );
    }

    #[test]
    fn an_empty_table_is_a_breach_too() {
        assert_eq!(compare("# Features\n", &BTreeSet::new()).len(), 1);
    }
}
