//! Deterministic CBOR (RFC 8949 §4.2) on top of ciborium: maps with small integer keys, no floats, no tags, depth at most 4. Never accepts two encodings of one value.

use crate::Malformed;
pub use ciborium::Value;

/// How deep containers may nest: a message, its parameters, a list in them, an entry of that list.
pub const DEPTH: usize = 4;

/// Largest absolute value of a number on the wire, 2^62: two of them add up without overflow in 64 signed bits, so that no
/// signed counter or time, however hostile its signer, can end a reader.
pub const LARGEST: u64 = 1 << 62;

/// Encodes a value; maps must have been built sorted, as [`Map`] does.
#[must_use]
pub fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    ciborium::into_writer(value, &mut out).expect("writing to a Vec cannot fail");
    out
}

/// Decodes exactly one canonical value.
///
/// # Errors
/// [`Malformed::NotCanonical`] for anything that is not the one deterministic encoding of an allowed value.
pub fn decode(bytes: &[u8]) -> Result<Value, Malformed> {
    // Byte strings and leaves count towards ciborium's limit too, hence the margin; `canonical` holds the real one.
    let value: Value = ciborium::de::from_reader_with_recursion_limit(bytes, DEPTH + 2)
        .map_err(|_| Malformed::NotCanonical)?;
    if canonical(&value, DEPTH) && encode(&value) == bytes {
        Ok(value)
    } else {
        Err(Malformed::NotCanonical)
    }
}

fn canonical(value: &Value, depth: usize) -> bool {
    match value {
        Value::Integer(number) => i128::from(*number).unsigned_abs() <= u128::from(LARGEST),
        Value::Bytes(_) | Value::Text(_) => true,
        Value::Array(items) => depth > 0 && items.iter().all(|item| canonical(item, depth - 1)),
        Value::Map(entries) => {
            depth > 0
                && entries
                    .iter()
                    .all(|(key, item)| key_of(key).is_some() && canonical(item, depth - 1))
                && entries
                    .windows(2)
                    .all(|pair| key_of(&pair[0].0) < key_of(&pair[1].0))
        }
        _ => false,
    }
}

/// Keys are unsigned and small, where bytewise order and numeric order agree.
fn key_of(key: &Value) -> Option<u64> {
    key.as_integer().and_then(|key| u64::try_from(key).ok())
}

/// Builds a map in key order.
#[derive(Debug, Default)]
pub struct Map(Vec<(i64, Value)>);

impl Map {
    /// An empty map.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds a field.
    #[must_use]
    pub fn with(mut self, key: i64, value: Value) -> Self {
        self.0.push((key, value));
        self
    }
    /// Adds an unsigned number.
    #[must_use]
    pub fn uint(self, key: i64, value: u64) -> Self {
        self.with(key, Value::from(value))
    }
    /// Adds an unsigned number if there is one.
    #[must_use]
    pub fn maybe_uint(self, key: i64, value: Option<u64>) -> Self {
        match value {
            Some(value) => self.uint(key, value),
            None => self,
        }
    }
    /// Adds a signed number.
    #[must_use]
    pub fn int(self, key: i64, value: i64) -> Self {
        self.with(key, Value::from(value))
    }
    /// Adds a signed number if there is one.
    #[must_use]
    pub fn maybe_int(self, key: i64, value: Option<i64>) -> Self {
        match value {
            Some(value) => self.int(key, value),
            None => self,
        }
    }
    /// Adds a byte string.
    #[must_use]
    pub fn bytes(self, key: i64, value: &[u8]) -> Self {
        self.with(key, Value::Bytes(value.to_vec()))
    }
    /// Adds a text.
    #[must_use]
    pub fn text(self, key: i64, value: &str) -> Self {
        self.with(key, Value::Text(value.to_owned()))
    }
    /// Adds a list.
    #[must_use]
    pub fn list(self, key: i64, items: impl IntoIterator<Item = Value>) -> Self {
        self.with(key, Value::Array(items.into_iter().collect()))
    }
    /// The finished map, sorted.
    #[must_use]
    pub fn value(mut self) -> Value {
        self.0.sort_by_key(|(key, _)| *key);
        Value::Map(
            self.0
                .into_iter()
                .map(|(key, value)| (Value::from(key), value))
                .collect(),
        )
    }
    /// The finished map's bytes.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        encode(&self.value())
    }
}

/// Reads the fields of a decoded map and refuses what nobody asked for.
#[derive(Debug)]
pub struct Fields<'a> {
    entries: &'a [(Value, Value)],
    read: usize,
}

