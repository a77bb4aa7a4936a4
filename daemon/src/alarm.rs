//! One wait for a moment on the clock since boot, as the kernel keeps it: it fires once, and right after a sleep that it was slept through. It must not know what is due.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, TimerSetTimeFlags};
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
use tokio::net::unix::pipe;

use crate::boottime;
use crate::error::Error;

/// A kernel timer. The runtime's own timers are a wheel that wakes a process several times before a far moment, and they
/// stand still while the phone sleeps.
#[derive(Debug)]
pub struct Alarm {
    timer: TimerFd,
    /// The same timer to the runtime, which reads anything that can be waited for as it reads a pipe.
    rings: pipe::Receiver,
    set_to: Option<Duration>,
}

fn failed(error: impl Into<io::Error>) -> Error {
    Error::Kernel {
        doing: "wait for a moment",
        source: error.into(),
    }
}

impl Alarm {
    /// An alarm that is not set; must be called inside a tokio runtime with I/O.
    ///
    /// # Errors
    /// [`Error::Kernel`].
    pub fn new() -> Result<Self, Error> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, flags).map_err(failed)?;
        let same = timer.as_fd().try_clone_to_owned().map_err(failed)?;
        Ok(Self {
            timer,
            rings: pipe::Receiver::from_file_unchecked(File::from(same)).map_err(failed)?,
            set_to: None,
        })
    }

    /// Waits until `when`, time since boot. A wait that is given up costs nothing; the next one for the same moment
    /// does not set the kernel's timer again.
    ///
    /// # Errors
    /// [`Error::Kernel`].
    pub async fn wait_until(&mut self, when: Duration) -> Result<(), Error> {
        // Zero would switch the timer off.
        let when = boottime::to_kernel(when).max(Duration::from_nanos(1));
        if self.set_to != Some(when) {
            let expiration = Expiration::OneShot(TimeSpec::from_duration(when));
            self.timer
                .set(expiration, TimerSetTimeFlags::TFD_TIMER_ABSTIME)
                .map_err(failed)?;
            self.set_to = Some(when);
        }
        loop {
            self.rings.readable().await.map_err(failed)?;
            // How often it has rung, eight bytes; nothing when it was set anew since.
            match self.rings.try_read(&mut [0; 8]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(_) => break,
                Err(error) => return Err(failed(error)),
            }
        }
        self.set_to = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(test);
    }

    #[test]
    fn an_alarm_fires_at_its_moment_and_at_once_for_one_that_is_past() {
        run(async {
            let mut alarm = Alarm::new().unwrap();
            alarm.wait_until(Duration::ZERO).await.unwrap();
            for _ in 0..2 {
                let when = boottime::now().unwrap() + Duration::from_millis(30);
                alarm.wait_until(when).await.unwrap();
                let now = boottime::now().unwrap();
                assert!(now >= when, "{now:?} {when:?}");
            }
        });
    }

    #[test]
    fn an_alarm_that_was_given_up_and_set_anew_fires_for_the_new_moment() {
        run(async {
            let mut alarm = Alarm::new().unwrap();
            let hour = boottime::now().unwrap() + Duration::from_secs(3600);
            for _ in 0..3 {
                tokio::select! {
                    biased;
                    _ = alarm.wait_until(hour) => panic!("an hour early"),
                    () = tokio::task::yield_now() => {}
                }
            }
            let soon = boottime::now().unwrap() + Duration::from_millis(20);
            alarm.wait_until(soon).await.unwrap();
            assert!(boottime::now().unwrap() >= soon);
        });
    }
}
