//! What has to be published now: orders, lists the phone does not have, answers to claims, words on stored reports, the keyring. Decides by the store and `homing_owner`, never by what a broker acknowledged.
use super::{Acceptance, Exchange, IN_FLIGHT, Item, Stay, rng};
use crate::clock::UnixMs;
use crate::error::Error;
use crate::renewal;
use crate::store::{DeviceRow, OutboxRow, Standing};
use homing_link::{NotSent, Publication, Retention, Transport};
use homing_owner::delivery::State;
use homing_owner::enrol::Verdict;
use homing_owner::phone::{Heard, Phone, seen};
use homing_owner::resend::{self, FIRST_WAIT_MS, LONGEST_WAIT_MS, Next, Receipts, Seen, Sending};
use homing_owner::sign::{self, Place};
use homing_protocol::Refusal;
use homing_protocol::authority::Capability;
use homing_protocol::command::Op;
use homing_protocol::id::{DeviceId, SessionId};
use homing_protocol::keys::SigningKey;
use homing_protocol::topic::{Channel, Topic};

/// How often an order is signed again at once when the phone asks for it; after that with a growing wait, so that a phone that always asks cannot keep us busy.
const SIGNED_AT_ONCE: u32 = 3;

/// How long an order waits for a phone to take up our newest lists, milliseconds; then it is sent all the same, and the phone says what it lacks.
const PATIENCE_FOR_LISTS_MS: i64 = 60_000;

/// One phone with the newest that is known of it.
struct Known {
    row: DeviceRow,
    phone: Phone,
    heard: Option<Heard>,
    live_at: Option<UnixMs>,
}

impl<T: Transport> Exchange<T> {
    /// Publishes everything that is due, as far as the window allows.
    pub(super) fn send_due(&mut self) -> Result<(), Error> {
        let now = UnixMs::now();
        self.look_at = UnixMs(i64::MAX);
        self.send_keyring(now)?;
        self.send_notices(now)?;
        for topic in self.store.unwanted_topics()? {
            let item = Item::Clearing(topic.clone());
            if !self.in_flight.values().any(|under_way| *under_way == item) {
                self.publish_text(item, topic, Retention::Retained, Vec::new());
            }
        }
        let known = self.known_phones()?;
        for known in &known {
            self.send_membership(known, now)?;
            self.send_acknowledgement(known, now)?;
            self.say_that_somebody_listens(known, now)?;
            if let Some(heard) = &known.heard {
                self.ask_for_missing(known.row.id, heard, now)?;
                self.tell_of_lost_past(known.row.id, heard, now)?;
            }
        }
        self.sign_orders(&known, now)?;
        self.send_orders(&known, now)
    }

    fn known_phones(&self) -> Result<Vec<Known>, Error> {
        let mut all = Vec::new();
        for row in self.store.devices()? {
            let Some(phone) = row.phone(self.account.id, &self.account.root)? else {
                continue;
            };
            let stored = self.store.beacon(row.id)?;
            let heard = stored.as_ref().and_then(|beacon| {
                phone
                    .hear_beacon(&beacon.bytes, &self.account.client.reading)
                    .ok()
            });
            all.push(Known {
                row,
                phone,
                heard,
                live_at: stored.and_then(|beacon| beacon.live_at),
            });
        }
        Ok(all)
    }

