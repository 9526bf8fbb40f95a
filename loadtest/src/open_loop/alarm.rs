//! Waiting for a moment, exactly: the runtime's own timers know milliseconds only, in which many requests are due.

use std::os::fd::OwnedFd;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

/// Something that can wait; tests wait in paused time.
pub(super) trait Wait {
    /// Returns at `moment`, or at once if that is past.
    async fn until(&self, moment: Instant) -> anyhow::Result<()>;
}

/// A timer of the kernel (timerfd_create(2)).
#[derive(Debug)]
pub(super) struct Alarm(AsyncFd<OwnedFd>);

impl Alarm {
    /// One that is not set.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    #[expect(
        deprecated,
        reason = "its successor is unsafe, and an owned descriptor keeps what that one has callers promise"
    )]
    pub(super) fn new() -> anyhow::Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Self(AsyncFd::new(timer)?))
    }
}

impl Wait for Alarm {
    async fn until(&self, moment: Instant) -> anyhow::Result<()> {
        let left = moment.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(()); // as a value, zero would disarm the timer
        }
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec::try_from(left)?,
        };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut ready = self.0.readable().await?;
            // How often it rang: once.
            let rang = ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut [0_u8; 8]).map(drop)?));
            if let Ok(rang) = rang {
                return Ok(rang?);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_never_rings_early() {
        let alarm = Alarm::new().unwrap();
        for micros in [0, 1, 50, 300, 2_500] {
            let moment = Instant::now() + Duration::from_micros(micros);
            alarm.until(moment).await.unwrap();
            assert!(Instant::now() >= moment);
        }
    }
}