impl<'a> Fields<'a> {
    /// Opens a map.
    ///
    /// # Errors
    /// [`Malformed::NotCanonical`] when the value is something else.
    pub fn of(value: &'a Value) -> Result<Self, Malformed> {
        match value {
            Value::Map(entries) => Ok(Self { entries, read: 0 }),
            _ => Err(Malformed::NotCanonical),
        }
    }

    /// The field's value if it is there.
    pub fn maybe(&mut self, key: i64) -> Option<&'a Value> {
        let wanted = u64::try_from(key).ok();
        let found = self
            .entries
            .iter()
            .find(|(name, _)| key_of(name) == wanted)?;
        self.read += 1;
        Some(&found.1)
    }
    /// The field's value.
    ///
    /// # Errors
    /// [`Malformed::Field`] when it is missing; so do all readers below, also for a wrong type or range.
    pub fn must(&mut self, key: i64) -> Result<&'a Value, Malformed> {
        self.maybe(key).ok_or(Malformed::Field(key))
    }
    /// An optional unsigned number.
    ///
    /// # Errors
    /// See [`Self::must`].
    pub fn maybe_uint(&mut self, key: i64) -> Result<Option<u64>, Malformed> {
        self.maybe(key)
            .map(|value| as_uint(value).ok_or(Malformed::Field(key)))
            .transpose()
    }
    /// An unsigned number.
    ///
    /// # Errors
    /// See [`Self::must`].
    pub fn uint(&mut self, key: i64) -> Result<u64, Malformed> {
        self.maybe_uint(key)?.ok_or(Malformed::Field(key))
    }
    /// An unsigned number that fits a narrower type.
    ///
    /// # Errors
    /// See [`Self::must`].
    pub fn narrow<T: TryFrom<u64>>(&mut self, key: i64) -> Result<T, Malformed> {
        T::try_from(self.uint(key)?).map_err(|_| Malformed::Field(key))
    }
    /// An optional unsigned number that fits a narrower type.
    ///
    /// # Errors
    /// See [`Self::must`].
    pub fn maybe_narrow<T: TryFrom<u64>>(&mut self, key: i64) -> Result<Option<T>, Malformed> {
        self.maybe_uint(key)?
            .map(|value| T::try_from(value).map_err(|_| Malformed::Field(key)))
            .transpose()
    }
    /// An optional signed number that fits a narrower type.
    ///
    /// # Errors
    /// See [`Self::must`].
    pub fn maybe_int<T: TryFrom<i64>>(&mut self, key: i64) -> Result<Option<T>, Malformed> {
        self.maybe(key)
            .map(|value| {
                let number = value
                    .as_integer()
                    .and_then(|number| i64::try_from(number).ok());
                number
                    .and_then(|number| T::try_from(number).ok())
                    .ok_or(Malformed::Field(key))
            })
            .transpose()
    }
    /// A signed number.
    ///
    /// # Errors
    /// See [`Self::must`].
    pub fn int<T: TryFrom<i64>>(&mut self, key: i64) -> Result<T, Malformed> {
        self.maybe_int(key)?.ok_or(Malformed::Field(key))
    }
    /// A byte string of any length.
    ///
    /// # Errors
    /// See [`Self::must`].
    pub fn blob(&mut self, key: i64) -> Result<&'a [u8], Malformed> {
        match self.must(key)? {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed::Field(key)),
        }
    }
    /// A byte string of exactly `N` bytes.
    ///
    /// # Errors
    /// See [`Self::must`].
    pub fn bytes<const N: usize>(&mut self, key: i64) -> Result<[u8; N], Malformed> {
        self.blob(key)?
            .try_into()
            .map_err(|_| Malformed::Field(key))
    }
    /// A text of at most `longest` bytes.
    ///
    /// # Errors
    /// See [`Self::must`].
    pub fn text(&mut self, key: i64, longest: usize) -> Result<&'a str, Malformed> {
        match self.must(key)? {
            Value::Text(text) if text.len() <= longest => Ok(text),
            _ => Err(Malformed::Field(key)),
        }
    }
    /// A list of at most `most` items.
    ///
    /// # Errors
    /// See [`Self::must`]; [`Malformed::TooMany`] for a longer one.
    pub fn list(&mut self, key: i64, most: usize) -> Result<&'a [Value], Malformed> {
        match self.must(key)? {
            Value::Array(items) if items.len() <= most => Ok(items),
            Value::Array(_) => Err(Malformed::TooMany),
            _ => Err(Malformed::Field(key)),
        }
    }
    /// Ends the reading; every field must have been asked for once.
    ///
    /// # Errors
    /// [`Malformed::UnknownField`] naming the highest key when something was left over.
    pub fn end(self) -> Result<(), Malformed> {
        if self.read == self.entries.len() {
            return Ok(());
        }
        let last = self
            .entries
            .last()
            .and_then(|(key, _)| key_of(key))
            .and_then(|key| i64::try_from(key).ok());
        Err(Malformed::UnknownField(last.unwrap_or(-1)))
    }
}

