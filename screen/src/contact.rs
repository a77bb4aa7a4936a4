//! The owner's contact as a finder's telephone reads it from the screen: a URI in a QR code. It draws nothing.

use qrcode::{Color, EcLevel, QrCode};

/// What a finder's camera opens: `tel:` for a telephone number, `mailto:` for an address, the words themselves for others.
#[must_use]
pub fn uri(contact: &str) -> String {
    let dialled: String = contact
        .chars()
        .filter(|letter| !matches!(letter, ' ' | '-' | '(' | ')' | '.' | '/' | '\u{a0}'))
        .collect();
    let digits = dialled.strip_prefix('+').unwrap_or(&dialled);
    if !digits.is_empty() && digits.chars().all(|letter| letter.is_ascii_digit()) {
        return format!("tel:{dialled}");
    }
    match contact.contains('@') && !contact.contains(' ') {
        true => format!("mailto:{contact}"),
        false => contact.to_owned(),
    }
}

/// A QR code: `width` modules on each side, and row by row which of them are dark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// Modules on each side, without the quiet zone.
    pub width: usize,
    /// `width × width` modules.
    pub dark: Vec<bool>,
}

/// The QR code of a text, with the error correction that a scratched panel needs (level M); `None` when it is too long.
#[must_use]
pub fn code(text: &str) -> Option<Code> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    let colors = code.to_colors();
    let dark = colors.into_iter().map(|color| color == Color::Dark);
    Some(Code {
        width: code.width(),
        dark: dark.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_telephone_number_is_dialled_and_an_address_is_written_to() {
        for (contact, wanted) in [
            ("+49 (30) 123-456", "tel:+4930123456"),
            ("112", "tel:112"),
            ("a@example.org", "mailto:a@example.org"),
            ("the café next door", "the café next door"),
            ("+", "+"),
        ] {
            assert_eq!(uri(contact), wanted);
        }
    }

    #[test]
    fn the_longest_contact_has_a_code() {
        let code = code(&uri(&"9".repeat(24))).unwrap();
        assert_eq!(code.dark.len(), code.width * code.width);
        // The finder pattern's corner.
        assert!(code.dark[0] && code.dark[6] && !code.dark[7]);
    }
}
