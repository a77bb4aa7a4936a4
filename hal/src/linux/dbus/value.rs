//! D-Bus values and their bytes, as the specification's "Marshaling" says. Pure; whatever the bytes are, it neither panics nor builds much more than they hold.

/// How deep values may lie within each other: the specification allows 64, ModemManager needs 6.
const DEEPEST: usize = 16;

/// A value with its type.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `y`
    Byte(u8),
    /// `b`
    Bool(bool),
    /// `n`, `i`, `x`: a signed number and its type's letter.
    Signed(char, i64),
    /// `q`, `u`, `t`, `h`: an unsigned number and its type's letter.
    Unsigned(char, u64),
    /// `d`
    Double(f64),
    /// `s`, `o`, `g`: text and its type's letter.
    Text(char, String),
    /// `ay`
    Bytes(Vec<u8>),
    /// `a…`: the elements' signature, and the elements; those of a dictionary are [`Value::Entry`].
    Array(String, Vec<Value>),
    /// `(…)`
    Struct(Vec<Value>),
    /// `{…}`, in arrays only.
    Entry(Box<(Value, Value)>),
    /// `v`
    Variant(Box<Value>),
}

/// Bytes that are no value of the stated type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no D-Bus value of the stated type")]
pub struct NoValue;

impl Value {
    /// A string.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Text('s', text.into())
    }

    /// A `u`.
    #[must_use]
    pub fn number(number: u32) -> Self {
        Self::Unsigned('u', number.into())
    }

    /// An empty dictionary from strings to variants.
    #[must_use]
    pub fn empty_options() -> Self {
        Self::Array("{sv}".into(), Vec::new())
    }

    /// Its type.
    #[must_use]
    pub fn signature(&self) -> String {
        match self {
            Self::Byte(_) => "y".into(),
            Self::Bool(_) => "b".into(),
            Self::Signed(letter, _) | Self::Unsigned(letter, _) | Self::Text(letter, _) => {
                letter.to_string()
            }
            Self::Double(_) => "d".into(),
            Self::Bytes(_) => "ay".into(),
            Self::Array(of, _) => format!("a{of}"),
            Self::Struct(fields) => format!("({})", signature(fields)),
            Self::Entry(entry) => format!("{{{}{}}}", entry.0.signature(), entry.1.signature()),
            Self::Variant(_) => "v".into(),
        }
    }

    /// What a variant holds, the value itself where it is none.
    #[must_use]
    pub fn inner(&self) -> &Self {
        match self {
            Self::Variant(value) => value.inner(),
            other => other,
        }
    }

    /// The text of a `s`, `o` or `g`.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self.inner() {
            Self::Text(_, text) => Some(text),
            _ => None,
        }
    }

    /// A `y`, `q` or `u`.
    #[must_use]
    pub fn as_u32(&self) -> Option<u32> {
        match self.inner() {
            Self::Byte(number) => Some((*number).into()),
            Self::Unsigned(_, number) => u32::try_from(*number).ok(),
            _ => None,
        }
    }

    /// A `n` or `i`.
    #[must_use]
    pub fn as_i32(&self) -> Option<i32> {
        match self.inner() {
            Self::Signed(_, number) => i32::try_from(*number).ok(),
            _ => None,
        }
    }

    /// A `d`.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self.inner() {
            Self::Double(number) => Some(*number),
            _ => None,
        }
    }

    /// Whether it is a `b` that is true.
    #[must_use]
    pub fn is_true(&self) -> bool {
        matches!(self.inner(), Self::Bool(true))
    }

    /// The bytes of an `ay`.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self.inner() {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The elements of an array; none where it is none.
    #[must_use]
    pub fn elements(&self) -> &[Self] {
        match self.inner() {
            Self::Array(_, elements) => elements,
            _ => &[],
        }
    }

    /// Keys and values of a dictionary.
    pub fn entries(&self) -> impl Iterator<Item = (&Self, &Self)> {
        self.elements().iter().filter_map(|element| match element {
            Self::Entry(entry) => Some((&entry.0, &entry.1)),
            _ => None,
        })
    }

    /// The value of a dictionary's key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries()
            .find(|(found, _)| found.as_text() == Some(key))
            .map(|(_, value)| value)
    }
}

/// The type of several values in a row.
#[must_use]
pub fn signature(values: &[Value]) -> String {
    values.iter().map(Value::signature).collect()
}

/// Appends bytes, aligned from the beginning of a message or its body; little-endian.
#[derive(Debug, Default)]
pub struct Encoder(Vec<u8>);