    /// The answer to a claim until the first beacon; lists that the newest beacon shows to be missing.
    fn send_membership(&mut self, known: &Known, now: UnixMs) -> Result<(), Error> {
        let device = known.row.id;
        if let Some(answer) = &known.row.answer {
            let topic = Topic::Device(device, Channel::Command);
            self.repeat(Item::Answer(device), topic, Retention::Live, now, |_| {
                Ok(answer.clone())
            })?;
        }
        let Some(beacon) = known.heard.as_ref().map(|heard| &heard.beacon) else {
            return Ok(());
        };
        let topic = Topic::Device(device, Channel::Authority);
        let phone = known.phone;
        if beacon.key_set_version < known.row.key_set_version {
            let set = known.row.key_set.clone();
            self.repeat(
                Item::KeySet(device),
                topic,
                Retention::Retained,
                now,
                |_| Ok(sign::seal_key_set(&set, &phone, &mut rng())?),
            )?;
        }
        if beacon.authority_version < self.account.authority_version {
            self.repeat(
                Item::Authority(device),
                topic,
                Retention::Retained,
                now,
                |it| {
                    Ok(sign::seal_authority(
                        &it.account.authority,
                        &phone,
                        &mut rng(),
                    )?)
                },
            )?;
        }
        Ok(())
    }

    fn send_acknowledgement(&mut self, known: &Known, now: UnixMs) -> Result<(), Error> {
        // A delegate's word would keep from the owner what only the delegate has stored.
        if self.account.kit.is_none() {
            return Ok(());
        }
        let Some(through) = self.store.unacknowledged(known.row.id)? else {
            return Ok(());
        };
        let phone = known.phone;
        let item = Item::Acknowledgement(known.row.id, through);
        let topic = Topic::Device(known.row.id, Channel::Command);
        self.repeat(item, topic, Retention::Live, now, |it| {
            Ok(sign::seal_report_ack(
                through,
                &phone,
                &it.account.client.signing,
                &mut rng(),
            )?)
        })
    }

    /// A phone that was told that nobody listened keeps its receipts until somebody speaks to it. Who has nothing else to say says this: the resident client when it has connected, everybody while answers are waited for.
    fn say_that_somebody_listens(&mut self, known: &Known, now: UnixMs) -> Result<(), Error> {
        let Some(heard) = &known.heard else {
            return Ok(());
        };
        let device = known.row.id;
        let item = Item::Listening(device);
        let greets = self.stay == Stay::Resident && !self.repeated.contains_key(&item);
        // A delegate's word would confirm what only the delegate has stored.
        let owns = self.account.kit.is_some();
        if !owns || !(greets || self.waits_for_answers(device, heard)?) {
            return Ok(());
        }
        let (phone, through) = (known.phone, self.store.confirmed(device)?);
        let topic = Topic::Device(device, Channel::Command);
        self.repeat(item, topic, Retention::Live, now, |it| {
            Ok(sign::seal_report_ack(
                through,
                &phone,
                &it.account.client.signing,
                &mut rng(),
            )?)
        })
    }

    /// Whether the phone has accepted an order whose end is not here, or its newest beacon counts receipts that are not.
    fn waits_for_answers(&self, device: DeviceId, heard: &Heard) -> Result<bool, Error> {
        let accepted = |row: &OutboxRow| {
            row.device == device && matches!(row.state, State::Delivered | State::Running)
        };
        let misses = self.receipts(device, heard)? == Receipts::Missing;
        Ok(misses || self.store.outbox()?.iter().any(accepted))
    }

    fn receipts(&self, device: DeviceId, heard: &Heard) -> Result<Receipts, Error> {
        let newest = self.store.newest_receipt(device)?;
        // Who has none yet has nothing to miss: this client may be new.
        Ok(match newest {
            Some(newest) if newest < heard.beacon.receipts => Receipts::Missing,
            _ => Receipts::Whole,
        })
    }

    /// Publishes something that is not an order: at once on each connection, then again with a growing wait while it stays due.
    pub(super) fn repeat(
        &mut self,
        item: Item,
        topic: Topic,
        retention: Retention,
        now: UnixMs,
        payload: impl FnOnce(&Self) -> Result<Vec<u8>, Error>,
    ) -> Result<(), Error> {
        let (last, times) = self
            .repeated
            .get(&item)
            .copied()
            .unwrap_or((UnixMs(i64::MIN), 0));
        if times > 0 {
            let due = UnixMs(
                last.0
                    .saturating_add((FIRST_WAIT_MS << (times - 1).min(10)).min(LONGEST_WAIT_MS)),
            );
            if now < due {
                self.look_at = self.look_at.min(due);
                return Ok(());
            }
        }
        let payload = payload(self)?;
        if self.publish(item.clone(), topic, retention, payload) {
            self.repeated.insert(item, (now, times.saturating_add(1)));
        }
        Ok(())
    }

