//! The two secrets that live on paper, with check digits against typing mistakes. Nothing here opens anything.

use crate::Malformed;
use crate::keys::sha256;
use crate::rand_core::CryptoRng;
use zeroize::Zeroizing;

/// The 128-bit secret on enrolled clients and on the printed kit; second half of the full key.
#[derive(Clone)]
pub struct KitSecret(pub Zeroizing<[u8; 16]>);

/// The 160-bit code on paper that opens everything without the passphrase.
#[derive(Clone)]
pub struct RecoveryCode(pub Zeroizing<[u8; 20]>);

macro_rules! paper_secret {
    ($name:ident, $len:literal, $sum:literal) => {
        impl $name {
            /// A fresh one.
            #[must_use]
            pub fn generate(rng: &mut impl CryptoRng) -> Self {
                let mut bytes = Zeroizing::new([0; $len]);
                rng.fill_bytes(bytes.as_mut());
                Self(bytes)
            }
            /// For paper: hexadecimal digits in groups of four; the last group is the first two bytes of SHA-256 over the secret, which notices typing mistakes.
            #[must_use]
            pub fn to_text(&self) -> Zeroizing<String> {
                let check = sha256(self.0.as_ref());
                let bytes = self.0.iter().chain(&check[..$sum]);
                let digits: Zeroizing<String> =
                    Zeroizing::new(bytes.map(|byte| format!("{byte:02x}")).collect());
                let groups: Vec<&str> = digits
                    .as_bytes()
                    .chunks(4)
                    .filter_map(|group| core::str::from_utf8(group).ok())
                    .collect();
                Zeroizing::new(groups.join("-"))
            }
            /// From paper: spaces, dashes and case do not matter.
            ///
            /// # Errors
            /// [`Malformed::Length`] for a wrong number of digits, [`Malformed::Field`] when the check digits do not fit (a typing mistake).
            pub fn from_text(text: &str) -> Result<Self, Malformed> {
                let digits: Zeroizing<String> = Zeroizing::new(
                    text.chars()
                        .filter(|c| !c.is_whitespace() && *c != '-')
                        .collect(),
                );
                if !digits.bytes().all(|digit| digit.is_ascii_hexdigit())
                    || digits.len() != 2 * ($len + $sum)
                {
                    return Err(Malformed::Length);
                }
                let mut bytes = Zeroizing::new([0u8; $len + $sum]);
                for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
                    let pair = core::str::from_utf8(pair).map_err(|_| Malformed::Length)?;
                    *byte = u8::from_str_radix(pair, 16).map_err(|_| Malformed::Length)?;
                }
                let (secret, check) = bytes.split_at($len);
                if sha256(secret)[..$sum] != *check {
                    return Err(Malformed::Field(0));
                }
                let mut out = Zeroizing::new([0; $len]);
                out.copy_from_slice(secret);
                Ok(Self(out))
            }
        }
        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(concat!(stringify!($name), "(secret)"))
            }
        }
    };
}
paper_secret!(KitSecret, 16, 2);
paper_secret!(RecoveryCode, 20, 2);
