//! One playback PCM: agreed on with the kernel, fed, recovered, and silenced at once. It does not touch the mixer and makes no sound of its own.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{O_CLOEXEC, O_NONBLOCK, c_uint};

use super::control::fault;
use super::uapi::{self, HwParams, Interval, Plain, SwParams};
use crate::fault::{Cancel, Fault};

/// Numbers of `SNDRV_PCM_HW_PARAM_*` in asound.h: masks first, intervals from 8 on.
const ACCESS: usize = 0;
const FORMAT: usize = 1;
const CHANNELS: usize = 10;
const RATE: usize = 11;
const PERIOD_TIME: usize = 12;
const PERIOD_SIZE: usize = 13;
const BUFFER_TIME: usize = 16;
const BUFFER_SIZE: usize = 17;
const FIRST_INTERVAL: usize = 8;

/// `SNDRV_PCM_ACCESS_RW_INTERLEAVED`.
const RW_INTERLEAVED: u32 = 3;
/// `SNDRV_PROTOCOL_VERSION(2, 0, 12)`, from which on the kernel reads `tstamp_type`.
const PROTOCOL: u32 = 2 << 16 | 12;

/// The longest period, microseconds. The promise is silence within 100 ms; a stream is dropped, not drained, so even a
/// card that must finish its period stays well below that.
const LONGEST_PERIOD_US: u32 = 25_000;
/// How much sound may wait, microseconds: what a loaded phone may be late by before there is a gap.
const BUFFER_US: u32 = 400_000;
/// How much sound must wait before it begins, as a share of the buffer: one of the siren's blocks of 100 ms.
const START_SHARE: u32 = 4;
/// How long a card may take nothing before it counts as broken: five buffers.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a write recovers before it gives up.
const RECOVERIES: u32 = 5;

/// How a sample is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    S16,
    S32,
    /// The lower three bytes of four.
    S24,
    /// Three bytes.
    S24Packed,
}

impl Format {
    /// Best first: no phone's loudspeaker gains by more than 16 bits.
    const ALL: [Self; 4] = [Self::S16, Self::S32, Self::S24, Self::S24Packed];

    /// `SNDRV_PCM_FORMAT_*_LE` in asound.h.
    fn number(self) -> u32 {
        match self {
            Self::S16 => 2,
            Self::S24 => 6,
            Self::S32 => 10,
            Self::S24Packed => 32,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::S16 => 2,
            Self::S24Packed => 3,
            Self::S24 | Self::S32 => 4,
        }
    }

    /// One sample, little endian, as wide as the format.
    fn put(self, sample: i16, into: &mut Vec<u8>) {
        let wide = i32::from(sample) << 16;
        match self {
            Self::S16 => into.extend_from_slice(&sample.to_le_bytes()),
            Self::S32 => into.extend_from_slice(&wide.to_le_bytes()),
            Self::S24 => into.extend_from_slice(&(wide >> 8).to_le_bytes()),
            Self::S24Packed => {
                into.extend_from_slice(&wide.to_le_bytes()[1..]);
            }
        }
    }
}

/// A playback stream that is ours until it is dropped.
#[derive(Debug)]
pub(super) struct Pcm {
    file: File,
    format: Format,
    channels: usize,
    pub(super) rate: u32,
    bytes: Vec<u8>,
    /// Nothing cancels a write: it ends at its own deadline. Kept, because each one costs a pipe.
    never: Cancel,
}

