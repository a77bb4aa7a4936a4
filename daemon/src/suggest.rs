//! "Did you mean …?" for mistyped words; it must not choose for the reader, only propose.

/// The candidate closest to `word`, if it is close enough to be a slip of the fingers:
/// at most one edit for every three letters, counted as insert, delete, replace or swap of neighbours.
#[must_use]
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = word.chars().count().max(3) / 3;
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(edits, _)| *edits <= allowed)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// The tail of an error sentence: empty, or ` (did you mean "x"?)`.
#[must_use]
pub fn hint<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    closest(word, candidates)
        .map(|near| format!(" (did you mean \"{near}\"?)"))
        .unwrap_or_default()
}

/// Edits between two words: the optimal string alignment distance.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before: Vec<usize> = vec![0; to.len() + 1];
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for row in 1..=from.len() {
        let mut now = vec![row; to.len() + 1];
        for column in 1..=to.len() {
            let differs = usize::from(from[row - 1] != to[column - 1]);
            now[column] = (last[column] + 1)
                .min(now[column - 1] + 1)
                .min(last[column - 1] + differs);
            let swapped = row > 1
                && column > 1
                && from[row - 1] == to[column - 2]
                && from[row - 2] == to[column - 1];
            if swapped {
                now[column] = now[column].min(before[column - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, now);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_fingers_finds_the_word_that_was_meant() {
        assert_eq!(closest("sirne", ["agent", "siren"]), Some("siren"));
        assert_eq!(
            closest("stat_dir", ["state_dir", "runtime_dir"]),
            Some("state_dir")
        );
        assert_eq!(
            closest("keepalive_s", ["keep_alive_s"]),
            Some("keep_alive_s")
        );
    }

    #[test]
    fn a_word_unlike_any_other_gets_no_proposal() {
        assert_eq!(closest("banana", ["agent", "siren"]), None);
        assert_eq!(closest("", ["agent"]), None);
        assert_eq!(hint("banana", ["agent"]), "");
    }

    #[test]
    fn the_distance_counts_single_edits() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(distance("abc", "acb"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