impl Encoder {
    /// The bytes so far.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Pads to a multiple of `to` bytes.
    pub fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    /// Appends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Appends a `u`. Lengths beyond its range cannot occur: no message of ours is longer than a few kilobytes.
    pub fn length(&mut self, length: usize) {
        self.align(4);
        self.raw(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    }

    /// Appends a value.
    pub fn value(&mut self, value: &Value) {
        let letter = value.signature().chars().next().unwrap_or('y');
        self.align(alignment(letter));
        match value {
            Value::Byte(byte) => self.raw(&[*byte]),
            Value::Bool(truth) => self.raw(&u32::from(*truth).to_le_bytes()),
            Value::Signed(_, number) => self.sized(letter, &number.to_le_bytes()),
            Value::Unsigned(_, number) => self.sized(letter, &number.to_le_bytes()),
            Value::Double(number) => self.raw(&number.to_le_bytes()),
            Value::Text('g', text) => {
                self.raw(&[u8::try_from(text.len()).unwrap_or(u8::MAX)]);
                self.raw(text.as_bytes());
                self.raw(&[0]);
            }
            Value::Text(_, text) => {
                self.length(text.len());
                self.raw(text.as_bytes());
                self.raw(&[0]);
            }
            Value::Bytes(bytes) => {
                self.length(bytes.len());
                self.raw(bytes);
            }
            Value::Array(of, elements) => self.array(of, elements),
            Value::Struct(fields) => fields.iter().for_each(|field| self.value(field)),
            Value::Entry(entry) => {
                self.value(&entry.0);
                self.value(&entry.1);
            }
            Value::Variant(value) => {
                self.value(&Value::Text('g', value.signature()));
                self.value(value);
            }
        }
    }

    /// The low bytes of a number, as many as its type has.
    fn sized(&mut self, letter: char, bytes: &[u8; 8]) {
        self.raw(bytes.get(..alignment(letter)).unwrap_or_default());
    }

    fn array(&mut self, of: &str, elements: &[Value]) {
        self.length(0);
        let length_at = self.0.len() - 4;
        self.align(of.chars().next().map_or(1, alignment));
        let begin = self.0.len();
        elements.iter().for_each(|element| self.value(element));
        let length = u32::try_from(self.0.len() - begin).unwrap_or(u32::MAX);
        if let Some(place) = self.0.get_mut(length_at..length_at + 4) {
            place.copy_from_slice(&length.to_le_bytes());
        }
    }
}

/// What the first byte of a type is aligned to; for numbers that is their length too.
fn alignment(letter: char) -> usize {
    match letter {
        'n' | 'q' => 2,
        'b' | 'i' | 'u' | 'h' | 's' | 'o' | 'a' => 4,
        'x' | 't' | 'd' | '(' | '{' => 8,
        _ => 1,
    }
}

/// The byte order that a message states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `l`
    Little,
    /// `B`
    Big,
}

/// Reads values.
#[derive(Debug)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    order: Order,
}

fn narrow<T: TryFrom<u64>>(number: u64) -> Result<T, NoValue> {
    T::try_from(number).map_err(|_| NoValue)
}

/// A type that stands at the beginning of a signature, and the rest.
fn first_type(signature: &str) -> Result<(&str, &str), NoValue> {
    let mut depth = 0_usize;
    for (index, letter) in signature.char_indices() {
        match letter {
            'a' => continue,
            '(' | '{' => depth += 1,
            ')' | '}' => depth = depth.checked_sub(1).ok_or(NoValue)?,
            _ => {}
        }
        if depth == 0 {
            return signature
                .split_at_checked(index + letter.len_utf8())
                .ok_or(NoValue);
        }
    }
    Err(NoValue)
}

impl<'a> Decoder<'a> {
    /// Reads `bytes`, aligned from their beginning.
    #[must_use]
    pub fn new(bytes: &'a [u8], order: Order) -> Self {
        Self {
            bytes,
            at: 0,
            order,
        }
    }

    /// How far it has read.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// Passes over padding.
    ///
    /// # Errors
    /// [`NoValue`] where the bytes end before.
    pub fn align(&mut self, to: usize) -> Result<(), NoValue> {
        let next = self.at.next_multiple_of(to);
        let inside = next <= self.bytes.len();
        self.at = next;
        inside.then_some(()).ok_or(NoValue)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], NoValue> {
        let end = self.at.checked_add(length).ok_or(NoValue)?;
        let taken = self.bytes.get(self.at..end).ok_or(NoValue)?;
        self.at = end;
        Ok(taken)
    }

