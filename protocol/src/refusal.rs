//! Why a phone does not carry out a message: one stable word each, the same on the wire, in logs and on the owner's screen.

macro_rules! refusals {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $word:literal;)+) => {
        /// One reason; its number crosses the wire and never changes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Refusal { $($(#[$doc])* $variant = $code),+ }
        impl Refusal {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// The stable word.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
            /// Its code on the wire.
            #[must_use]
            pub const fn code(self) -> u64 { self as u64 }
            /// The reason with this code, if this version knows it.
            #[must_use]
            pub fn from_code(code: u64) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.code() == code)
            }
        }
    };
}
refusals! {
    /// The bytes are no message of this protocol.
    Malformed = 1, "malformed";
    /// Sealed to a key that is not this phone's.
    WrongKey = 2, "wrong-key";
    /// The seal does not open.
    Unsealable = 3, "unsealable";
    /// The CBOR inside is not the deterministic encoding.
    NotCanonical = 4, "not-canonical";
    /// The signer is not in the authority list.
    UnknownClient = 5, "unknown-client";
    /// The signature does not verify.
    BadSignature = 6, "bad-signature";
    /// Another account, device or enrolment epoch.
    Misdirected = 7, "misdirected";
    /// The signer lacks the capability.
    NotAllowed = 8, "not-allowed";
    /// This sequence number was used before by another command.
    Replayed = 9, "replayed";
    /// Older than the window of sequence numbers; sign again with a new number.
    SeqTooOld = 10, "seq-too-old";
    /// A new session must quote a beacon this phone still knows.
    UnknownBeacon = 11, "unknown-beacon";
    /// It needs a newer authority list than this phone has.
    NeedAuthority = 12, "need-authority";
    /// The phone's state is older than the owner's knowledge of it; sensitive commands wait for `resume`.
    RolledBack = 13, "rolled-back";
    /// Its time has passed by a clock that may be trusted.
    Expired = 14, "expired";
    /// This version of the phone cannot do it.
    Unsupported = 15, "unsupported";
    /// Too many commands wait already.
    Busy = 16, "busy";
    /// A parameter is out of its range.
    BadParameter = 17, "bad-parameter";
    /// A version number that was used before with other content.
    Forked = 18, "forked";
    /// A version number lower than the one in force.
    Stale = 19, "stale";
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.word())
    }
}

impl From<crate::Malformed> for Refusal {
    fn from(fault: crate::Malformed) -> Self {
        use crate::Malformed as M;
        match fault {
            M::Length
            | M::Format
            | M::Padding
            | M::Header
            | M::Field(_)
            | M::UnknownField(_)
            | M::TooMany => Self::Malformed,
            M::NotCanonical => Self::NotCanonical,
            M::Seal => Self::Unsealable,
            M::Signature => Self::BadSignature,
            M::Misdirected => Self::Misdirected,
        }
    }
}
