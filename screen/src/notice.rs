//! The notice: what the actor wrote for whoever finds the phone. Its presence is the order; nothing here changes it.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use serde::Deserialize;

use crate::Error;

/// Longest notice that is read, bytes: a message of 160 bytes and its fields are far below.
const LONGEST: u64 = 16 * 1024;
/// Most characters of a message that are drawn; the protocol allows 160 bytes.
const LONGEST_MESSAGE: usize = 512;

/// What the finder is told. Fields of later versions are passed over.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Notice {
    /// Which episode this is, 32 hexadecimal digits.
    pub episode: String,
    /// The owner's words.
    pub message: String,
    /// Where the owner can be reached, most often a telephone number.
    pub contact: Option<String>,
    /// How many digits the episode's code has, where there is one.
    pub code_digits: Option<u8>,
    /// When the episode began, seconds since 1970.
    pub since_unix_s: i64,
}

impl Notice {
    /// Reads a notice's JSON. Control characters become spaces, and what is longer than any message is cut.
    ///
    /// # Errors
    /// [`Error::Notice`].
    pub fn parse(json: &str) -> Result<Self, Error> {
        let mut notice: Self =
            serde_json::from_str(json).map_err(|error| Error::Notice(error.to_string()))?;
        notice.message = plain(&notice.message);
        notice.contact = notice
            .contact
            .map(|contact| plain(&contact).replace('\n', " "))
            .filter(|contact| !contact.is_empty());
        notice.code_digits = notice.code_digits.filter(|digits| *digits > 0);
        Ok(notice)
    }

    /// Reads the notice's file; `None` when there is none: the phone is not lost.
    ///
    /// # Errors
    /// [`Error::Notice`], [`Error::Io`].
    pub fn read(path: &Path) -> Result<Option<Self>, Error> {
        let doing = "reading the notice";
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::Io { doing, error }),
        };
        let mut text = String::new();
        file.take(LONGEST)
            .read_to_string(&mut text)
            .map_err(|error| Error::Io { doing, error })?;
        Self::parse(&text).map(Some)
    }
}

fn plain(text: &str) -> String {
    let shown: String = text
        .trim()
        .chars()
        .map(|letter| match letter {
            '\n' => '\n',
            letter if letter.is_control() => ' ',
            letter => letter,
        })
        .take(LONGEST_MESSAGE)
        .collect();
    shown.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_read_with_fields_of_later_versions() {
        let notice = Notice::parse(
            r#"{"episode":"00","message":" Bitte\tanrufen\u0007 ","contact":"+49 30 1","code_digits":8,"since_unix_s":1,"later":{}}"#,
        )
        .unwrap();
        assert_eq!(notice.message, "Bitte anrufen");
        assert_eq!(notice.contact.as_deref(), Some("+49 30 1"));
        assert_eq!(notice.code_digits, Some(8));
    }

    #[test]
    fn a_notice_without_contact_and_code_is_one_and_half_a_file_is_none() {
        let json =
            r#"{"episode":"00","message":"m","contact":null,"code_digits":null,"since_unix_s":1}"#;
        let notice = Notice::parse(json).unwrap();
        assert_eq!((notice.contact, notice.code_digits), (None, None));
        for end in 0..json.len() {
            assert!(Notice::parse(&json[..end]).is_err());
        }
    }

    #[test]
    fn no_file_is_a_phone_that_is_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            Notice::read(&folder.path().join("notice.json")).unwrap(),
            None
        );
    }
}
