//! D-Bus messages and their bytes. Pure; a message is bounded before it is held.

use super::value::{Decoder, Encoder, NoValue, Order, Value, signature};

/// Longest message that is taken, bytes: all that ModemManager knows of a modem is some ten kilobytes.
pub const LONGEST: usize = 256 * 1024;
/// The part of a message that tells how long the rest is.
pub const PROLOGUE: usize = 16;
/// Longest message and longest array that a bus passes on, bytes (D-Bus specification, "Message Format" and "Marshaling").
const LONGEST_ON_A_BUS: usize = 1 << 27;
const LONGEST_ARRAY: usize = 1 << 26;

/// How long a message is, bytes; it may be longer than [`LONGEST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What comes before the body: who sent it, what it answers.
    pub head: usize,
    /// All of it.
    pub whole: usize,
}

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It wants an answer.
    Call = 1,
    /// The answer.
    Return = 2,
    /// The answer that there is none.
    Error = 3,
    /// News that nobody asked for.
    Signal = 4,
}

/// A message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// What it is for.
    pub kind: Kind,
    /// Its number among its sender's.
    pub serial: u32,
    /// The number of the call that it answers.
    pub answers: Option<u32>,
    /// The object.
    pub path: Option<String>,
    /// The interface.
    pub interface: Option<String>,
    /// The method.
    pub member: Option<String>,
    /// The error's name.
    pub error: Option<String>,
    /// For whom it is.
    pub destination: Option<String>,
    /// Who sent it; the bus says so.
    pub sender: Option<String>,
    /// What it carries.
    pub body: Vec<Value>,
}

impl Message {
    /// A message of this kind that says nothing yet.
    #[must_use]
    pub fn new(kind: Kind, serial: u32) -> Self {
        Self {
            kind,
            serial,
            answers: None,
            path: None,
            interface: None,
            member: None,
            error: None,
            destination: None,
            sender: None,
            body: Vec::new(),
        }
    }

    /// Its bytes, little-endian.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Encoder::default();
        self.body.iter().for_each(|value| body.value(value));
        let body = body.into_bytes();
        let mut fields = Vec::new();
        let mut field = |code: u8, letter: char, text: &Option<String>| {
            if let Some(text) = text {
                fields.push((code, Value::Text(letter, text.clone())));
            }
        };
        field(1, 'o', &self.path);
        field(2, 's', &self.interface);
        field(3, 's', &self.member);
        field(4, 's', &self.error);
        field(6, 's', &self.destination);
        if let Some(answers) = self.answers {
            fields.push((5, Value::number(answers)));
        }
        if !self.body.is_empty() {
            fields.push((8, Value::Text('g', signature(&self.body))));
        }
        let fields = fields.into_iter().map(|(code, value)| {
            Value::Struct(vec![Value::Byte(code), Value::Variant(Box::new(value))])
        });
        let mut all = Encoder::default();
        // Byte order, kind, no flags, version 1.
        all.raw(&[b'l', self.kind as u8, 0, 1]);
        all.length(body.len());
        all.length(usize::try_from(self.serial).unwrap_or(1));
        all.value(&Value::Array("(yv)".into(), fields.collect()));
        all.align(8);
        all.raw(&body);
        all.into_bytes()
    }

    /// How long the message is whose first [`PROLOGUE`] bytes these are.
    ///
    /// # Errors
    /// [`NoValue`] where it is none that a bus may pass on.
    pub fn frame(prologue: &[u8; PROLOGUE]) -> Result<Frame, NoValue> {
        let order = order(prologue[0])?;
        let mut decoder = Decoder::new(prologue, order);
        let head = decoder.values("yyyyuuu")?;
        let number = |index: usize| head.get(index).and_then(Value::as_u32).unwrap_or(u32::MAX);
        let (body, fields) = (number(4) as usize, number(6) as usize);
        if number(3) != 1 || body > LONGEST_ON_A_BUS || fields > LONGEST_ARRAY {
            return Err(NoValue);
        }
        let head = (PROLOGUE + fields).next_multiple_of(8);
        let whole = head + body;
        (whole <= LONGEST_ON_A_BUS)
            .then_some(Frame { head, whole })
            .ok_or(NoValue)
    }

    /// Reads a whole message; `None` for a kind of a later version, which is to be passed over.
    ///
    /// # Errors
    /// [`NoValue`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Option<Self>, NoValue> {
        let mut decoder = Decoder::new(bytes, order(*bytes.first().ok_or(NoValue)?)?);
        let Some((mut message, kinds)) = Self::head(&mut decoder)? else {
            return Ok(None);
        };
        message.body = decoder.values(&kinds)?;
        Ok(Some(message))
    }

    /// The call that a message answers, by its head alone; `None` where it answers none or cannot be read.
    #[must_use]
    pub fn answered(head: &[u8]) -> Option<u32> {
        let mut decoder = Decoder::new(head, order(*head.first()?).ok()?);
        let (message, _) = Self::head(&mut decoder).ok()??;
        message.answers
    }

    /// All but the body, and of what kinds that is.
    fn head(decoder: &mut Decoder<'_>) -> Result<Option<(Self, String)>, NoValue> {
        let head = decoder.values("yyyyuua(yv)")?;
        decoder.align(8)?;
        let number = |index: usize| head.get(index).and_then(Value::as_u32).ok_or(NoValue);
        let kind = match number(1)? {
            1 => Kind::Call,
            2 => Kind::Return,
            3 => Kind::Error,
            4 => Kind::Signal,
            _ => return Ok(None),
        };
        let mut message = Self::new(kind, number(5)?);
        let mut kinds = String::new();
        for field in head.get(6).ok_or(NoValue)?.elements() {
            let Value::Struct(field) = field else {
                return Err(NoValue);
            };
            let (Some(code), Some(value)) = (field.first().and_then(Value::as_u32), field.get(1))
            else {
                return Err(NoValue);
            };
            let text = value.as_text().map(str::to_owned);
            match code {
                1 => message.path = text,
                2 => message.interface = text,
                3 => message.member = text,
                4 => message.error = text,
                5 => message.answers = value.as_u32(),
                6 => message.destination = text,
                7 => message.sender = text,
                8 => kinds = text.unwrap_or_default(),
                _ => {}
            }
        }
        Ok(Some((message, kinds)))
    }
}

