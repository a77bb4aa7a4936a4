//! Writes the examples as JSON with the fields in the order of their making. Reads nothing.

use std::fmt::Write as _;
use zeroize::Zeroizing;

/// A JSON value; texts are within the Basic Multilingual Plane.
pub(crate) enum Json {
    Null,
    Number(i128),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(&'static str, Json)>),
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").expect("writing to a String cannot fail");
        out
    })
}

macro_rules! from_number {
    ($($number:ty),+) => { $(
        impl From<$number> for Json {
            fn from(number: $number) -> Self {
                Self::Number(number.into())
            }
        }
    )+ };
}
from_number!(u8, u16, u32, u64, i32, i64);

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}
impl From<&[u8]> for Json {
    fn from(bytes: &[u8]) -> Self {
        Self::Text(hex(bytes))
    }
}
impl<const N: usize> From<[u8; N]> for Json {
    fn from(bytes: [u8; N]) -> Self {
        Self::Text(hex(&bytes))
    }
}
impl<const N: usize> From<Zeroizing<[u8; N]>> for Json {
    fn from(bytes: Zeroizing<[u8; N]>) -> Self {
        (*bytes).into()
    }
}
impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
impl<T: Into<Json>> FromIterator<T> for Json {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

/// An object with its fields in this order.
macro_rules! object {
    ($($name:literal: $value:expr),* $(,)?) => {
        $crate::json::Json::Object(vec![$(($name, $crate::json::Json::from($value))),*])
    };
}
pub(crate) use object;

impl Json {
    /// The text of a file: two spaces a level, a newline at the end.
    pub(crate) fn file(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, 0);
        out.push('\n');
        out
    }

    fn write(&self, out: &mut String, depth: usize) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Number(number) => {
                write!(out, "{number}").expect("writing to a String cannot fail")
            }
            Self::Text(text) => {
                let plain = |c: char| matches!(c, ' '..='~') && c != '"' && c != '\\';
                let escaped: String = text
                    .chars()
                    .map(|c| {
                        if plain(c) {
                            c.to_string()
                        } else {
                            format!("\\u{:04x}", u32::from(c))
                        }
                    })
                    .collect();
                write!(out, "\"{escaped}\"").expect("writing to a String cannot fail");
            }
            Self::List(items) => Self::block(
                out,
                depth,
                ['[', ']'],
                items.iter().map(|item| (None, item)),
            ),
            Self::Object(fields) => Self::block(
                out,
                depth,
                ['{', '}'],
                fields.iter().map(|(name, item)| (Some(*name), item)),
            ),
        }
    }

    fn block<'a>(
        out: &mut String,
        depth: usize,
        around: [char; 2],
        items: impl Iterator<Item = (Option<&'static str>, &'a Self)>,
    ) {
        out.push(around[0]);
        let mut first = true;
        for (name, item) in items {
            out.push_str(if first { "\n" } else { ",\n" });
            first = false;
            out.push_str(&"  ".repeat(depth + 1));
            if let Some(name) = name {
                write!(out, "\"{name}\": ").expect("writing to a String cannot fail");
            }
            item.write(out, depth + 1);
        }
        if !first {
            out.push('\n');
            out.push_str(&"  ".repeat(depth));
        }
        out.push(around[1]);
    }
}
