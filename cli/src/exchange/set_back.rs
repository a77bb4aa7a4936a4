//! A phone whose state was set back and that does not know it yet: tells it once, by an order that hurts nobody. Publishes nothing itself.
use super::{Exchange, rng};
use crate::clock::UnixMs;
use crate::error::Error;
use homing_link::Transport;
use homing_owner::phone::Heard;
use homing_owner::sign::Intent;
use homing_protocol::command::{BeaconReference, Op};
use homing_protocol::id::{CommandId, DeviceId};

/// Until when such an order is worth sending, seconds.
const USEFUL_S: u64 = 86_400;

impl<T: Transport> Exchange<T> {
    /// Queues a question for its status, if that is due. It is signed for a beacon that the phone has lost.
    pub(super) fn tell_of_lost_past(
        &mut self,
        device: DeviceId,
        heard: &Heard,
        now: UnixMs,
    ) -> Result<(), Error> {
        let knows = heard
            .status
            .as_ref()
            .is_none_or(|status| status.set_back.is_some());
        if knows || !self.store.tell_of_set_back(device)? {
            return Ok(());
        }
        let now_s = u64::try_from(now.0 / 1_000).unwrap_or(0);
        let intent = Intent {
            id: CommandId::random(&mut rng()),
            op: Op::Status,
            issued_at_s: now_s,
            not_after_s: Some(now_s.saturating_add(USEFUL_S)),
        };
        self.store.queue(device, &intent, now)
    }

    /// The beacon that an order quotes: the newest; of a phone that does not know that its state was set back, a status order quotes one that it has lost.
    pub(super) fn quoted(
        &self,
        device: DeviceId,
        heard: &Heard,
        op: &Op,
    ) -> Result<BeaconReference, Error> {
        let knows = heard
            .status
            .as_ref()
            .is_none_or(|status| status.set_back.is_some());
        let lost = match op {
            Op::Status if !knows => self.store.set_back(device)?,
            _ => None,
        };
        Ok(lost
            .and_then(|lost| lost.reference())
            .unwrap_or_else(|| heard.beacon.reference()))
    }
}
