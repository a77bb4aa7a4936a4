//! A panel through the kernel's older frame buffer, where there is no mode setting. Its pixels are written as a file's bytes.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::errno::Errno;
use nix::libc::{self, c_char, c_ulong};

use super::kms::Switch;
use super::turn::{self, Format, Memory};
use crate::capability::panel::{Frame, Geometry, Rotation};
use crate::fault::Fault;

// Linux include/uapi/linux/fb.h.
const GET_VARIABLE: c_ulong = 0x4600;
const GET_FIXED: c_ulong = 0x4602;
const BLANK: c_ulong = 0x4611;
const UNBLANK: c_ulong = 0;
const POWERDOWN: c_ulong = 4;

/// `struct fb_var_screeninfo`: forty numbers, of which these places count.
type Variable = [u32; 40];
const WIDTH: usize = 0;
const HEIGHT: usize = 1;
const BITS: usize = 6;
const HEIGHT_MM: usize = 22;
const WIDTH_MM: usize = 23;

/// `struct fb_fix_screeninfo`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Fixed {
    id: [c_char; 16],
    memory_start: c_ulong,
    memory_length: u32,
    kind: [u32; 3],
    pan: [u16; 3],
    stride: u32,
    registers_start: c_ulong,
    registers_length: u32,
    accelerator: u32,
    capabilities: [u16; 3],
}

/// An open frame buffer.
#[derive(Debug)]
pub(super) struct Fbdev {
    file: File,
    memory: Memory,
    size_mm: (u16, u16),
    rotation: Rotation,
}

impl Fbdev {
    /// Takes `/dev/fb0`, turned as the kernel turns its own console there.
    pub(super) fn take(dev: &Path, sys: &Path) -> Result<Self, Fault> {
        let path = dev.join("fb0");
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let file =
            file.map_err(|error| Fault::from_io(&format!("opening {}", path.display()), &error))?;
        let failed = |errno| Fault::from_errno("asking the frame buffer for its size", errno);
        let mut variable: Variable = [0; 40];
        // SAFETY: FBIOGET_VSCREENINFO writes one `struct fb_var_screeninfo`, 160 bytes.
        let result = unsafe {
            libc::ioctl(
                file.as_raw_fd(),
                GET_VARIABLE as libc::Ioctl,
                variable.as_mut_ptr(),
            )
        };
        Errno::result(result).map_err(failed)?;
        // SAFETY: every member is a number, for which zeros are a value.
        let mut fixed: Fixed = unsafe { std::mem::zeroed() };
        // SAFETY: FBIOGET_FSCREENINFO writes one `struct fb_fix_screeninfo`, which `Fixed` is.
        let result =
            unsafe { libc::ioctl(file.as_raw_fd(), GET_FIXED as libc::Ioctl, &raw mut fixed) };
        Errno::result(result).map_err(failed)?;
        let turned = std::fs::read_to_string(sys.join("class/graphics/fbcon/rotate"));
        Ok(Self {
            file,
            memory: memory(&variable, fixed.stride)?,
            size_mm: (
                millimetres(variable[WIDTH_MM]),
                millimetres(variable[HEIGHT_MM]),
            ),
            rotation: of_console(turned.unwrap_or_default().trim()),
        })
    }

    pub(super) fn rotation(&self) -> Rotation {
        self.rotation
    }

    pub(super) fn geometry(&self) -> Geometry {
        let size = (self.memory.width_px, self.memory.height_px);
        let (width, height) = turn::upright(size, self.rotation);
        let (width_mm, height_mm) = turn::upright(self.size_mm, self.rotation);
        let short = |pixels: usize| u16::try_from(pixels).unwrap_or(u16::MAX);
        Geometry {
            width_px: short(width),
            height_px: short(height),
            width_mm,
            height_mm,
        }
    }

    pub(super) fn show(&mut self, frame: &Frame) -> Result<(), Fault> {
        let mut bytes = vec![0; self.memory.stride * self.memory.height_px];
        turn::blit(frame, self.rotation, self.memory, &mut bytes);
        self.file
            .write_all_at(&bytes, 0)
            .map_err(|error| Fault::from_io("writing the frame buffer", &error))
    }

    pub(super) fn switch(&self, to: Switch) -> Result<(), Fault> {
        let blank = match to {
            Switch::On => UNBLANK,
            Switch::Off => POWERDOWN,
        };
        // SAFETY: FBIOBLANK takes its argument by value.
        let result = unsafe { libc::ioctl(self.file.as_raw_fd(), BLANK as libc::Ioctl, blank) };
        match Errno::result(result) {
            // A panel that cannot be blanked is darkened by its backlight.
            Ok(_) | Err(Errno::EINVAL | Errno::ENOTTY) => Ok(()),
            Err(errno) => Err(Fault::from_errno("blanking the frame buffer", errno)),
        }
    }
}

fn millimetres(stated: u32) -> u16 {
    // "Not known" is −1 here.
    u16::try_from(stated).unwrap_or(0)
}

fn memory(variable: &Variable, stride: u32) -> Result<Memory, Fault> {
    let format = match variable[BITS] {
        32 => Format::Xrgb8888,
        16 => Format::Rgb565,
        bits => return Err(Fault::Broken(format!("a frame buffer of {bits} bits"))),
    };
    let [width_px, height_px, stride] =
        [variable[WIDTH], variable[HEIGHT], stride].map(|size| size as usize);
    if width_px == 0 || height_px == 0 || stride < width_px * format.bytes() {
        return Err(Fault::Broken("a frame buffer without a size".into()));
    }
    Ok(Memory {
        width_px,
        height_px,
        stride,
        format,
    })
}

/// `fbcon/rotate`: quarter turns clockwise that make the console upright.
fn of_console(turns: &str) -> Rotation {
    match turns {
        "1" => Rotation::Left,
        "2" => Rotation::UpsideDown,
        "3" => Rotation::Right,
        _ => Rotation::Upright,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_buffer_s_description_is_read_and_nonsense_refused() {
        assert_eq!(size_of::<Variable>(), 160);
        #[cfg(target_pointer_width = "64")]
        assert_eq!(size_of::<Fixed>(), 80);
        let mut variable: Variable = [0; 40];
        variable[WIDTH] = 720;
        variable[HEIGHT] = 1440;
        variable[BITS] = 16;
        let read = memory(&variable, 1472).unwrap();
        assert_eq!((read.width_px, read.height_px), (720, 1440));
        assert_eq!((read.stride, read.format), (1472, Format::Rgb565));
        assert!(memory(&variable, 700).is_err());
        variable[BITS] = 8;
        assert!(memory(&variable, 1472).is_err());
        assert_eq!(millimetres(u32::MAX), 0);
    }

    #[test]
    fn what_is_no_frame_buffer_is_said_to_be_none() {
        let dev = tempfile::tempdir().unwrap();
        let absent = Fbdev::take(dev.path(), dev.path());
        assert!(matches!(absent, Err(Fault::Absent(_))), "{absent:?}");
        File::create(dev.path().join("fb0")).unwrap();
        let other = Fbdev::take(dev.path(), dev.path());
        assert!(matches!(other, Err(Fault::Broken(_))), "{other:?}");
    }
}
