//! Patterns with `*` and `?` for leaving things out. Compares bytes; knows no file system.

/// Does the whole text fit the pattern? `*` stands for any bytes, `?` for one.
#[must_use]
pub(super) fn fits(pattern: &[u8], text: &[u8]) -> bool {
    // Where to go on if the last star took one byte too few.
    let mut retry = None;
    let (mut p, mut t) = (0, 0);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(expected) if *expected == b'?' || *expected == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((after_star, at)) => {
                    retry = Some((after_star, at + 1));
                    (p, t) = (after_star, at + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn stars_and_question_marks_fit_what_people_expect() {
        for (pattern, text, expected) in [
            ("*.tmp", "a.tmp", true),
            ("*.tmp", "a.tmpx", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "ab b", true),
            ("", "", true),
            ("*", "", true),
            ("/home/*/.cache", "/home/anna/.cache", true),
            ("abc", "ab", false),
        ] {
            assert_eq!(
                fits(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }
}
