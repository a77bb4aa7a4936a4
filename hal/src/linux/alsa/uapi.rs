//! The kernel's words for sound, as in Linux `include/uapi/sound/asound.h`: structures, request numbers, and the calls that pass them. It decides nothing.
//!
//! None of the structures used here holds a time, so nothing differs between kernels with 32 and with 64 bits of time.
//! What differs between 32 and 64 bit processors are `long`, `unsigned long` and pointers; they are `c_long`, `c_ulong`
//! and raw pointers here, and the alignment of 64-bit integers follows from `repr(C)`. The sizes are tested below.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc::{self, c_int, c_long, c_uint, c_ulong};

/// `struct snd_ctl_card_info`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct CardInfo {
    pub(super) card: c_int,
    pub(super) pad: c_int,
    pub(super) id: [u8; 16],
    pub(super) driver: [u8; 16],
    pub(super) name: [u8; 32],
    pub(super) longname: [u8; 80],
    pub(super) reserved: [u8; 16],
    pub(super) mixername: [u8; 80],
    pub(super) components: [u8; 128],
}

/// `struct snd_ctl_elem_id`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct ElemId {
    pub(super) numid: c_uint,
    pub(super) iface: c_int,
    pub(super) device: c_uint,
    pub(super) subdevice: c_uint,
    pub(super) name: [u8; 44],
    pub(super) index: c_uint,
}

/// `struct snd_ctl_elem_list`.
#[repr(C)]
pub(super) struct ElemList {
    pub(super) offset: c_uint,
    pub(super) space: c_uint,
    pub(super) used: c_uint,
    pub(super) count: c_uint,
    pub(super) pids: *mut ElemId,
    pub(super) reserved: [u8; 50],
}

/// The range of an integer element.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct IntegerRange {
    pub(super) min: c_long,
    pub(super) max: c_long,
    pub(super) step: c_long,
}

/// The range of a 64-bit integer element.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Integer64Range {
    pub(super) min: i64,
    pub(super) max: i64,
    pub(super) step: i64,
}

/// One item of an enumerated element.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct EnumeratedItem {
    pub(super) items: c_uint,
    pub(super) item: c_uint,
    pub(super) name: [u8; 64],
    pub(super) names_ptr: u64,
    pub(super) names_length: c_uint,
}

/// The union in `struct snd_ctl_elem_info`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) union ElemRange {
    pub(super) integer: IntegerRange,
    pub(super) integer64: Integer64Range,
    pub(super) enumerated: EnumeratedItem,
    pub(super) reserved: [u8; 128],
}

/// `struct snd_ctl_elem_info`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct ElemInfo {
    pub(super) id: ElemId,
    pub(super) kind: c_int,
    pub(super) access: c_uint,
    pub(super) count: c_uint,
    pub(super) owner: c_int,
    pub(super) value: ElemRange,
    pub(super) reserved: [u8; 64],
}

/// The union in `struct snd_ctl_elem_value`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) union ElemContent {
    pub(super) integer: [c_long; 128],
    pub(super) integer64: [i64; 64],
    pub(super) enumerated: [c_uint; 128],
    pub(super) bytes: [u8; 512],
}

/// `struct snd_ctl_elem_value`; `indirect` is the obsolete bit field.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct ElemValue {
    pub(super) id: ElemId,
    pub(super) indirect: c_uint,
    pub(super) value: ElemContent,
    pub(super) reserved: [u8; 128],
}

/// How many words of type-length-value data are asked for; a dB scale has four.
pub(super) const TLV_WORDS: usize = 64;

/// `struct snd_ctl_tlv` with room for [`TLV_WORDS`].
#[repr(C)]
pub(super) struct Tlv {
    pub(super) numid: c_uint,
    pub(super) length: c_uint,
    pub(super) tlv: [c_uint; TLV_WORDS],
}

/// `struct snd_mask`.
pub(super) type Mask = [u32; 8];

/// `struct snd_interval`; `flags` are the bit fields openmin, openmax, integer, empty.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) min: c_uint,
    pub(super) max: c_uint,
    pub(super) flags: c_uint,
}

/// `struct snd_pcm_hw_params`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct HwParams {
    pub(super) flags: c_uint,
    pub(super) masks: [Mask; 3],
    pub(super) reserved_masks: [Mask; 5],
    pub(super) intervals: [Interval; 12],
    pub(super) reserved_intervals: [Interval; 9],
    pub(super) rmask: c_uint,
    pub(super) cmask: c_uint,
    pub(super) info: c_uint,
    pub(super) msbits: c_uint,
    pub(super) rate_num: c_uint,
    pub(super) rate_den: c_uint,
    pub(super) fifo_size: c_ulong,
    pub(super) reserved: [u8; 64],
}

