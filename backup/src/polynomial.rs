//! Polynomials over GF(2) up to degree 63, and the choice of a random irreducible one. Cuts nothing by itself.

use crate::crypto::fill_random;
use crate::error::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The degree the format prescribes.
pub const DEGREE: u32 = 53;
/// One number in 53 of that degree is irreducible; a million tries without one is a broken source of randomness.
const TRIES: u32 = 1_000_000;

/// Bit i is the coefficient of x^i. Printed in hexadecimal, as in a repository's config.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Polynomial(pub u64);

impl Polynomial {
    /// A random irreducible polynomial of degree 53.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn random() -> Result<Self> {
        for _ in 0..TRIES {
            let mut bytes = [0; 8];
            fill_random(&mut bytes)?;
            // Degree 53 exactly, and a constant term: without one, x divides it.
            let candidate = Self(u64::from_le_bytes(bytes) & ((1 << DEGREE) - 1) | 1 << DEGREE | 1);
            if candidate.irreducible() {
                return Ok(candidate);
            }
        }
        Err(Error::NoRandomness)
    }

    /// The highest power with a coefficient; 0 for a constant.
    #[must_use]
    pub const fn degree(self) -> u32 {
        match self.0.checked_ilog2() {
            Some(degree) => degree,
            None => 0,
        }
    }

    /// The remainder of dividing by `divisor`, which must not be zero.
    #[must_use]
    pub const fn modulo(self, divisor: Self) -> Self {
        let mut rest = self.0;
        let degree = divisor.degree();
        while rest >> degree != 0 {
            rest ^= divisor.0 << (Self(rest).degree() - degree);
            if degree == 0 {
                return Self(0);
            }
        }
        Self(rest)
    }

    fn times(self, other: Self, modulus: Self) -> Self {
        let mut sum = 0;
        let mut shifted = self.modulo(modulus).0;
        for bit in 0..64 {
            if other.0 >> bit & 1 == 1 {
                sum ^= shifted;
            }
            shifted <<= 1;
            if shifted >> modulus.degree() & 1 == 1 {
                shifted ^= modulus.0;
            }
        }
        Self(sum)
    }

    fn common_divisor(self, other: Self) -> Self {
        let (mut a, mut b) = (self, other);
        while b.0 != 0 {
            (a, b) = (b, a.modulo(b));
        }
        a
    }

    /// Ben-Or's test: no common divisor with x^(2^i) − x for i up to half the degree.
    #[must_use]
    pub fn irreducible(self) -> bool {
        const X: Polynomial = Polynomial(2);
        if self.degree() == 0 {
            return false;
        }
        let mut power = X.modulo(self);
        for _ in 0..self.degree() / 2 {
            power = power.times(power, self);
            let difference = Self(power.0 ^ X.0).modulo(self);
            if self.common_divisor(difference).0 != 1 {
                return false;
            }
        }
        true
    }
}

impl Serialize for Polynomial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Polynomial {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_that_restic_made_are_irreducible() {
        // The last two are chosen by restic itself: its test polynomial and one from `restic init`.
        for good in [0b111, 0b1011, 0x003D_A335_8B4D_C173, 0x003f_1d5c_2c6e_89ff] {
            assert!(Polynomial(good).irreducible(), "{good:x}");
        }
        for bad in [0, 1, 0b101, 0b110, 0x003D_A335_8B4D_C175, 1 << 53] {
            assert!(!Polynomial(bad).irreducible(), "{bad:x}");
        }
    }

    #[test]
    fn a_random_polynomial_has_the_degree_of_the_format() {
        let polynomial = Polynomial::random().unwrap();
        assert_eq!(polynomial.degree(), DEGREE);
        assert!(polynomial.irreducible());
    }

    #[test]
    fn the_remainder_is_smaller_than_the_divisor() {
        for (value, divisor, rest) in [
            (7, 3, 1),
            (7, 2, 1),
            (16, 8, 0),
            (19, 8, 3),
            (19, 4, 3),
            (5, 1, 0),
        ] {
            assert_eq!(Polynomial(value).modulo(Polynomial(divisor)).0, rest);
        }
    }
}
