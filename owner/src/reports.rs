//! Up to which number the positions stored here have no gap: what a report-ack may say. Stores nothing.

/// The highest number up to which nothing is missing, when everything before `from` is not asked for. `runs` are the stored ones, each first number and length, by first number; they may overlap. `None` when not even `from` is stored.
#[must_use]
pub fn complete_through(from: u64, runs: impl IntoIterator<Item = (u64, u64)>) -> Option<u64> {
    let mut next = from;
    for (first, length) in runs {
        if first > next {
            break;
        }
        next = next.max(first.saturating_add(length));
    }
    (next > from).then(|| next - 1)
}

/// The first range that is missing from `from` on, up to `newest`, the newest number that is known to exist; `runs` as in [`complete_through`].
#[must_use]
pub fn first_gap(
    from: u64,
    newest: u64,
    runs: impl IntoIterator<Item = (u64, u64)>,
) -> Option<(u64, u64)> {
    let mut next = from;
    for (first, length) in runs {
        if first > next {
            return Some((next, first - 1));
        }
        next = next.max(first.saturating_add(length));
    }
    (next <= newest).then_some((next, newest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_gap_lies_before_a_stored_run_or_behind_all_of_them() {
        for (from, newest, runs, expected) in [
            (1, 0, vec![], None),
            (1, 3, vec![], Some((1, 3))),
            (1, 3, vec![(1, 2), (2, 2)], None),
            (1, 9, vec![(1, 2), (6, 1), (8, 1)], Some((3, 5))),
            (4, 9, vec![(1, 4), (5, 2)], Some((7, 9))),
            (4, 0, vec![(6, 1)], Some((4, 5))),
        ] {
            assert_eq!(first_gap(from, newest, runs.clone()), expected, "{runs:?}");
        }
    }

    #[test]
    fn only_what_has_no_gap_before_it_is_confirmed() {
        for (from, runs, expected) in [
            (1, vec![(1, 3)], Some(3)),
            (1, vec![(1, 2), (2, 4), (7, 1)], Some(5)),
            (1, vec![(2, 2)], None),
            (1, vec![], None),
            (5, vec![(1, 1), (4, 2), (6, 1)], Some(6)),
        ] {
            assert_eq!(
                complete_through(from, runs.clone()),
                expected,
                "{from} {runs:?}"
            );
        }
    }
}