impl Pcm {
    /// Opens `/dev/snd/pcmC*D*p` and agrees on a format.
    ///
    /// # Errors
    /// [`Fault::Busy`] when another program has it, [`Fault::Absent`], [`Fault::Denied`], [`Fault::Broken`] when the
    /// card offers nothing that can be spoken.
    pub(super) fn open(path: &Path) -> Result<Self, Fault> {
        let opening = format!("opening {}", path.display());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(O_NONBLOCK | O_CLOEXEC)
            .open(path)
            .map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
                // The kernel's word for a taken substream when the opener does not want to wait for it.
                Some(Errno::EAGAIN | Errno::EBUSY) => Fault::Busy(opening.clone()),
                Some(errno) => fault(&opening, errno),
                None => Fault::from_io(&opening, &error),
            })?;
        let mut pcm = Self {
            file,
            format: Format::S16,
            channels: 2,
            rate: 0,
            bytes: Vec::new(),
            never: Cancel::new(),
        };
        pcm.agree()?;
        Ok(pcm)
    }

    /// Narrows the card's whole configuration space down to one point, step by step, as the kernel's rules demand.
    fn agree(&mut self) -> Result<(), Fault> {
        let agreeing = |errno| fault("agreeing on a format with the sound card", errno);
        let refine = |params: &mut HwParams| {
            params.rmask = u32::MAX;
            uapi::call(self.file.as_fd(), &uapi::PCM_HW_REFINE, params)
        };
        let mut params = anything();
        set_mask(&mut params, ACCESS, RW_INTERLEAVED);
        refine(&mut params).map_err(agreeing)?;
        let format = Format::ALL.into_iter().find(|format| {
            let mut narrowed = params;
            set_mask(&mut narrowed, FORMAT, format.number());
            refine(&mut narrowed).is_ok()
        });
        let Some(format) = format else {
            return Err(Fault::Broken(
                "the sound card takes no integer samples".into(),
            ));
        };
        set_mask(&mut params, FORMAT, format.number());
        let attempts: [(usize, u32, u32); 11] = [
            (CHANNELS, 2, 2),
            (CHANNELS, 1, 1),
            (CHANNELS, 1, 8),
            (RATE, 48_000, 48_000),
            (RATE, 44_100, 44_100),
            (RATE, 32_000, 96_000),
            (RATE, 16_000, 192_000),
            (PERIOD_TIME, LONGEST_PERIOD_US * 4 / 5, LONGEST_PERIOD_US),
            (PERIOD_TIME, 1_000, LONGEST_PERIOD_US * 2),
            (BUFFER_TIME, BUFFER_US / 2, BUFFER_US),
            (BUFFER_TIME, 1, BUFFER_US),
        ];
        let mut settled = [false; FIRST_INTERVAL + 12];
        for (parameter, min, max) in attempts {
            let mut narrowed = params;
            // Where none of the wishes for a parameter is granted, the kernel chooses.
            if !settled[parameter] {
                narrow(&mut narrowed, parameter, min, max);
                if refine(&mut narrowed).is_ok() {
                    (params, settled[parameter]) = (narrowed, true);
                }
            }
        }
        uapi::call(self.file.as_fd(), &uapi::PCM_HW_PARAMS, &mut params).map_err(agreeing)?;
        let interval = |parameter: usize| params.intervals[parameter - FIRST_INTERVAL];
        let (period, buffer) = (interval(PERIOD_SIZE).min, interval(BUFFER_SIZE).min);
        self.set_software(period, buffer).map_err(agreeing)?;
        (self.format, self.rate) = (format, interval(RATE).min);
        self.channels = usize::try_from(interval(CHANNELS).min).unwrap_or(1).max(1);
        tracing::debug!(?format, self.rate, self.channels, period, buffer, "PCM");
        self.prepare()
    }

    /// Starts with the first block that is written and stops when it runs dry.
    fn set_software(&self, period: c_uint, buffer: c_uint) -> Result<(), Errno> {
        let mut params = SwParams::zeroed();
        params.period_step = 1;
        params.avail_min = period.into();
        params.xfer_align = 1;
        params.start_threshold = (buffer / START_SHARE).max(1).into();
        params.stop_threshold = buffer.into();
        // The kernel demands a multiple of the buffer and computes its own; see snd_pcm_hw_params in pcm_native.c.
        params.boundary = buffer.into();
        params.proto = PROTOCOL;
        // CLOCK_MONOTONIC.
        params.tstamp_type = 1;
        uapi::call(self.file.as_fd(), &uapi::PCM_SW_PARAMS, &mut params)
    }

    fn prepare(&self) -> Result<(), Fault> {
        uapi::call_bare(self.file.as_fd(), &uapi::PCM_PREPARE)
            .map_err(|errno| fault("preparing the sound card", errno))
    }

    /// Plays mono samples on every channel; returns when the last of them was taken.
    ///
    /// # Errors
    /// [`Fault::Absent`] when the card is gone, [`Fault::Broken`] when it takes nothing for two seconds or cannot be
    /// recovered.
    pub(super) fn write(&mut self, samples: &[i16]) -> Result<(), Fault> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        for sample in samples {
            for _ in 0..self.channels {
                self.format.put(*sample, &mut bytes);
            }
        }
        let written = self.write_bytes(&bytes);
        self.bytes = bytes;
        written
    }

    fn write_bytes(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        let frame = self.format.bytes() * self.channels;
        let mut recoveries = 0;
        let mut until = Instant::now() + PATIENCE;
        while !bytes.is_empty() {
            match uapi::write_frames(self.file.as_fd(), bytes, frame) {
                Ok(frames) if frames > 0 => {
                    bytes = bytes.get(frames * frame..).unwrap_or_default();
                    until = Instant::now() + PATIENCE;
                }
                Ok(_) | Err(Errno::EAGAIN) => self.wait_for_room(until)?,
                Err(Errno::EINTR) => {}
                Err(errno) if recoveries < RECOVERIES => {
                    recoveries += 1;
                    self.recover(errno)?;
                }
                Err(errno) => return Err(fault("playing", errno)),
            }
        }
        Ok(())
    }

    fn wait_for_room(&self, until: Instant) -> Result<(), Fault> {
        match self.never.wait_writable(self.file.as_fd(), until) {
            Err(Fault::TimedOut(_)) => {
                Err(Fault::Broken("the sound card takes no more samples".into()))
            }
            other => other,
        }
    }

    /// Sets a stream going again that ran dry (EPIPE) or was suspended with the phone (ESTRPIPE).
    fn recover(&self, errno: Errno) -> Result<(), Fault> {
        tracing::debug!(%errno, "the sound broke off");
        match errno {
            Errno::ESTRPIPE => {
                // Where the hardware cannot resume, or not yet, it is prepared anew: a siren has nothing to lose.
                match uapi::call_bare(self.file.as_fd(), &uapi::PCM_RESUME) {
                    Ok(()) => Ok(()),
                    Err(_) => self.prepare(),
                }
            }
            // EBADFD: another state than the one expected, such as after a system's resume.
            Errno::EPIPE | Errno::EBADFD => self.prepare(),
            errno => Err(fault("playing", errno)),
        }
    }

    /// Silence now: what waits is thrown away.
    ///
    /// # Errors
    /// [`Fault::Absent`] when the card is gone, [`Fault::Broken`].
    pub(super) fn stop(&self) -> Result<(), Fault> {
        uapi::call_bare(self.file.as_fd(), &uapi::PCM_DROP)
            .map_err(|errno| fault("silencing the sound card", errno))
    }
}

