//! What the owner has to send now, as `homing` finds it out: lists, words on stored positions, requests for missing ones, orders. It must not choose by itself when something is due.

use homing_link::{Publication, Retention, Transport};
use homing_owner::phone::seen;
use homing_owner::reports;
use homing_owner::resend::{self, FIRST_WAIT_MS, LONGEST_WAIT_MS, Next, Receipts, Seen, Sending};
use homing_owner::sign::{self, Place};
use homing_protocol::authority::Capability;
use homing_protocol::command::{MOST_RESENT, Op};
use homing_protocol::id::CommandId;
use homing_protocol::topic::{Channel, Topic};

use super::{Account, Item, Order};
use crate::keystore::randomness;

/// As in `homing`: silence before the newest positions count as missing, and the pause between two requests.
const SILENCE_MS: i64 = 1_500;
const PATIENCE_MS: i64 = 60_000;
/// As in `homing`: how often an order is signed again at once.
const SIGNED_AT_ONCE: u32 = 3;
/// As in `homing`: publications under way at once.
const IN_FLIGHT: usize = 16;

impl Account {
    pub(super) fn send_due(&mut self, now: i64) {
        let is_owner = self.client.rights.allows(Capability::ReadLocation);
        for index in 0..self.phones.len() {
            // One machine sends the lists: the others would only say the same.
            if self.client.index == 0 {
                self.send_lists(index, now);
            }
            if is_owner {
                self.send_acknowledgement(index, now);
                self.ask_for_missing(index, now);
            }
        }
        self.sign_orders(now);
        self.send_orders(now);
    }

    fn send_lists(&mut self, index: usize, now: i64) {
        let known = &self.phones[index];
        let Some(beacon) = known.heard.as_ref().map(|heard| &heard.beacon) else {
            return;
        };
        let (phone, device) = (known.phone, known.phone.address.device);
        let topic = Topic::Device(device, Channel::Authority);
        let (older, lists) = (
            beacon.authority_version < self.authority.0,
            beacon.key_set_version < known.key_set.0,
        );
        let (key_set, authority) = (known.key_set.1.clone(), self.authority.1.clone());
        let rng = &mut randomness();
        let item = Item::KeySet(device);
        if lists && self.is_due(&item, now) {
            let sealed = sign::seal_key_set(&key_set, &phone, rng).expect("sealed");
            self.repeat(item, topic, Retention::Retained, now, sealed);
        }
        let item = Item::Authority(device);
        if older && self.is_due(&item, now) {
            let sealed = sign::seal_authority(&authority, &phone, rng).expect("sealed");
            self.repeat(item, topic, Retention::Retained, now, sealed);
        }
    }

    fn send_acknowledgement(&mut self, index: usize, now: i64) {
        let known = &self.phones[index];
        let from = known.reports_from.max(known.acknowledged + 1);
        let Some(through) = reports::complete_through(from, known.runs()) else {
            return;
        };
        let phone = known.phone;
        let device = phone.address.device;
        let item = Item::Acknowledgement(device, through);
        if self.is_due(&item, now) {
            let (signer, rng) = (&self.client.signing, &mut randomness());
            let sealed = sign::seal_report_ack(through, &phone, signer, rng).expect("sealed");
            let topic = Topic::Device(device, Channel::Command);
            self.repeat(item, topic, Retention::Live, now, sealed);
        }
    }

    fn ask_for_missing(&mut self, index: usize, now: i64) {
        let known = &self.phones[index];
        let Some(status) = known.heard.as_ref().and_then(|heard| heard.status.as_ref()) else {
            return;
        };
        let from = known.reports_from.max(known.acknowledged + 1);
        let Some((first, last)) = reports::first_gap(from, status.reports, known.runs()) else {
            return;
        };
        let last = last.min(first + MOST_RESENT - 1);
        let since = self.connected.as_mut().map(|it| it.since(now));
        let known = &self.phones[index];
        let quiet = [since, known.came_at].into_iter().flatten();
        let quiet = quiet.map(|at| at + SILENCE_MS);
        let asked = known.asked.get(&first).map(|at| at + PATIENCE_MS);
        let due = quiet.chain(asked).max().unwrap_or(now);
        let device = known.phone.address.device;
        let is_asking = self.orders.iter().any(|order| {
            order.device == device
                && !order.progress.state().is_final()
                && matches!(order.intent.op, Op::ResendReports { .. })
        });
        if now < due || is_asking {
            return;
        }
        self.phones[index].asked.insert(first, now);
        let mut id = [0xee; 16];
        id[..8].copy_from_slice(&(self.orders.len() as u64).to_be_bytes());
        id[15] -= u8::try_from(self.client.index).expect("few");
        self.order(
            device,
            CommandId(id),
            Op::ResendReports { first, last },
            now,
        );
    }

