//! Up to which number the positions stored here have no gap: what a report-ack may say. Stores nothing.

/// The highest number up to which nothing is missing, when everything before `from` is not expected here; `held` are the stored numbers in any order. `None` when not even `from` is held.
#[must_use]
pub fn complete_through(from: u64, held: impl IntoIterator<Item = u64>) -> Option<u64> {
    let held: std::collections::BTreeSet<u64> = held.into_iter().collect();
    held.range(from..)
        .zip(from..)
        .take_while(|(have, want)| **have == *want)
        .last()
        .map(|(have, _)| *have)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_no_gap_before_it_is_confirmed() {
        for (from, held, expected) in [
            (1, vec![1, 2, 3], Some(3)),
            (1, vec![3, 1, 2, 7], Some(3)),
            (1, vec![2, 3], None),
            (1, vec![], None),
            (5, vec![1, 5, 6], Some(6)),
        ] {
            assert_eq!(
                complete_through(from, held.clone()),
                expected,
                "{from} {held:?}"
            );
        }
    }
}
