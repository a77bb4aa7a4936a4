//! Identifiers, each a fixed number of random or derived bytes shown as lower-case hexadecimal. No meaning is hidden in them.

use core::fmt;
use core::str::FromStr;

/// A text is not the expected number of hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} hexadecimal digits")]
pub struct NotAnId {
    /// How many digits this kind of id has.
    pub expected: usize,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// A fresh random one.
            #[must_use]
            pub fn random(rng: &mut impl crate::rand_core::CryptoRng) -> Self {
                let mut bytes = [0; $len];
                rng.fill_bytes(&mut bytes);
                Self(bytes)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
        impl FromStr for $name {
            type Err = NotAnId;
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let wrong = NotAnId { expected: 2 * $len };
                if text.len() != 2 * $len || !text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
                    return Err(wrong);
                }
                let mut bytes = [0; $len];
                for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
                    let digits = core::str::from_utf8(pair).map_err(|_| wrong)?;
                    *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong)?;
                }
                Ok(Self(bytes))
            }
        }
    };
}

id!(
    /// One owner's account: 16 random bytes.
    AccountId, 16
);
id!(
    /// One enrolled phone: 16 random bytes. Also its MQTT client id and the common name of its TLS certificate.
    DeviceId, 16
);
id!(
    /// One owner client: the first 16 bytes of SHA-256 over its Ed25519 public key.
    ClientId, 16
);
id!(
    /// One sequence space of a client: 8 random bytes made once for each key store.
    SessionId, 8
);
id!(
    /// One command, the idempotency key: 16 random bytes that stay the same when it is signed again.
    CommandId, 16
);
id!(
    /// A public key's short name in an envelope: the first 8 bytes of SHA-256 over it.
    KeyId, 8
);
id!(
    /// The random part of a beacon that a command quotes: 16 bytes.
    BeaconNonce, 16
);
id!(
    /// One start of a phone, made anew by its kernel at each boot: 16 bytes.
    BootId, 16
);
