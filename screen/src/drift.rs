//! Burn-in care: the whole picture wanders slowly by a few pixels, so that no edge stands for hours on the same ones. Pure.

/// Steps that the picture takes on each axis; both are primes, so that every pair of positions comes.
const STEPS: [i32; 2] = [13, 17];

/// Where the picture stands in this minute of the episode: an offset of at most `reach_px` on each axis.
#[must_use]
pub fn offset_px(minute: u64, reach_px: i32) -> (i32, i32) {
    let [across, down] = STEPS.map(|steps| {
        // Forth and back, so that it never jumps.
        let at = i32::try_from(minute % (2 * u64::from(steps.unsigned_abs()))).unwrap_or(0);
        let at = if at <= steps { at } else { 2 * steps - at };
        (2 * at - steps) * reach_px / steps
    });
    (across, down)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_picture_wanders_by_small_steps_within_its_reach() {
        let places: Vec<_> = (0..10_000).map(|minute| offset_px(minute, 10)).collect();
        for pair in places.windows(2) {
            let [(ax, ay), (bx, by)] = pair else { continue };
            assert!((ax - bx).abs() <= 2 && (ay - by).abs() <= 2);
            assert!(ax.abs() <= 10 && ay.abs() <= 10);
        }
        let different: BTreeSet<_> = places.iter().collect();
        assert!(different.len() > 100, "{}", different.len());
    }
}