    /// Hands one publication to the link; `false` when it takes none now.
    fn publish(
        &mut self,
        item: Item,
        topic: Topic,
        retention: Retention,
        payload: Vec<u8>,
    ) -> bool {
        self.publish_text(item, topic.to_string(), retention, payload)
    }

    fn publish_text(
        &mut self,
        item: Item,
        topic: String,
        retention: Retention,
        payload: Vec<u8>,
    ) -> bool {
        if self.in_flight.len() >= IN_FLIGHT {
            return false;
        }
        match self.link.publish(Publication {
            topic,
            payload,
            retention,
        }) {
            Ok(token) => {
                self.in_flight.insert(token, item);
                true
            }
            Err(NotSent::Disconnected | NotSent::Full) => false,
            Err(never) => {
                self.trouble = Some(never.to_string());
                false
            }
        }
    }

    /// Signs what has no signature (any more). Needs a beacon: a new session has to quote one.
    fn sign_orders(&mut self, known: &[Known], now: UnixMs) -> Result<(), Error> {
        for row in self
            .store
            .outbox()?
            .into_iter()
            .filter(|row| row.envelope.is_none())
        {
            if row.signed_times == 0 && is_past(&row, now) {
                // Another process may have signed it meanwhile: then it is on its way.
                let _ = self.store.end_unsent(row.intent.id, State::Expired)?;
                continue;
            }
            let Some(known) = known.iter().find(|known| known.row.id == row.device) else {
                continue;
            };
            let Some(heard) = &known.heard else { continue };
            let refused = self.asked_to_sign_again(&row, Refusal::UnknownBeacon)?;
            if let Some(due) = refused.filter(|at| known.live_at.is_none_or(|live| live < *at)) {
                // The phone is about to say which beacon would do; the one we know would not.
                let due = UnixMs(due.0.saturating_add(FIRST_WAIT_MS));
                if now < due {
                    self.look_at = self.look_at.min(due);
                    continue;
                }
            }
            // Who has ordered too much gains nothing by asking at once.
            let at_once = match self.asked_to_sign_again(&row, Refusal::Busy)? {
                Some(_) => 0,
                None => SIGNED_AT_ONCE,
            };
            let wait = (FIRST_WAIT_MS << row.signed_times.saturating_sub(at_once).min(10))
                .min(LONGEST_WAIT_MS);
            let due = UnixMs(row.published_at.map_or(0, |at| at.0.saturating_add(wait)));
            if row.signed_times >= at_once && now < due {
                self.look_at = self.look_at.min(due);
                continue;
            }
            // It waits for somebody who unlocks the account.
            let Some((key, session)) = self.signer(row.device, &row.intent.op) else {
                continue;
            };
            if let Some(until) = self.wait_for_lists(&row, known, heard, now) {
                self.look_at = self.look_at.min(until);
                continue;
            }
            let beacon = Some(self.quoted(row.device, heard, &row.intent.op)?);
            let (account, phone, intent) = (&self.account, &known.phone, &row.intent);
            let signed = self.store.sign(row.intent.id, |seq| {
                let place = Place {
                    session,
                    seq,
                    beacon,
                    authority_version: account.authority_version,
                };
                Ok(sign::seal_command(intent, &place, phone, &key, &mut rng())?)
            });
            // One order that has no form must not keep all others from being sent.
            if let Err(Error::Owner(fault)) = signed {
                let detail = format!("it cannot be signed: {fault}");
                self.store.conclude(row.intent.id, State::Failed, &detail)?;
                continue;
            }
            signed?;
        }
        Ok(())
    }