/// `struct snd_pcm_sw_params`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct SwParams {
    pub(super) tstamp_mode: c_int,
    pub(super) period_step: c_uint,
    pub(super) sleep_min: c_uint,
    pub(super) avail_min: c_ulong,
    pub(super) xfer_align: c_ulong,
    pub(super) start_threshold: c_ulong,
    pub(super) stop_threshold: c_ulong,
    pub(super) silence_threshold: c_ulong,
    pub(super) silence_size: c_ulong,
    pub(super) boundary: c_ulong,
    pub(super) proto: c_uint,
    pub(super) tstamp_type: c_uint,
    pub(super) reserved: [u8; 56],
}

/// `struct snd_xferi`.
#[repr(C)]
pub(super) struct Xferi {
    pub(super) result: c_long,
    pub(super) buf: *mut u8,
    pub(super) frames: c_ulong,
}

/// Structures for which all zero bytes are a valid value, whose every byte the kernel may write, and which hold no
/// pointer that it would follow.
///
/// # Safety
/// Only for `repr(C)` types of integers, and arrays and unions of those.
pub(super) unsafe trait Plain: Sized {
    /// All zero.
    fn zeroed() -> Self {
        // SAFETY: the trait's promise: zero bytes are a valid value.
        unsafe { std::mem::zeroed() }
    }
}

macro_rules! plain {
    ($($name:ident)+) => { $(
        // SAFETY: repr(C), and made of integers, arrays and unions of those alone.
        unsafe impl Plain for $name {}
    )+ };
}
plain! { CardInfo ElemId ElemInfo ElemValue Tlv HwParams SwParams }

/// The type of an ioctl(2) request number in this system's C library.
pub(super) type Request = libc::Ioctl;

#[expect(
    clippy::cast_possible_truncation,
    reason = "the largest structure has 1,224 bytes, and the field for the size 14 bits"
)]
const fn request(direction: u32, group: u8, number: u8, size: usize) -> u32 {
    // Linux `include/uapi/asm-generic/ioctl.h`, the same on x86, ARM and RISC-V.
    assert!(size < 1 << 14, "a request's size has 14 bits");
    direction << 30 | (size as u32) << 16 | (group as u32) << 8 | number as u32
}

/// A request without an argument.
pub(super) struct Bare(u32);

/// A request whose argument is a `T` that the kernel reads, writes, or both.
pub(super) struct Carrying<T>(u32, std::marker::PhantomData<T>);

const NONE: u32 = 0;
const WRITE: u32 = 1;
const READ: u32 = 2;

const fn carrying<T>(direction: u32, group: u8, number: u8) -> Carrying<T> {
    Carrying(
        request(direction, group, number, size_of::<T>()),
        std::marker::PhantomData,
    )
}

pub(super) const CTL_CARD_INFO: Carrying<CardInfo> = carrying(READ, b'U', 0x01);
pub(super) const CTL_ELEM_LIST: Carrying<ElemList> = carrying(READ | WRITE, b'U', 0x10);
pub(super) const CTL_ELEM_INFO: Carrying<ElemInfo> = carrying(READ | WRITE, b'U', 0x11);
pub(super) const CTL_ELEM_READ: Carrying<ElemValue> = carrying(READ | WRITE, b'U', 0x12);
pub(super) const CTL_ELEM_WRITE: Carrying<ElemValue> = carrying(READ | WRITE, b'U', 0x13);
pub(super) const CTL_ELEM_LOCK: Carrying<ElemId> = carrying(WRITE, b'U', 0x14);
pub(super) const CTL_ELEM_UNLOCK: Carrying<ElemId> = carrying(WRITE, b'U', 0x15);
/// The kernel counts only the two words of the header; what follows them is `length` bytes.
pub(super) const CTL_TLV_READ: Carrying<Tlv> = Carrying(
    request(READ | WRITE, b'U', 0x1a, 8),
    std::marker::PhantomData,
);
pub(super) const PCM_HW_REFINE: Carrying<HwParams> = carrying(READ | WRITE, b'A', 0x10);
pub(super) const PCM_HW_PARAMS: Carrying<HwParams> = carrying(READ | WRITE, b'A', 0x11);
pub(super) const PCM_SW_PARAMS: Carrying<SwParams> = carrying(READ | WRITE, b'A', 0x13);
pub(super) const PCM_PREPARE: Bare = Bare(request(NONE, b'A', 0x40, 0));
pub(super) const PCM_DROP: Bare = Bare(request(NONE, b'A', 0x43, 0));
pub(super) const PCM_RESUME: Bare = Bare(request(NONE, b'A', 0x47, 0));
const PCM_WRITEI: Carrying<Xferi> = carrying(WRITE, b'A', 0x50);

