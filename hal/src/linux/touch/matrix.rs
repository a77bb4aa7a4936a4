//! The calibration of a touch panel, as the device database of udev names it: a matrix that turns or mirrors its places. Pure, but for reading that file.

use std::fs;
use std::path::Path;

/// The first two rows of the matrix, in the order in which the property lists them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Matrix([f32; 6]);

/// Nothing is changed.
pub(super) const IDENTITY: Matrix = Matrix([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);

impl Matrix {
    /// From `a b c d e f`; `None` for anything else than six finite numbers.
    fn parse(text: &str) -> Option<Self> {
        let numbers: Vec<f32> = text
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()
            .ok()?;
        let numbers: [f32; 6] = numbers.try_into().ok()?;
        numbers
            .iter()
            .all(|number| number.is_finite())
            .then_some(Self(numbers))
    }

    /// That of a device, by the numbers of its node; the identity where there is none.
    pub(super) fn of_device(run: &Path, (major, minor): (u64, u64)) -> Self {
        let path = run.join(format!("udev/data/c{major}:{minor}"));
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix("E:LIBINPUT_CALIBRATION_MATRIX="))
            .and_then(Self::parse)
            .unwrap_or(IDENTITY)
    }

    /// A place (0 to 1) as it is meant.
    pub(super) fn apply(&self, (x, y): (f32, f32)) -> (f32, f32) {
        let [a, b, c, d, e, f] = self.0;
        let meant = (a * x + b * y + c, d * x + e * y + f);
        (meant.0.clamp(0.0, 1.0), meant.1.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panel_that_is_built_in_the_wrong_way_is_put_right_by_its_matrix() {
        let run = tempfile::tempdir().unwrap();
        let data = run.path().join("udev/data");
        fs::create_dir_all(&data).unwrap();
        fs::write(
            data.join("c13:66"),
            "I:1234\nE:ID_INPUT_TOUCHSCREEN=1\nE:LIBINPUT_CALIBRATION_MATRIX=0 -1 1 1 0 0\n",
        )
        .unwrap();
        fs::write(
            data.join("c13:67"),
            "E:LIBINPUT_CALIBRATION_MATRIX=0 -1 NaN 1 0 0\n",
        )
        .unwrap();
        let matrix = Matrix::of_device(run.path(), (13, 66));
        let (x, y) = matrix.apply((0.25, 0.1));
        assert!((x - 0.9).abs() < 1e-6 && (y - 0.25).abs() < 1e-6);
        assert_eq!(Matrix::of_device(run.path(), (13, 67)), IDENTITY);
        assert_eq!(Matrix::of_device(run.path(), (13, 68)), IDENTITY);
        assert_eq!(IDENTITY.apply((0.5, 2.0)), (0.5, 1.0));
    }
}
