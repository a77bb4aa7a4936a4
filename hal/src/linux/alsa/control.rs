//! A card's mixer through `/dev/snd/controlC*`: what elements there are, reading, writing and locking them. It does not know which of them matter.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::libc::{O_CLOEXEC, O_NONBLOCK, c_long, c_uint};

use super::uapi::{self, ElemId, ElemInfo, ElemValue, Plain, TLV_WORDS, Tlv};
use crate::fault::Fault;

/// `SNDRV_CTL_ELEM_TYPE_*` in asound.h.
const BOOLEAN: i32 = 1;
const INTEGER: i32 = 2;
const ENUMERATED: i32 = 3;
const INTEGER64: i32 = 6;

/// `SNDRV_CTL_ELEM_ACCESS_*` in asound.h.
const ACCESS_WRITE: u32 = 1 << 1;
const ACCESS_TLV_READ: u32 = 1 << 4;
const ACCESS_INACTIVE: u32 = 1 << 8;

/// `SNDRV_CTL_ELEM_IFACE_CARD` in asound.h: where jacks report; they are read only.
const IFACE_CARD: i32 = 0;
const IFACE_MIXER: i32 = 2;

/// Most elements that are looked at: a large codec has some 400.
const MOST_ELEMENTS: usize = 4096;
/// Most values of one element (`struct snd_ctl_elem_value` has room for 128).
const MOST_VALUES: usize = 128;
/// Most items of an enumeration that are read by name.
const MOST_ITEMS: u32 = 256;

/// One card's control device. Dropping it gives up every lock it holds: the kernel ends a lock with its file.
#[derive(Debug)]
pub(super) struct Control {
    file: File,
    /// The card's short id, such as `PinePhone`.
    pub(super) id: String,
    /// The driver's name.
    pub(super) driver: String,
    /// The card's name for people.
    pub(super) name: String,
}

/// What an element holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Off and on.
    Switch,
    /// Whole numbers in this range.
    Number {
        /// Lowest.
        min: i64,
        /// Highest.
        max: i64,
    },
    /// One of these names.
    Choice(Vec<String>),
    /// Something a siren does not set.
    Other,
}

/// One element of the mixer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element {
    /// Its number, which lasts as long as the card stays plugged in.
    pub(super) numid: u32,
    /// Its name, such as `Line Out Playback Switch`.
    pub(super) name: String,
    /// Which of several elements of the same name.
    pub(super) index: u32,
    /// How many values it holds, one for each channel as a rule.
    pub(super) count: usize,
    /// What it holds.
    pub(super) kind: Kind,
    /// Whether it may be written at all.
    pub(super) writable: Writable,
    /// Whether it tells its scale in decibels.
    pub(super) scale: Option<Scale>,
}

/// Whether an element may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writable {
    /// It may.
    Yes,
    /// It may not: a jack's state, or an element that is not in use.
    No,
}

/// The loudness at both ends of a volume, hundredths of a decibel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scale {
    /// At the lowest value.
    pub(super) min_cdb: i32,
    /// At the highest value.
    pub(super) max_cdb: i32,
}

impl Control {
    /// Opens the control device of a card.
    ///
    /// # Errors
    /// [`Fault::Absent`], [`Fault::Denied`], [`Fault::Broken`].
    pub(super) fn open(path: &Path) -> Result<Self, Fault> {
        let opening = || format!("opening {}", path.display());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(O_NONBLOCK | O_CLOEXEC)
            .open(path)
            .map_err(|error| Fault::from_io(&opening(), &error))?;
        let mut info = uapi::CardInfo::zeroed();
        uapi::call(file.as_fd(), &uapi::CTL_CARD_INFO, &mut info)
            .map_err(|errno| fault(&opening(), errno))?;
        Ok(Self {
            file,
            id: uapi::text(&info.id),
            driver: uapi::text(&info.driver),
            name: uapi::text(&info.name),
        })
    }

