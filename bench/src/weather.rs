//! A bad network with a seed: the same seed makes the same stalls. It must not use real randomness.

use e2e::TcpProxy;
use std::time::Duration;

/// The seed of every run.
pub(crate) const SEED: u64 = 7;

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The sequence of this seed.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number of the sequence.
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A time from `low` up to but not including `high`, in steps of a millisecond.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(low + self.next() % (high - low))
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.next().is_multiple_of(times)
    }
}

/// One stall of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stall {
    after: Duration,
    lasts: Duration,
}

impl Stall {
    /// For one order in four, which is about what 5 % loss does to an exchange of six packets (1 − 0.95⁶ = 26 %): a
    /// stall of 0.2 to 1 s, where TCP would send again after 0.2 s at the least (RFC 6298), that begins within the
    /// 300 ms in which the order and its answer travel.
    pub(crate) fn draw(dice: &mut Dice) -> Option<Self> {
        let (hit, after, lasts) = (
            dice.once_in(4),
            dice.between(0, 300),
            dice.between(200, 1000),
        );
        hit.then_some(Self { after, lasts })
    }

    /// Lets it happen.
    pub(crate) async fn strike(self, proxy: &TcpProxy) {
        tokio::time::sleep(self.after).await;
        proxy.stall();
        tokio::time::sleep(self.lasts).await;
        proxy.open();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_stalls_the_same_quarter_of_the_orders() {
        let draw = || -> Vec<Option<Stall>> {
            let mut dice = Dice::new(SEED);
            (0..400).map(|_| Stall::draw(&mut dice)).collect()
        };
        assert_eq!(draw(), draw());
        let hit = draw().into_iter().flatten().count();
        assert!((70..=130).contains(&hit), "{hit} of 400");
    }
}
