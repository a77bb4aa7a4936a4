//! Positions that are missing here: notices the gap and orders the phone to give the range again. Decides by the store and the phone's newest beacon; publishes nothing itself.
use super::{Exchange, rng};
use crate::clock::UnixMs;
use crate::error::Error;
use homing_link::Transport;
use homing_owner::phone::Heard;
use homing_owner::sign::Intent;
use homing_protocol::authority::{AuthorityList, Capability};
use homing_protocol::command::Op;
use homing_protocol::id::{CommandId, DeviceId};

/// What comes in is let come in: only after this much silence the newest positions count as missing, milliseconds.
const SILENCE_MS: i64 = 1_500;
/// The same range is asked for again after this time, milliseconds: the phone may be away, or its answer on the way.
const PATIENCE_MS: i64 = 60_000;
/// Until when such an order is worth sending, seconds: the next call orders anew.
const USEFUL_S: u64 = 86_400;

impl<T: Transport> Exchange<T> {
    /// Queues an order for the first missing range of a phone, if one is due.
    pub(super) fn ask_for_missing(
        &mut self,
        device: DeviceId,
        heard: &Heard,
        now: UnixMs,
    ) -> Result<(), Error> {
        // Without the sealed status the newest number is unknown, and only gaps between stored positions show.
        let newest = heard.status.as_ref().map_or(0, |status| status.reports);
        let Some((first, last)) = self.store.missing(device, newest)? else {
            return Ok(());
        };
        let (asked, came) = self.store.asked_for(device, first)?;
        let silence = [self.connected_since(now), came]
            .into_iter()
            .flatten()
            .map(|at| UnixMs(at.0.saturating_add(SILENCE_MS)));
        let due = silence
            .chain(asked.map(|at| UnixMs(at.0.saturating_add(PATIENCE_MS))))
            .max()
            .unwrap_or(now);
        // A time in the future was written while this machine's clock was wrong.
        if now < due && due.0 - now.0 <= PATIENCE_MS {
            self.look_at = self.look_at.min(due);
            return Ok(());
        }
        if self.is_asking(device)? || !self.may_ask() {
            return Ok(());
        }
        let now_s = u64::try_from(now.0 / 1_000).unwrap_or(0);
        let intent = Intent {
            id: CommandId::random(&mut rng()),
            op: Op::ResendReports { first, last },
            issued_at_s: now_s,
            not_after_s: Some(now_s.saturating_add(USEFUL_S)),
        };
        self.store.queue(device, &intent, now)
    }

    /// Whether an order for a range of this phone is on its way: one at a time.
    fn is_asking(&self, device: DeviceId) -> Result<bool, Error> {
        let outbox = self.store.outbox()?;
        Ok(outbox
            .iter()
            .any(|row| row.device == device && matches!(row.intent.op, Op::ResendReports { .. })))
    }

    /// Whether this client may read positions at all.
    fn may_ask(&self) -> bool {
        let account = &self.account;
        let list = AuthorityList::verify(&account.authority, &account.root, account.id);
        list.is_ok_and(|list| {
            list.entry(account.client.id())
                .is_some_and(|entry| entry.capabilities.allows(Capability::ReadLocation))
        })
    }
}