    /// Keeps other sirens away until this file is closed; programs that know nothing of sirens do not notice. Needed
    /// because a card with several substreams gives itself out several times.
    ///
    /// # Errors
    /// [`Fault::Busy`] when another siren has the card.
    pub(super) fn exclude_sirens(&self) -> Result<(), Fault> {
        let name = &self.name;
        match self.file.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(Fault::Busy(format!("another siren has {name}"))),
            Err(TryLockError::Error(error)) => {
                Err(Fault::from_io(&format!("locking {name}"), &error))
            }
        }
    }

    /// Every element of the mixer and every jack.
    ///
    /// # Errors
    /// [`Fault::Absent`] when the card went away, [`Fault::Broken`].
    pub(super) fn elements(&self) -> Result<Vec<Element>, Fault> {
        let listing = |errno| fault("listing the mixer's elements", errno);
        let (_, count) = uapi::list(self.file.as_fd(), 0, &mut []).map_err(listing)?;
        let mut ids = vec![ElemId::zeroed(); count.min(MOST_ELEMENTS)];
        let (used, _) = uapi::list(self.file.as_fd(), 0, &mut ids).map_err(listing)?;
        ids.truncate(used);
        let mut elements = Vec::new();
        for id in ids {
            if id.iface != IFACE_MIXER && id.iface != IFACE_CARD {
                continue;
            }
            match self.element(id.numid) {
                Ok(element) => elements.push(element),
                Err(Errno::ENODEV) => return Err(listing(Errno::ENODEV)),
                // It was removed since the list was made, or its chip does not answer: the others are there.
                Err(errno) => tracing::debug!(%errno, numid = id.numid, "no such element"),
            }
        }
        Ok(elements)
    }

    fn element(&self, numid: u32) -> Result<Element, Errno> {
        let info = self.info(numid, 0)?;
        // SAFETY: every member of the union is made of integers, for which any bytes are valid, and `kind` says
        // which one the kernel has filled in.
        let kind = unsafe {
            match info.kind {
                BOOLEAN => Kind::Switch,
                INTEGER => Kind::Number {
                    min: widen(info.value.integer.min),
                    max: widen(info.value.integer.max),
                },
                INTEGER64 => Kind::Number {
                    min: info.value.integer64.min,
                    max: info.value.integer64.max,
                },
                ENUMERATED => Kind::Choice(self.items(numid, info.value.enumerated.items)?),
                _ => Kind::Other,
            }
        };
        let mixer = info.id.iface == IFACE_MIXER;
        let active = info.access & ACCESS_WRITE != 0 && info.access & ACCESS_INACTIVE == 0;
        let scaled = matches!(kind, Kind::Number { .. }) && info.access & ACCESS_TLV_READ != 0;
        Ok(Element {
            numid,
            name: uapi::text(&info.id.name),
            index: info.id.index,
            count: usize::try_from(info.count).unwrap_or(0).min(MOST_VALUES),
            scale: if scaled {
                self.scale(numid, &kind)
            } else {
                None
            },
            kind,
            writable: if mixer && active {
                Writable::Yes
            } else {
                Writable::No
            },
        })
    }

    fn info(&self, numid: u32, item: c_uint) -> Result<ElemInfo, Errno> {
        let mut info = ElemInfo::zeroed();
        info.id.numid = numid;
        info.value.enumerated.item = item;
        uapi::call(self.file.as_fd(), &uapi::CTL_ELEM_INFO, &mut info)?;
        Ok(info)
    }

    fn items(&self, numid: u32, count: u32) -> Result<Vec<String>, Errno> {
        (0..count.min(MOST_ITEMS))
            .map(|item| {
                let info = self.info(numid, item)?;
                // SAFETY: integers alone, and the kernel has filled in this member for an enumerated element.
                let name = unsafe { info.value.enumerated.name };
                Ok(uapi::text(&name))
            })
            .collect()
    }

    fn scale(&self, numid: u32, kind: &Kind) -> Option<Scale> {
        let Kind::Number { min, max } = kind else {
            return None;
        };
        let mut tlv = Tlv::zeroed();
        tlv.numid = numid;
        tlv.length = c_uint::try_from(TLV_WORDS * 4).unwrap_or(0);
        uapi::call(self.file.as_fd(), &uapi::CTL_TLV_READ, &mut tlv).ok()?;
        scale_of(&tlv.tlv, max.checked_sub(*min)?)
    }

    /// An element's values.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn read(&self, element: &Element) -> Result<Vec<i64>, Errno> {
        let mut value = ElemValue::zeroed();
        value.id.numid = element.numid;
        uapi::call(self.file.as_fd(), &uapi::CTL_ELEM_READ, &mut value)?;
        // SAFETY: integers alone, for which any bytes are valid.
        let read = unsafe {
            match &element.kind {
                Kind::Switch | Kind::Number { .. } => value.value.integer.map(widen).to_vec(),
                Kind::Choice(_) => value.value.enumerated.map(i64::from).to_vec(),
                Kind::Other => Vec::new(),
            }
        };
        Ok(read.into_iter().take(element.count).collect())
    }

    /// Sets an element's values.
    ///
    /// # Errors
    /// The kernel's: EPERM when another program holds its lock or it may not be written.
    pub(super) fn write(&self, element: &Element, values: &[i64]) -> Result<(), Errno> {
        let mut value = ElemValue::zeroed();
        value.id.numid = element.numid;
        // SAFETY: the whole union was set to zero bytes above, and both members are arrays of integers.
        let (numbers, choices) =
            unsafe { (&mut value.value.integer, values.iter().take(element.count)) };
        match &element.kind {
            Kind::Switch | Kind::Number { .. } => {
                for (slot, wanted) in numbers.iter_mut().zip(choices) {
                    *slot = c_long::try_from(*wanted).map_err(|_| Errno::ERANGE)?;
                }
            }
            Kind::Choice(_) => {
                let mut items = [0; 128];
                for (slot, wanted) in items.iter_mut().zip(choices) {
                    *slot = c_uint::try_from(*wanted).map_err(|_| Errno::ERANGE)?;
                }
                value.value.enumerated = items;
            }
            Kind::Other => return Err(Errno::EINVAL),
        }
        uapi::call(self.file.as_fd(), &uapi::CTL_ELEM_WRITE, &mut value)
    }

    /// Forbids every other program, root's too, to write an element until it is unlocked or this file is closed.
    ///
    /// # Errors
    /// The kernel's: EBUSY when another program holds it.
    pub(super) fn lock(&self, element: &Element) -> Result<(), Errno> {
        let mut id = ElemId::zeroed();
        id.numid = element.numid;
        uapi::call(self.file.as_fd(), &uapi::CTL_ELEM_LOCK, &mut id)
    }

    /// Allows others to write an element again.
    ///
    /// # Errors
    /// The kernel's: EPERM when the lock is another's, EINVAL when there is none.
    pub(super) fn unlock(&self, element: &Element) -> Result<(), Errno> {
        let mut id = ElemId::zeroed();
        id.numid = element.numid;
        uapi::call(self.file.as_fd(), &uapi::CTL_ELEM_UNLOCK, &mut id)
    }
}