    /// Whether something that is no order may be published (again).
    fn is_due(&self, item: &Item, now: i64) -> bool {
        self.repeated.get(item).is_none_or(|(last, times)| {
            let wait = (FIRST_WAIT_MS << (times - 1).min(10)).min(LONGEST_WAIT_MS);
            now >= last.saturating_add(wait)
        })
    }

    fn repeat(&mut self, item: Item, topic: Topic, retention: Retention, now: i64, bytes: Vec<u8>) {
        let times = self.repeated.get(&item).map_or(0, |(_, times)| *times);
        if self.publish(item.clone(), topic, retention, bytes) {
            self.repeated.insert(item, (now, times + 1));
        }
    }

    fn publish(
        &mut self,
        item: Item,
        topic: Topic,
        retention: Retention,
        payload: Vec<u8>,
    ) -> bool {
        let Some(link) = &mut self.link else {
            return false;
        };
        let topic = topic.to_string();
        let taken = self.in_flight.len() < IN_FLIGHT;
        let token = taken.then(|| {
            link.publish(Publication {
                topic,
                payload,
                retention,
            })
        });
        match token {
            Some(Ok(token)) => {
                self.in_flight.insert(token, item);
                true
            }
            Some(Err(_)) | None => false,
        }
    }

    fn sign_orders(&mut self, now: i64) {
        for order in &mut self.orders {
            if order.envelope.is_some() || order.progress.state().is_final() {
                continue;
            }
            let mut phones = self.phones.iter();
            let Some(known) = phones.find(|known| known.phone.address.device == order.device)
            else {
                continue;
            };
            let Some(heard) = &known.heard else { continue };
            let wait = FIRST_WAIT_MS << order.signed_times.saturating_sub(SIGNED_AT_ONCE).min(10);
            let due = order
                .published_at
                .map_or(0, |at| at + wait.min(LONGEST_WAIT_MS));
            if order.signed_times >= SIGNED_AT_ONCE && now < due {
                continue;
            }
            let mut quoted = heard.beacon.reference();
            quoted.counter += std::mem::take(&mut order.ahead);
            let place = Place {
                session: self.client.session,
                seq: self.next_seq,
                beacon: Some(quoted),
                authority_version: self.authority.0,
            };
            let signer = &self.client.signing;
            let rng = &mut randomness();
            let sealed = sign::seal_command(&order.intent, &place, &known.phone, signer, rng);
            order.envelope = Some(sealed.expect("sealed"));
            order.seq = Some(self.next_seq);
            order.signed_times += 1;
            order.published_times = 0;
            self.next_seq += 1;
        }
    }

    fn send_orders(&mut self, now: i64) {
        let Some(since) = self.connected.as_mut().map(|it| it.since(now)) else {
            return;
        };
        for index in 0..self.orders.len() {
            let order = &self.orders[index];
            let item = Item::Order(order.intent.id);
            let Some(envelope) = order.envelope.clone() else {
                continue;
            };
            if self.in_flight.values().any(|under_way| *under_way == item)
                || resend::next(&self.sending(order), since, now) != Next::Publish
                || self.in_flight.len() >= IN_FLIGHT
            {
                continue;
            }
            let topic = Topic::Device(order.device, Channel::Command);
            let order = &mut self.orders[index];
            order.published_at = Some(now);
            order.published_times += 1;
            self.publish(item, topic, Retention::Live, envelope);
        }
    }

    fn sending(&self, order: &Order) -> Sending {
        let mut phones = self.phones.iter();
        let known = phones.find(|known| known.phone.address.device == order.device);
        let heard = known.and_then(|known| known.heard.as_ref());
        let client = self.client.signing.public().client_id();
        let seen = match (heard, order.seq) {
            (Some(heard), Some(seq)) => seen(&heard.beacon, client, self.client.session, seq),
            _ => Seen::Unknown,
        };
        Sending {
            state: order.progress.state(),
            published_at: order.published_at.filter(|_| order.published_times > 0),
            published_times: order.published_times,
            seen,
            beacon_at: known.and_then(|known| known.live_at),
            receipts: Receipts::Whole,
        }
    }
}
