//! Which name somebody may have meant. Decides nothing: the caller only shows it.

/// Most changes by which a name may differ from what was typed, for each three letters of it.
const LETTERS_A_CHANGE: usize = 3;

/// The known name nearest to `typed`: the same but for capitals, or with one letter in three at most changed, added, left out or swapped with its neighbour. `None` when none is near.
pub(crate) fn nearest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = folded(typed);
    let most = wanted.len().div_ceil(LETTERS_A_CHANGE).min(3);
    known
        .map(|name| (distance(&wanted, &folded(name)), name))
        .filter(|(distance, name)| *distance <= most && *distance < folded(name).len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

fn folded(name: &str) -> Vec<char> {
    name.to_lowercase().chars().collect()
}

/// Changes between two words, a swap of neighbours counting once (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut least = (rows[i - 1][j] + 1)
                .min(row[j - 1] + 1)
                .min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_understood_and_another_word_is_not() {
        let known = ["phone", "Eva's tablet", "x"];
        for (typed, expected) in [
            ("Phone", Some("phone")),
            ("phnoe", Some("phone")),
            ("fone", Some("phone")),
            ("evas tablet", Some("Eva's tablet")),
            ("laptop", None),
            ("y", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, known.into_iter()), expected, "{typed}");
        }
    }
}