/// A fault in the words of the layers above: a card that was pulled out is absent.
pub(super) fn fault(doing: &str, errno: Errno) -> Fault {
    match errno {
        Errno::ENODEV | Errno::ENXIO => Fault::Absent(format!("{doing}: {}", errno.desc())),
        errno => Fault::from_errno(doing, errno),
    }
}

/// The kernel's `long`, which has 64 bits on some processors and 32 on others.
fn widen(value: impl Into<i64>) -> i64 {
    value.into()
}

/// Reads a dB scale from type-length-value data (Linux `include/uapi/sound/tlv.h`); `steps` is the volume's range.
fn scale_of(words: &[u32], steps: i64) -> Option<Scale> {
    /// `SNDRV_CTL_TLVT_*`.
    const CONTAINER: u32 = 0;
    const DB_SCALE: u32 = 1;
    const DB_LINEAR: u32 = 2;
    const DB_RANGE: u32 = 3;
    const DB_MINMAX: u32 = 4;
    const DB_MINMAX_MUTE: u32 = 5;
    let (kind, length, data) = (words.first()?, words.get(1)?, words.get(2..)?);
    let data = data.get(..usize::try_from(length / 4).ok()?)?;
    match *kind {
        CONTAINER => scale_of(data, steps),
        DB_SCALE => {
            let min_cdb = data.first()?.cast_signed();
            // The upper half-word's lowest bit says that the lowest value is a mute; the step is in the lower one.
            let step = i64::from(data.get(1)? & 0xffff);
            let max_cdb = i32::try_from(i64::from(min_cdb) + step.checked_mul(steps)?).ok()?;
            Some(Scale { min_cdb, max_cdb })
        }
        DB_LINEAR | DB_MINMAX | DB_MINMAX_MUTE => Some(Scale {
            min_cdb: data.first()?.cast_signed(),
            max_cdb: data.get(1)?.cast_signed(),
        }),
        DB_RANGE => {
            // Pieces of: lowest value, highest value, a scale of their own.
            let (mut rest, mut whole) = (data, None::<Scale>);
            while let [low, high, piece @ ..] = rest {
                let steps = i64::from(high.cast_signed()) - i64::from(low.cast_signed());
                let scale = scale_of(piece, steps)?;
                let min_cdb = whole.map_or(scale.min_cdb, |whole| whole.min_cdb);
                whole = Some(Scale {
                    min_cdb,
                    max_cdb: scale.max_cdb,
                });
                rest = piece.get(2 + usize::try_from(piece.get(1)? / 4).ok()?..)?;
            }
            whole
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decibel_scales_of_every_kind_are_read() {
        let scale = |words: &[u32], steps| {
            let mut padded = words.to_vec();
            padded.resize(TLV_WORDS, 0);
            scale_of(&padded, steps).map(|scale| (scale.min_cdb, scale.max_cdb))
        };
        let low = (-4800_i32).cast_unsigned();
        // The PinePhone's line out: from -48 dB in steps of 1.5 dB, mute at the lowest.
        assert_eq!(scale(&[1, 8, low, 0x1_0000 | 150], 31), Some((-4800, -150)));
        assert_eq!(scale(&[4, 8, low, 0], 100), Some((-4800, 0)));
        let range = [
            3,
            48,
            0,
            1,
            1,
            8,
            low,
            150,
            2,
            3,
            1,
            8,
            (-100_i32).cast_unsigned(),
            100,
        ];
        assert_eq!(scale(&range, 3), Some((-4800, 0)));
        assert_eq!(scale(&[0, 16, 5, 8, low, 400], 3), Some((-4800, 400)));
    }

    #[test]
    fn nonsense_from_a_driver_is_no_scale() {
        for words in [
            vec![],
            vec![1],
            vec![1, 800, 5],
            vec![3, 8, 0, 1],
            vec![99, 8, 1, 1],
        ] {
            assert_eq!(scale_of(&words, 31), None, "{words:?}");
        }
    }
}
