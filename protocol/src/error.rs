//! Why bytes are not a message of this protocol. Carries no content of the message, so that it may be logged.

/// What is wrong with received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Shorter or longer than the format allows, or not one of the fixed sizes.
    #[error("wrong length")]
    Length,
    /// Unknown format, suite or message type.
    #[error("unknown format, suite or type")]
    Format,
    /// The padding is not all zero, or hides a length beyond its bucket.
    #[error("bad padding")]
    Padding,
    /// Not deterministic CBOR (RFC 8949 §4.2): longer than needed, unsorted, indefinite, too deep, or a type that is not used here.
    #[error("not canonical CBOR")]
    NotCanonical,
    /// A required field is missing, of the wrong type or out of its range.
    #[error("field {0} missing or out of range")]
    Field(i64),
    /// A field that this version does not know.
    #[error("unknown field {0}")]
    UnknownField(i64),
    /// The COSE header is not exactly the one this suite prescribes.
    #[error("unexpected COSE header")]
    Header,
    /// The seal does not open with the key at hand.
    #[error("cannot be opened with this key")]
    Seal,
    /// The signature does not verify.
    #[error("bad signature")]
    Signature,
    /// It names another account, device or epoch.
    #[error("meant for another account, device or epoch")]
    Misdirected,
    /// More entries than the protocol allows.
    #[error("too many entries")]
    TooMany,
}