/// The number in a value, when it is unsigned and fits 64 bits.
#[must_use]
pub fn as_uint(value: &Value) -> Option<u64> {
    key_of(value)
}

/// The `N` bytes in a value.
#[must_use]
pub fn as_bytes<const N: usize>(value: &Value) -> Option<[u8; N]> {
    value
        .as_bytes()
        .and_then(|bytes| bytes.as_slice().try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_of_a_map_is_accepted_and_read_back() {
        let bytes = Map::new().uint(3, 300).bytes(1, b"ab").int(2, -7).encode();
        let value = decode(&bytes).expect("canonical");
        let mut fields = Fields::of(&value).expect("map");
        assert_eq!(fields.uint(3), Ok(300));
        assert_eq!(fields.bytes(1), Ok(*b"ab"));
        assert_eq!(fields.int::<i64>(2), Ok(-7));
        assert_eq!(fields.end(), Ok(()));
    }

    #[test]
    fn other_encodings_of_the_same_value_are_refused() {
        let bad: [&[u8]; 11] = [
            &[0xa1, 0x01, 0x18, 0x05],             // 5 in two bytes
            &[0xbf, 0x01, 0x05, 0xff],             // indefinite map
            &[0xa2, 0x02, 0x00, 0x01, 0x00],       // unsorted
            &[0xa2, 0x01, 0x00, 0x01, 0x00],       // twice the same key
            &[0xa1, 0x01, 0xf9, 0x3c, 0x00],       // a float
            &[0xa1, 0x01, 0xc1, 0x00],             // a tag
            &[0xa1, 0x01, 0x05, 0x00],             // something behind
            &[0xa1, 0x61, 0x61, 0x05],             // a text key
            &[0xa1, 0x20, 0x05],                   // a negative key
            &[0x81, 0x81, 0x81, 0x81, 0x81, 0x00], // too deep
            &[
                0xa1, 0x01, 0xa1, 0x01, 0xa1, 0x01, 0xa1, 0x01, 0xa1, 0x01, 0x00,
            ], // maps too deep
        ];
        for bytes in bad {
            assert_eq!(decode(bytes), Err(Malformed::NotCanonical), "{bytes:02x?}");
        }
    }

    #[test]
    fn containers_may_nest_as_deep_as_a_message_needs() {
        let deepest: [&[u8]; 2] = [
            &[0x81, 0x81, 0x81, 0x81, 0x00],
            &[0xa1, 0x01, 0xa1, 0x01, 0xa1, 0x01, 0xa1, 0x01, 0x00],
        ];
        for bytes in deepest {
            assert!(decode(bytes).is_ok(), "{bytes:02x?}");
        }
    }

    #[test]
    fn a_text_is_as_long_as_its_reader_accepts_and_no_longer() {
        let bytes = Map::new().text(1, "seven").encode();
        let value = decode(&bytes).expect("canonical");
        let read = |longest| Fields::of(&value).and_then(|mut fields| fields.text(1, longest));
        assert_eq!(read(5), Ok("seven"));
        assert_eq!(read(4), Err(Malformed::Field(1)));
    }

    #[test]
    fn a_field_nobody_asked_for_is_refused() {
        let bytes = Map::new().uint(1, 1).uint(9, 1).encode();
        let value = decode(&bytes).expect("canonical");
        let mut fields = Fields::of(&value).expect("map");
        assert_eq!(fields.uint(1), Ok(1));
        assert_eq!(fields.end(), Err(Malformed::UnknownField(9)));
        // A key that no message has: it has no name among ours.
        let bytes = [
            0xa1, 0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00,
        ];
        let value = decode(&bytes).expect("canonical");
        let fields = Fields::of(&value).expect("map");
        assert_eq!(fields.end(), Err(Malformed::UnknownField(-1)));
    }
}