/// Every configuration there could be.
fn anything() -> HwParams {
    let mut params = HwParams::zeroed();
    params.masks = [[u32::MAX; 8]; 3];
    params.intervals = [Interval {
        min: 0,
        max: u32::MAX,
        flags: 0,
    }; 12];
    params.rmask = u32::MAX;
    params.info = u32::MAX;
    params
}

fn set_mask(params: &mut HwParams, parameter: usize, bit: u32) {
    params.masks[parameter] = [0; 8];
    params.masks[parameter][bit as usize / 32] = 1 << (bit % 32);
}

/// Intersects an interval with `min`…`max`. The flags say which ends are open; they stay true where the end stays.
fn narrow(params: &mut HwParams, parameter: usize, min: u32, max: u32) {
    let interval = &mut params.intervals[parameter - FIRST_INTERVAL];
    if min > interval.min {
        interval.min = min;
        interval.flags &= !1;
    }
    if max < interval.max {
        interval.max = max;
        interval.flags &= !2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_fills_each_format_at_full_scale() {
        let bytes = |format: Format, sample| {
            let mut bytes = Vec::new();
            format.put(sample, &mut bytes);
            assert_eq!(bytes.len(), format.bytes());
            bytes
        };
        assert_eq!(bytes(Format::S16, -2), [0xfe, 0xff]);
        assert_eq!(bytes(Format::S32, 0x7fff), [0, 0, 0xff, 0x7f]);
        assert_eq!(bytes(Format::S24, i16::MIN), [0, 0, 0x80, 0xff]);
        assert_eq!(bytes(Format::S24Packed, 0x1234), [0, 0x34, 0x12]);
    }

    #[test]
    fn a_wish_narrows_an_interval_and_never_widens_it() {
        let mut params = anything();
        params.intervals[RATE - FIRST_INTERVAL] = Interval {
            min: 8_000,
            max: 48_000,
            flags: 2,
        };
        narrow(&mut params, RATE, 4_000, 96_000);
        let kept = params.intervals[RATE - FIRST_INTERVAL];
        assert_eq!((kept.min, kept.max, kept.flags), (8_000, 48_000, 2));
        narrow(&mut params, RATE, 44_100, 44_100);
        let kept = params.intervals[RATE - FIRST_INTERVAL];
        assert_eq!((kept.min, kept.max, kept.flags), (44_100, 44_100, 0));
    }
}