fn order(letter: u8) -> Result<Order, NoValue> {
    match letter {
        b'l' => Ok(Order::Little),
        b'B' => Ok(Order::Big),
        _ => Err(NoValue),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn call() -> Message {
        Message {
            path: Some("/org/freedesktop/DBus".into()),
            interface: Some("org.freedesktop.DBus".into()),
            member: Some("GetNameOwner".into()),
            destination: Some("org.freedesktop.DBus".into()),
            body: vec![Value::text("a.b"), Value::number(4), Value::Bool(true)],
            ..Message::new(Kind::Call, 7)
        }
    }

    #[test]
    fn a_message_comes_back_and_states_its_length() {
        let bytes = call().to_bytes();
        let prologue: [u8; PROLOGUE] = bytes[..PROLOGUE].try_into().unwrap();
        let frame = Message::frame(&prologue).unwrap();
        assert_eq!(frame.whole, bytes.len());
        assert_eq!(Message::answered(&bytes[..frame.head]), None);
        assert_eq!(Message::from_bytes(&bytes), Ok(Some(call())));
        for end in 0..bytes.len() {
            assert!(Message::from_bytes(&bytes[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn a_message_that_announces_too_much_is_none() {
        let mut bytes: [u8; PROLOGUE] = call().to_bytes()[..PROLOGUE].try_into().unwrap();
        bytes[7] = 1;
        assert!(Message::frame(&bytes).unwrap().whole > LONGEST);
        bytes[7] = 9;
        assert_eq!(Message::frame(&bytes), Err(NoValue));
        assert_eq!(Message::frame(&[0; PROLOGUE]), Err(NoValue));
    }

    #[test]
    fn the_head_alone_tells_what_a_message_answers() {
        let mut answer = Message::new(Kind::Return, 9);
        answer.answers = Some(7);
        answer.body = vec![Value::text("long")];
        let bytes = answer.to_bytes();
        let prologue: [u8; PROLOGUE] = bytes[..PROLOGUE].try_into().unwrap();
        let head = Message::frame(&prologue).unwrap().head;
        assert_eq!(Message::answered(&bytes[..head]), Some(7));
        assert_eq!(Message::answered(&bytes[..PROLOGUE]), None);
    }

    proptest! {
        #[test]
        fn a_message_with_any_bytes_changed_never_panics(
            changes in proptest::collection::vec((0_usize..200, any::<u8>()), 1..8)
        ) {
            let mut bytes = call().to_bytes();
            for (at, byte) in changes {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            let prologue: [u8; PROLOGUE] = bytes[..PROLOGUE].try_into().unwrap();
            let _ = Message::frame(&prologue);
            let _ = Message::answered(&bytes);
            let _ = Message::from_bytes(&bytes);
        }
    }
}
