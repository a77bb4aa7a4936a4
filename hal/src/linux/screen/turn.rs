//! Upright grey pixels as a panel's own: turned as it is built in, in its format and stride. Pure.

use crate::capability::panel::{Frame, Rotation};

/// How a panel's pixels lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Four bytes, little endian: blue, green, red, unused.
    Xrgb8888,
    /// Two bytes, little endian: 5 bits red, 6 green, 5 blue.
    Rgb565,
}

impl Format {
    /// Bytes of a pixel.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::Xrgb8888 => 4,
            Self::Rgb565 => 2,
        }
    }
}

/// The memory of a panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Pixels in a row of the panel's own.
    pub width_px: usize,
    /// Rows.
    pub height_px: usize,
    /// Bytes from one row to the next.
    pub stride: usize,
    /// What a pixel is.
    pub format: Format,
}

/// Writes an upright frame into a panel's memory. What does not fit is left out.
pub fn blit(frame: &Frame, rotation: Rotation, memory: Memory, into: &mut [u8]) {
    let (width, height) = (usize::from(frame.width_px), usize::from(frame.height_px));
    let bytes = memory.format.bytes();
    for (y, row) in into
        .chunks_mut(memory.stride.max(1))
        .take(memory.height_px)
        .enumerate()
    {
        let pixels = row.chunks_exact_mut(bytes).take(memory.width_px);
        if rotation == Rotation::Upright {
            let from = frame.luma.get(y * width..).unwrap_or_default();
            let shades = from.iter().take(width).copied().chain(std::iter::repeat(0));
            for (pixel, luma) in pixels.zip(shades) {
                put(pixel, memory.format, luma);
            }
            continue;
        }
        for (x, pixel) in pixels.enumerate() {
            let (at_x, at_y) = match rotation {
                Rotation::Upright => (Some(x), Some(y)),
                Rotation::Right => (height_from(width, y), Some(x)),
                Rotation::UpsideDown => (height_from(width, x), height_from(height, y)),
                Rotation::Left => (Some(y), height_from(height, x)),
            };
            let luma = match (at_x, at_y) {
                (Some(x), Some(y)) if x < width => frame.luma.get(y * width + x).copied(),
                _ => None,
            };
            put(pixel, memory.format, luma.unwrap_or(0));
        }
    }
}

/// Counted from the other end.
fn height_from(length: usize, at: usize) -> Option<usize> {
    length.checked_sub(at + 1)
}

fn put(pixel: &mut [u8], format: Format, luma: u8) {
    match format {
        Format::Xrgb8888 => pixel.copy_from_slice(&[luma, luma, luma, 0]),
        Format::Rgb565 => {
            let [five, six] = [u16::from(luma >> 3), u16::from(luma >> 2)];
            pixel.copy_from_slice(&(five << 11 | six << 5 | five).to_le_bytes());
        }
    }
}

/// The upright size of a panel whose own is this.
#[must_use]
pub fn upright<T>((width, height): (T, T), rotation: Rotation) -> (T, T) {
    match rotation {
        Rotation::Upright | Rotation::UpsideDown => (width, height),
        Rotation::Right | Rotation::Left => (height, width),
    }
}

/// A point of the panel's own (0 to 1) as the upright one.
#[must_use]
pub fn upright_point((x, y): (f32, f32), rotation: Rotation) -> (f32, f32) {
    match rotation {
        Rotation::Upright => (x, y),
        Rotation::Right => (1.0 - y, x),
        Rotation::UpsideDown => (1.0 - x, 1.0 - y),
        Rotation::Left => (y, 1.0 - x),
    }
}

/// The rotation that the kernel's property `panel orientation` names by the side of the panel that is up.
#[must_use]
pub fn of_orientation(name: &str) -> Rotation {
    match name {
        "Upside Down" => Rotation::UpsideDown,
        "Left Side Up" => Rotation::Right,
        "Right Side Up" => Rotation::Left,
        _ => Rotation::Upright,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Upright: the four corners 1 2 / 3 4 of a picture of 2 × 3.
    fn corners() -> Frame {
        Frame {
            width_px: 2,
            height_px: 3,
            luma: vec![10, 20, 0, 0, 30, 40],
        }
    }

    fn shown(rotation: Rotation) -> Vec<Vec<u8>> {
        let (width_px, height_px) = upright((2, 3), rotation);
        let memory = Memory {
            width_px,
            height_px,
            stride: 16,
            format: Format::Xrgb8888,
        };
        let mut bytes = vec![7; 16 * height_px];
        blit(&corners(), rotation, memory, &mut bytes);
        bytes
            .chunks(16)
            .map(|row| row.chunks(4).take(width_px).map(|pixel| pixel[0]).collect())
            .collect()
    }

    #[test]
    fn a_picture_is_upright_however_the_panel_is_built_in() {
        assert_eq!(
            shown(Rotation::Upright),
            [vec![10, 20], vec![0, 0], vec![30, 40]]
        );
        assert_eq!(
            shown(Rotation::UpsideDown),
            [vec![40, 30], vec![0, 0], vec![20, 10]]
        );
        // Its first row is at the right: it holds the upright right column, top down.
        assert_eq!(shown(Rotation::Right), [vec![20, 0, 40], vec![10, 0, 30]]);
        // Its first row is at the left: the upright left column, bottom up.
        assert_eq!(shown(Rotation::Left), [vec![30, 0, 10], vec![40, 0, 20]]);
    }

    #[test]
    fn a_finger_is_found_where_the_picture_is() {
        for rotation in [
            Rotation::Upright,
            Rotation::Right,
            Rotation::UpsideDown,
            Rotation::Left,
        ] {
            let (width, height) = upright((8_usize, 12_usize), rotation);
            let mut frame = Frame {
                width_px: 8,
                height_px: 12,
                luma: vec![0; 96],
            };
            frame.luma[2 * 8 + 6] = 255;
            let memory = Memory {
                width_px: width,
                height_px: height,
                stride: width * 2,
                format: Format::Rgb565,
            };
            let mut bytes = vec![0; width * height * 2];
            blit(&frame, rotation, memory, &mut bytes);
            let at = bytes.iter().position(|byte| *byte == 255).unwrap() / 2;
            #[expect(clippy::cast_precision_loss, reason = "twelve pixels")]
            let part = |at: usize, whole: usize| (at as f32 + 0.5) / whole as f32;
            let finger = (part(at % width, width), part(at / width, height));
            let (x, y) = upright_point(finger, rotation);
            assert!((x - 6.5 / 8.0).abs() < 0.01 && (y - 2.5 / 12.0).abs() < 0.01);
        }
    }

    #[test]
    fn memory_that_is_too_small_or_too_large_is_no_trouble() {
        let memory = Memory {
            width_px: 5,
            height_px: 9,
            stride: 21,
            format: Format::Xrgb8888,
        };
        for length in [0, 1, 20, 21, 400] {
            blit(&corners(), Rotation::Right, memory, &mut vec![0; length]);
        }
        assert_eq!(of_orientation("Left Side Up"), Rotation::Right);
        assert_eq!(of_orientation("Normal"), Rotation::Upright);
    }
}