    /// The low `N` bytes of a number.
    fn number<const N: usize>(&mut self) -> Result<u64, NoValue> {
        self.align(N)?;
        let taken = self.take(N)?.iter();
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Ok(match self.order {
            Order::Little => taken.rev().fold(0, add),
            Order::Big => taken.fold(0, add),
        })
    }

    /// A `u`.
    ///
    /// # Errors
    /// [`NoValue`] where the bytes end before.
    pub fn length(&mut self) -> Result<usize, NoValue> {
        usize::try_from(self.number::<4>()?).map_err(|_| NoValue)
    }

    /// All values of a signature.
    ///
    /// # Errors
    /// [`NoValue`].
    pub fn values(&mut self, signature: &str) -> Result<Vec<Value>, NoValue> {
        self.several(signature, 0)
    }

    fn several(&mut self, mut signature: &str, depth: usize) -> Result<Vec<Value>, NoValue> {
        let mut values = Vec::new();
        while !signature.is_empty() {
            let (first, rest) = first_type(signature)?;
            values.push(self.value(first, depth)?);
            signature = rest;
        }
        Ok(values)
    }

    fn value(&mut self, kind: &str, depth: usize) -> Result<Value, NoValue> {
        if depth > DEEPEST {
            return Err(NoValue);
        }
        let letter = kind.chars().next().ok_or(NoValue)?;
        let inside = || kind.get(1..kind.len() - 1).ok_or(NoValue);
        Ok(match letter {
            'y' => Value::Byte(*self.take(1)?.first().ok_or(NoValue)?),
            'b' => Value::Bool(self.number::<4>()? != 0),
            'n' => Value::Signed(
                letter,
                narrow::<u16>(self.number::<2>()?)?.cast_signed().into(),
            ),
            'i' => Value::Signed(
                letter,
                narrow::<u32>(self.number::<4>()?)?.cast_signed().into(),
            ),
            'x' => Value::Signed(letter, self.number::<8>()?.cast_signed()),
            'q' => Value::Unsigned(letter, self.number::<2>()?),
            'u' | 'h' => Value::Unsigned(letter, self.number::<4>()?),
            't' => Value::Unsigned(letter, self.number::<8>()?),
            'd' => Value::Double(f64::from_bits(self.number::<8>()?)),
            's' | 'o' => {
                let length = self.length()?;
                Value::Text(letter, self.text(length)?)
            }
            'g' => {
                let length = *self.take(1)?.first().ok_or(NoValue)?;
                Value::Text(letter, self.text(length.into())?)
            }
            'v' => {
                let length = *self.take(1)?.first().ok_or(NoValue)?;
                let kind = self.text(length.into())?;
                let (first, rest) = first_type(&kind)?;
                if !rest.is_empty() {
                    return Err(NoValue);
                }
                Value::Variant(Box::new(self.value(first, depth + 1)?))
            }
            'a' => self.array(kind.get(1..).ok_or(NoValue)?, depth)?,
            '(' => {
                self.align(8)?;
                Value::Struct(self.several(inside()?, depth + 1)?)
            }
            '{' => {
                self.align(8)?;
                let (key, value) = first_type(inside()?)?;
                let (value, rest) = first_type(value)?;
                if !rest.is_empty() {
                    return Err(NoValue);
                }
                let key = self.value(key, depth + 1)?;
                Value::Entry(Box::new((key, self.value(value, depth + 1)?)))
            }
            _ => return Err(NoValue),
        })
    }

    fn text(&mut self, length: usize) -> Result<String, NoValue> {
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| NoValue)?;
        self.take(1)?;
        Ok(text.to_owned())
    }

    fn array(&mut self, of: &str, depth: usize) -> Result<Value, NoValue> {
        let length = self.length()?;
        if of == "y" {
            return Ok(Value::Bytes(self.take(length)?.to_vec()));
        }
        self.align(of.chars().next().map_or(1, alignment))?;
        let end = self.at.checked_add(length).ok_or(NoValue)?;
        if end > self.bytes.len() {
            return Err(NoValue);
        }
        let mut elements = Vec::new();
        while self.at < end {
            let before = self.at;
            elements.push(self.value(of, depth + 1)?);
            // An empty structure takes no bytes and would go on for ever.
            if self.at == before {
                return Err(NoValue);
            }
        }
        match self.at == end {
            true => Ok(Value::Array(of.to_owned(), elements)),
            false => Err(NoValue),
        }
    }
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
