//! Rust text without its comments and literals, so that a rule about code is not broken by a sentence about it. No parser: it knows comments, strings and characters only.

/// The same text with every comment and every string or character literal blanked out; lines stay where they are.
pub(super) fn code_only(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < characters.len() {
        let end = literal_end(&characters, at);
        if end == at {
            code.push(characters[at]);
            at += 1;
            continue;
        }
        code.extend(
            characters[at..end]
                .iter()
                .map(|character| if *character == '\n' { '\n' } else { ' ' }),
        );
        at = end;
    }
    code
}

/// Where the comment or literal that starts at `at` ends; `at` itself when none starts there.
fn literal_end(text: &[char], at: usize) -> usize {
    let next = text.get(at + 1).copied();
    match text[at] {
        '/' if next == Some('/') => until(text, at, &['\n']),
        '/' if next == Some('*') => block_comment_end(text, at),
        '"' => string_end(text, at + 1),
        'r' if !follows_word(text, at) => raw_string_end(text, at + 1).unwrap_or(at),
        'b' if !follows_word(text, at) && next == Some('"') => string_end(text, at + 2),
        'b' if !follows_word(text, at) && next == Some('r') => {
            raw_string_end(text, at + 2).unwrap_or(at)
        }
        '\'' => character_end(text, at).unwrap_or(at),
        _ => at,
    }
}

fn follows_word(text: &[char], at: usize) -> bool {
    at > 0 && (text[at - 1].is_alphanumeric() || text[at - 1] == '_')
}

fn until(text: &[char], from: usize, ends: &[char]) -> usize {
    text[from..]
        .iter()
        .position(|character| ends.contains(character))
        .map_or(text.len(), |offset| from + offset)
}

fn block_comment_end(text: &[char], at: usize) -> usize {
    let mut depth = 0usize;
    let mut index = at;
    while index < text.len() {
        match (text[index], text.get(index + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                index += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                index += 2;
                if depth == 0 {
                    return index;
                }
            }
            _ => index += 1,
        }
    }
    text.len()
}

fn string_end(text: &[char], from: usize) -> usize {
    let mut index = from;
    while index < text.len() {
        match text[index] {
            '\\' => index += 2,
            '"' => return index + 1,
            _ => index += 1,
        }
    }
    text.len()
}

/// The end of a raw string whose hashes or quote start at `from`; `None` when this is an ordinary word.
fn raw_string_end(text: &[char], from: usize) -> Option<usize> {
    let hashes = text[from.min(text.len())..]
        .iter()
        .take_while(|character| **character == '#')
        .count();
    if text.get(from + hashes) != Some(&'"') {
        return None;
    }
    let mut index = from + hashes + 1;
    while index < text.len() {
        let closing = &text[index + 1..(index + 1 + hashes).min(text.len())];
        if text[index] == '"'
            && closing.len() == hashes
            && closing.iter().all(|character| *character == '#')
        {
            return Some(index + 1 + hashes);
        }
        index += 1;
    }
    Some(text.len())
}

/// The end of a character literal; `None` for a lifetime.
fn character_end(text: &[char], at: usize) -> Option<usize> {
    if text.get(at + 1) == Some(&'\\') {
        return Some((until(text, at + 3, &['\'']) + 1).min(text.len()));
    }
    (text.get(at + 2) == Some(&'\'')).then_some(at + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_characters_are_blanked_and_lines_stay() {
        let text = "let a = \"unsafe\"; // unsafe\nlet b = 'u'; /* unsafe /* twice */\nunsafe */ let c;\nlet d = r#\"un\"safe\"#; let e = '\\'';";
        let code = code_only(text);
        assert!(!code.contains("unsafe") && !code.contains("un\""));
        assert_eq!(code.lines().count(), text.lines().count());
        for kept in ["let a", "let b", "let c", "let d", "let e"] {
            assert!(code.contains(kept), "{code}");
        }
    }

    #[test]
    fn a_lifetime_and_a_word_that_ends_in_r_are_code() {
        assert_eq!(
            code_only("fn over<'a>(x: &'a str)"),
            "fn over<'a>(x: &'a str)"
        );
        assert_eq!(code_only("r#type + b"), "r#type + b");
    }
}
