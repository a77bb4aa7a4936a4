//! JSON text as Go's encoder writes it, and names as Go quotes them. Writes text only; must not know nodes or files.

use std::io::Write;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends bytes as a JSON string. What is not UTF-8 becomes U+FFFD, and `<`, `>`, `&`, U+2028 and U+2029 are escaped.
pub fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            json_character(out, character);
        }
        // Go writes one replacement for each byte that fits nowhere.
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
    out.push(b'"');
}

/// Appends a file name: quoted as Go's `strconv.Quote` does, then that as a JSON string.
pub fn name(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.iter().all(|byte| plain(*byte)) {
        out.push(b'"');
        out.extend_from_slice(bytes);
        out.push(b'"');
        return;
    }
    let mut quoted = Vec::with_capacity(bytes.len() + 16);
    quote(&mut quoted, bytes);
    string(out, &quoted);
}

/// Bytes that neither of the two escapes.
const fn plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&')
}

fn json_character(out: &mut Vec<u8>, character: char) {
    match character {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        '\0'..='\x1f' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
            unicode_escape(out, u32::from(character), 4);
        }
        _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

fn unicode_escape(out: &mut Vec<u8>, code: u32, digits: u32) {
    out.extend_from_slice(if digits == 4 { b"\\u" } else { b"\\U" });
    for digit in (0..digits).rev() {
        out.push(HEX[(code >> (digit * 4) & 15) as usize]);
    }
}

fn quote(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            quote_character(out, character);
        }
        for byte in chunk.invalid() {
            byte_escape(out, *byte);
        }
    }
}

fn byte_escape(out: &mut Vec<u8>, byte: u8) {
    out.extend_from_slice(b"\\x");
    out.push(HEX[usize::from(byte >> 4)]);
    out.push(HEX[usize::from(byte & 15)]);
}

fn quote_character(out: &mut Vec<u8>, character: char) {
    match character {
        '"' | '\\' => {
            out.push(b'\\');
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
        '\x07' => out.extend_from_slice(b"\\a"),
        '\x08' => out.extend_from_slice(b"\\b"),
        '\x0c' => out.extend_from_slice(b"\\f"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        '\x0b' => out.extend_from_slice(b"\\v"),
        '\0'..='\x1f' | '\x7f' => byte_escape(out, u8::try_from(character).unwrap_or(0)),
        _ if printable(character) => {
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
        '\0'..='\u{ffff}' => unicode_escape(out, u32::from(character), 4),
        _ => unicode_escape(out, u32::from(character), 8),
    }
}

/// Letters, marks, numbers, punctuation, symbols and the ASCII space, by the standard library's own table of the same
/// classes. Only the first character of a text is escaped for being a combining mark, hence the letter before it.
fn printable(character: char) -> bool {
    if character.is_ascii() {
        return matches!(character, ' '..='~');
    }
    let mut pair = [b'a', 0, 0, 0, 0];
    let length = character.encode_utf8(&mut pair[1..]).len();
    std::str::from_utf8(&pair[..=length])
        .is_ok_and(|text| text.escape_debug().nth(1) == Some(character))
}

/// Undoes Go's quoting of a name; `None` when it is not one that Go writes.
#[must_use]
pub fn unquote(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    if !bytes.contains(&b'\\') {
        return (!bytes.contains(&b'"') && !bytes.contains(&b'\n')).then(|| bytes.to_vec());
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        if matches!(first, b'"' | b'\n') {
            return None;
        }
        if first != b'\\' {
            out.push(first);
            rest = tail;
            continue;
        }
        let (&kind, tail) = tail.split_first()?;
        rest = unescape(&mut out, kind, tail)?;
    }
    Some(out)
}

fn unescape<'a>(out: &mut Vec<u8>, kind: u8, tail: &'a [u8]) -> Option<&'a [u8]> {
    let plain = match kind {
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 11,
        b'\\' | b'"' => kind,
        b'x' => {
            out.push(u8::try_from(number(tail.get(..2)?, 16)?).ok()?);
            return tail.get(2..);
        }
        b'0'..=b'3' => {
            let high = u32::from(kind - b'0') * 64;
            out.push(u8::try_from(high + number(tail.get(..2)?, 8)?).ok()?);
            return tail.get(2..);
        }
        b'u' | b'U' => {
            let digits = if kind == b'u' { 4 } else { 8 };
            let character = char::from_u32(number(tail.get(..digits)?, 16)?)?;
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return tail.get(digits..);
        }
        _ => return None,
    };
    out.push(plain);
    Some(tail)
}

fn number(digits: &[u8], base: u32) -> Option<u32> {
    digits.iter().try_fold(0_u32, |sum, digit| {
        let value = char::from(*digit).to_digit(base)?;
        sum.checked_mul(base)?.checked_add(value)
    })
}

/// Appends a number in decimal.
pub fn unsigned(out: &mut Vec<u8>, number: u64) {
    // Writing into a vector cannot fail.
    let _ = write!(out, "{number}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        name(&mut out, bytes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn names_are_escaped_as_restic_escapes_them() {
        // Taken from a tree that restic 0.14 wrote.
        assert_eq!(
            written(b"\xff\x01\x7f\xc2\xad\xe2\x80\xa8<&>"),
            r#""\\xff\\x01\\x7f\\u00ad\\u2028\u003c\u0026\u003e""#
        );
        assert_eq!(written("q\"\\ $'\né".as_bytes()), r#""q\\\"\\\\ $'\\né""#);
        assert_eq!(written(b"plain name.txt"), r#""plain name.txt""#);
        assert_eq!(
            written("e\u{301}\u{10ffff}".as_bytes()),
            "\"e\u{301}\\\\U0010ffff\""
        );
        assert_eq!(written("\u{301}".as_bytes()), "\"\u{301}\"");
    }

    #[test]
    fn nonsense_is_not_unquoted() {
        for bad in [
            "\\",
            "\\x",
            "\\xg0",
            "\\q",
            "a\"b",
            "\\ud800",
            "\\U00110000",
            "\\477",
        ] {
            assert_eq!(unquote(bad), None, "{bad}");
        }
        assert_eq!(unquote("\\101\\n"), Some(b"A\n".to_vec()));
    }

    proptest::proptest! {
        #[test]
        fn every_name_reads_back(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..40)) {
            let text: String = serde_json::from_str(&written(&bytes)).unwrap();
            proptest::prop_assert_eq!(unquote(&text), Some(bytes));
        }

        #[test]
        fn every_text_reads_back(text in ".*") {
            let mut out = Vec::new();
            string(&mut out, text.as_bytes());
            proptest::prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