    /// Who signs an order, and in which session: this client in its own, the full client in a fresh one. `None` for what
    /// needs the full key, unless the account was unlocked for this phone: an order that an earlier call left behind must
    /// not be signed by whoever unlocks the account for something else.
    fn signer(&self, device: DeviceId, op: &Op) -> Option<(SigningKey, SessionId)> {
        if op.capability() != Some(Capability::Unlock) {
            return Some((self.account.client.signing.clone(), self.account.session));
        }
        match &self.acceptance {
            Acceptance::Only(only, unlocked) if *only == device => {
                Some((unlocked.full_client(), SessionId::random(&mut rng())))
            }
            Acceptance::Locked | Acceptance::Only(..) | Acceptance::All(_) => None,
        }
    }

    /// When the phone asked for this reason that an order be signed again, if that is what it waits for.
    fn asked_to_sign_again(
        &self,
        row: &OutboxRow,
        reason: Refusal,
    ) -> Result<Option<UnixMs>, Error> {
        if row.signed_times == 0 {
            return Ok(None);
        }
        let order = self.store.order(row.intent.id)?;
        let last = order.progress.steps().last();
        let asked = last.filter(|step| step.state == State::Queued && step.detail == reason.word());
        Ok(asked.map(|step| UnixMs(step.at)))
    }

    /// Until when an order waits for the phone to show that it knows our lists, if it has to: before that the phone might refuse it, and its answer be sealed to readers who are not there yet.
    fn wait_for_lists(
        &self,
        row: &OutboxRow,
        known: &Known,
        heard: &Heard,
        now: UnixMs,
    ) -> Option<UnixMs> {
        let beacon = &heard.beacon;
        let knows_us = beacon.authority_version >= self.account.authority_version
            && beacon.key_set_version >= known.row.key_set_version;
        let issued_ms = i64::try_from(row.intent.issued_at_s).unwrap_or(0) * 1_000;
        let until = issued_ms.saturating_add(PATIENCE_FOR_LISTS_MS);
        // A lock with a code can be signed in this call alone, and never expires: the phone keeps it until the list has come.
        let is_now_or_never = matches!(row.intent.op, Op::Lost { code: Some(_), .. });
        // An order from the future was written while this machine's clock was wrong.
        let waits = !is_now_or_never
            && row.signed_times == 0
            && !knows_us
            && (issued_ms..until).contains(&now.0);
        waits.then_some(UnixMs(until))
    }

    fn send_orders(&mut self, known: &[Known], now: UnixMs) -> Result<(), Error> {
        let Some(since) = self.connected_since(now) else {
            return Ok(());
        };
        for row in self.store.outbox()? {
            let Some(known) = known.iter().find(|known| known.row.id == row.device) else {
                continue;
            };
            let under_way = Item::Order(row.intent.id);
            if row.envelope.is_none() || self.in_flight.values().any(|item| *item == under_way) {
                continue;
            }
            match resend::next(&self.sending(&row, known)?, since.0, now.0) {
                Next::Nothing => {}
                Next::WaitUntil(at) => self.look_at = self.look_at.min(UnixMs(at)),
                Next::Publish => {
                    if self.in_flight.len() >= IN_FLIGHT {
                        break;
                    }
                    // Claimed first: of two processes one publishes.
                    if let Some(envelope) = self.store.take(&row, now)? {
                        let topic = Topic::Device(row.device, Channel::Command);
                        self.publish(Item::Order(row.intent.id), topic, Retention::Live, envelope);
                    }
                }
            }
        }
        Ok(())
    }

    /// Since when this client is connected, seen from `now`.
    pub(super) fn connected_since(&mut self, now: UnixMs) -> Option<UnixMs> {
        let connected = self.connected.as_mut()?;
        Some(UnixMs(connected.since(now.0)))
    }

