//! Checks that no receipt was withheld or forged: counters without gaps, each naming the chain's head before it. Reports, does not repair.
use std::collections::BTreeMap;

/// One stored receipt's place in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number, from 1.
    pub counter: u64,
    /// The head before it.
    pub previous: [u8; 32],
    /// The head after it.
    pub head: [u8; 32],
}

/// What the stored receipts of one phone show.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Findings {
    /// Numbers that are missing, as first and last, among or after the stored ones.
    pub missing: Vec<(u64, u64)>,
    /// Numbers at which the chain does not fit: the phone's state was rolled back, or it signed two histories.
    pub broken: Vec<u64>,
}

impl Findings {
    /// The missing numbers up to `ripe`: those above it may still be on their way and are no reason for an alarm yet.
    #[must_use]
    pub fn missing_through(&self, ripe: u64) -> Vec<(u64, u64)> {
        let ripe_ones = self.missing.iter().filter(|(first, _)| *first <= ripe);
        ripe_ones
            .map(|(first, last)| (*first, ripe.min(*last)))
            .collect()
    }
}

/// Examines the stored receipts, and the count and head that the newest beacon names. What lies before the oldest stored receipt is not asked for: a recovered client starts in the middle.
#[must_use]
pub fn examine(links: &[Link], newest: Option<(u64, [u8; 32])>) -> Findings {
    let mut findings = Findings::default();
    let mut by_counter: BTreeMap<u64, Link> = BTreeMap::new();
    for link in links {
        if by_counter
            .insert(link.counter, *link)
            .is_some_and(|other| other != *link)
        {
            findings.broken.push(link.counter);
        }
    }
    let mut last: Option<Link> = None;
    for link in by_counter.values() {
        if let Some(before) = last {
            if link.counter > before.counter + 1 {
                findings
                    .missing
                    .push((before.counter + 1, link.counter - 1));
            } else if link.previous != before.head {
                findings.broken.push(link.counter);
            }
        }
        last = Some(*link);
    }
    if let (Some(last), Some((count, head))) = (last, newest) {
        if count > last.counter {
            findings.missing.push((last.counter + 1, count));
        } else if by_counter.get(&count).is_some_and(|link| link.head != head) {
            findings.broken.push(count);
        }
    }
    findings.broken.sort_unstable();
    findings.broken.dedup();
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(of: u64) -> [u8; 32] {
        let mut head = [0; 32];
        head[..8].copy_from_slice(&of.to_be_bytes());
        head
    }

    fn link(counter: u64) -> Link {
        Link {
            counter,
            previous: head(counter - 1),
            head: head(counter),
        }
    }

    #[test]
    fn an_unbroken_chain_shows_nothing_wherever_it_starts() {
        let links: Vec<_> = (5..=9).map(link).collect();
        assert_eq!(examine(&links, Some((9, head(9)))), Findings::default());
        assert_eq!(examine(&links, Some((7, head(7)))), Findings::default());
        assert_eq!(examine(&[], Some((3, head(3)))), Findings::default());
    }

    #[test]
    fn a_withheld_receipt_is_missed_in_the_middle_and_at_the_end() {
        let links = [link(5), link(6), link(9)];
        assert_eq!(
            examine(&links, Some((11, head(11)))).missing,
            vec![(7, 8), (10, 11)]
        );
    }

    #[test]
    fn what_may_still_be_on_its_way_is_not_called_missing() {
        let findings = examine(&[link(5), link(6), link(9)], Some((11, head(11))));
        for (ripe, missing) in [
            (6, vec![]),
            (7, vec![(7, 7)]),
            (9, vec![(7, 8)]),
            (10, vec![(7, 8), (10, 10)]),
            (40, vec![(7, 8), (10, 11)]),
        ] {
            assert_eq!(findings.missing_through(ripe), missing, "{ripe}");
        }
    }

    #[test]
    fn two_histories_are_noticed() {
        let other = Link {
            head: head(99),
            ..link(6)
        };
        assert_eq!(examine(&[link(5), other, link(7)], None).broken, vec![7]);
        assert_eq!(examine(&[link(5), link(6), other], None).broken, vec![6]);
        assert_eq!(examine(&[link(5)], Some((5, head(99)))).broken, vec![5]);
    }

    proptest! {
        #[test]
        fn every_withheld_receipt_is_found_and_no_other_is_named(
            held in proptest::collection::btree_set(1u64..60, 1..40), count in 60u64..70
        ) {
            let links: Vec<_> = held.iter().copied().map(link).collect();
            let findings = examine(&links, Some((count, head(count))));
            let first = *held.first().expect("not empty");
            let named: Vec<u64> = findings.missing.iter().flat_map(|(from, to)| *from..=*to).collect();
            let expected: Vec<u64> = (first..=count).filter(|n| !held.contains(n)).collect();
            prop_assert_eq!(named, expected);
            prop_assert!(findings.broken.is_empty());
        }
    }
}