/// ioctl(2) with an argument of the request's own type.
///
/// # Errors
/// The kernel's.
pub(super) fn call<T: Plain>(
    fd: BorrowedFd<'_>,
    request: &Carrying<T>,
    argument: &mut T,
) -> Result<(), Errno> {
    // SAFETY: `T` holds no pointer that the kernel would follow, and any bytes it leaves there are a `T` (`Plain`).
    unsafe { call_raw(fd, request, argument) }
}

/// ioctl(2) with an argument that may hold pointers.
///
/// # Safety
/// What the argument points to must be as the request says, for the length of the call.
unsafe fn call_raw<T>(
    fd: BorrowedFd<'_>,
    request: &Carrying<T>,
    argument: &mut T,
) -> Result<(), Errno> {
    // SAFETY: the descriptor is open, and the request number says that the kernel reads and writes one `T`, which
    // `argument` is, exclusively; pointers in it are the caller's promise.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request.0 as Request, &raw mut *argument) };
    Errno::result(result).map(drop)
}

/// ioctl(2) without an argument.
///
/// # Errors
/// The kernel's.
pub(super) fn call_bare(fd: BorrowedFd<'_>, request: &Bare) -> Result<(), Errno> {
    // SAFETY: the descriptor is open and these requests take no argument.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request.0 as Request) };
    Errno::result(result).map(drop)
}

/// The ids of a card's elements from `offset` on, at most as many as `ids` has room for; gives (used, all there are).
///
/// # Errors
/// The kernel's.
pub(super) fn list(
    fd: BorrowedFd<'_>,
    offset: c_uint,
    ids: &mut [ElemId],
) -> Result<(usize, usize), Errno> {
    let mut list = ElemList {
        offset,
        space: c_uint::try_from(ids.len()).unwrap_or(c_uint::MAX),
        used: 0,
        count: 0,
        pids: ids.as_mut_ptr(),
        reserved: [0; 50],
    };
    // SAFETY: `pids` points to `space` ids that are ours alone for the length of the call, and any bytes are an id.
    unsafe { call_raw(fd, &CTL_ELEM_LIST, &mut list) }?;
    Ok((list.used as usize, list.count as usize))
}

/// Hands whole frames to a PCM; gives how many it took.
///
/// # Errors
/// The kernel's: EAGAIN when there is no room, EPIPE after an underrun, ESTRPIPE after a suspend, ENODEV.
pub(super) fn write_frames(
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    frame_bytes: usize,
) -> Result<usize, Errno> {
    let mut transfer = Xferi {
        result: 0,
        // The kernel only reads from it.
        buf: bytes.as_ptr().cast_mut(),
        frames: c_ulong::try_from(bytes.len() / frame_bytes.max(1)).unwrap_or(0),
    };
    // SAFETY: the kernel reads `frames` frames from `buf`, and they are no more bytes than `bytes` has.
    unsafe { call_raw(fd, &PCM_WRITEI, &mut transfer) }?;
    Ok(usize::try_from(transfer.result).unwrap_or(0))
}

/// The text of a C string in a field of fixed length.
pub(super) fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0);
    let bytes = field.get(..end.unwrap_or(field.len())).unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    /// The figures are those of a C compiler with the kernel's header, on x86-64 and, by the rule of its ABI, ARM.
    #[test]
    fn the_structures_have_the_sizes_of_the_kernels() {
        assert_eq!(size_of::<CardInfo>(), 376);
        assert_eq!(size_of::<ElemId>(), 64);
        assert_eq!(size_of::<ElemInfo>(), 272);
        let long = size_of::<c_long>();
        assert_eq!(size_of::<ElemList>(), if long == 8 { 80 } else { 72 });
        assert_eq!(size_of::<ElemValue>(), if long == 8 { 1224 } else { 712 });
        assert_eq!(offset_of!(ElemValue, value), 72);
        assert_eq!(size_of::<HwParams>(), if long == 8 { 608 } else { 604 });
        assert_eq!(size_of::<SwParams>(), if long == 8 { 136 } else { 104 });
        assert_eq!(size_of::<Xferi>(), 3 * long);
    }

    #[test]
    fn the_request_numbers_are_the_kernels() {
        assert_eq!(CTL_CARD_INFO.0, 0x8178_5501);
        assert_eq!(CTL_ELEM_LOCK.0, 0x4040_5514);
        assert_eq!(CTL_TLV_READ.0, 0xc008_551a);
        assert_eq!(PCM_PREPARE.0, 0x4140);
        if size_of::<c_long>() == 8 {
            assert_eq!(CTL_ELEM_READ.0, 0xc4c8_5512);
            assert_eq!(PCM_HW_PARAMS.0, 0xc260_4111);
            assert_eq!(PCM_WRITEI.0, 0x4018_4150);
        }
    }
}