    fn sending(&self, row: &OutboxRow, known: &Known) -> Result<Sending, Error> {
        let seen = match (&known.heard, row.seq) {
            (Some(heard), Some(seq)) => seen(
                &heard.beacon,
                self.account.client.id(),
                self.account.session,
                seq,
            ),
            _ => Seen::Unknown,
        };
        let receipts = match &known.heard {
            Some(heard) => self.receipts(row.device, heard)?,
            None => Receipts::Whole,
        };
        Ok(Sending {
            state: row.state,
            // Since it was last signed: an earlier signature does not count.
            published_at: row
                .published_at
                .filter(|_| row.published_times > 0)
                .map(|at| at.0),
            published_times: row.published_times,
            seen,
            beacon_at: known.live_at.map(|at| at.0),
            receipts,
        })
    }

    /// Whether an answer is known to be missing that has not been asked for on this connection.
    pub(crate) fn is_about_to_ask(&mut self) -> Result<bool, Error> {
        let Some(since) = self.connected_since(UnixMs::now()) else {
            return Ok(false);
        };
        let known = self.known_phones()?;
        for row in self.store.outbox()? {
            let Some(known) = known.iter().find(|known| known.row.id == row.device) else {
                continue;
            };
            if resend::asks(&self.sending(&row, known)?, since.0) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether positions of any phone are known to exist and are not here.
    pub(crate) fn misses_positions(&self) -> Result<bool, Error> {
        for known in self.known_phones()? {
            let status = known.heard.as_ref().and_then(|heard| heard.status.as_ref());
            let newest = status.map_or(0, |status| status.reports);
            if self.store.missing(known.row.id, newest)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Signs the keys of claimed phones while the account is unlocked.
    pub(super) fn accept_claims(&mut self) -> Result<(), Error> {
        let only = match &self.acceptance {
            Acceptance::Locked => return Ok(()),
            Acceptance::Only(device, _) => Some(*device),
            Acceptance::All(_) => None,
        };
        for row in self.store.devices()? {
            if row.standing == Standing::Claimed && only.is_none_or(|device| device == row.id) {
                self.accept(&row)?;
                self.restless = true;
            }
        }
        Ok(())
    }

    fn accept(&mut self, row: &DeviceRow) -> Result<(), Error> {
        let (Acceptance::Only(_, unlocked) | Acceptance::All(unlocked)) = &mut self.acceptance
        else {
            return Ok(());
        };
        let damaged = Error::Damaged("claim");
        let (Some(invitation), Some(claim)) = (row.invitation(self.account.id), &row.claim) else {
            return Err(damaged);
        };
        let Verdict::First(claim) = invitation.judge(claim, &self.account.client.reading, None)?
        else {
            return Err(damaged);
        };
        // Another process may have changed clients or put phones out since this account was unlocked.
        renewal::freshen(&self.store, unlocked)?;
        let accepted =
            invitation.accept(&claim, unlocked, self.account.client.reader(), &mut rng())?;
        self.store.enrolled(row.id, &accepted)?;
        renewal::change(&mut self.store, unlocked, |_, _| Ok(()))?;
        self.account = self.store.account()?;
        Ok(())
    }

    /// The phone has sent positions: if we have confirmed them before, it has not heard that.
    pub(super) fn reported(&mut self, device: DeviceId) {
        self.repeated
            .retain(|item, _| !matches!(item, Item::Acknowledgement(known, _) if *known == device));
    }

    /// Forgets when something was last published for a phone, because the phone has just asked for it.
    pub(super) fn asked_again(&mut self, device: DeviceId) {
        self.repeated.remove(&Item::Answer(device));
    }
}

fn is_past(row: &OutboxRow, now: UnixMs) -> bool {
    let now_s = u64::try_from(now.0 / 1_000).unwrap_or(0);
    row.intent.not_after_s.is_some_and(|end| now_s > end)
}
