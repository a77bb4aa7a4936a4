//! A client: the owner's real logic (`homing_owner`) around a store in memory. What would lie in its database survives its death, what lives with a connection does not. It must not decide what `homing_owner` decides.

mod sending;

use std::collections::{BTreeMap, HashMap};

use homing_link::loopback::Loopback;
use homing_link::{LinkEvent, Retention, Token, Transport};
use homing_oracle::{Fact, Meaning as Said, Receipt, Right, Signed};
use homing_owner::delivery::{Progress, State, Step, Witness};
use homing_owner::phone::{Heard, Meaning, Phone};
use homing_owner::resend::Connected;
use homing_owner::sign::Intent;
use homing_owner::{chain, reports};
use homing_protocol::Refusal;
use homing_protocol::command::Op;
use homing_protocol::id::{CommandId, DeviceId};
use homing_protocol::topic::{Channel, Topic};

use super::family::Client;
use super::handset::Facts;

/// An order with all that is known of it.
pub(super) struct Order {
    pub(super) device: DeviceId,
    pub(super) intent: Intent,
    pub(super) progress: Progress,
    seq: Option<u64>,
    envelope: Option<Vec<u8>>,
    signed_times: u32,
    published_at: Option<i64>,
    published_times: u32,
    /// By how much its first signature quotes a beacon that the phone has not made; 0 for an honest one.
    ahead: u64,
}

/// What is known of one phone.
pub(super) struct Known {
    pub(super) phone: Phone,
    pub(super) heard: Option<Heard>,
    live_at: Option<i64>,
    links: BTreeMap<u64, chain::Link>,
    pub(super) broken: bool,
    /// Stored positions: first number and how many.
    pub(super) stored: BTreeMap<u64, u64>,
    reports_from: u64,
    acknowledged: u64,
    came_at: Option<i64>,
    asked: BTreeMap<u64, i64>,
    pub(super) key_set: (u64, Vec<u8>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Item {
    Order(CommandId),
    Authority(DeviceId),
    KeySet(DeviceId),
    Acknowledgement(DeviceId, u64),
}

/// The client's machine.
pub(super) struct Account {
    pub(super) client: Client,
    pub(super) orders: Vec<Order>,
    pub(super) phones: Vec<Known>,
    next_seq: u64,
    pub(super) authority: (u64, Vec<u8>),
    facts: Facts,
    /// From here on it goes with the process.
    pub(super) link: Option<Loopback>,
    connected: Option<Connected>,
    in_flight: HashMap<Token, Item>,
    repeated: HashMap<Item, (i64, u32)>,
}

impl Order {
    /// The bytes that are published.
    pub(super) fn envelope(&self) -> Option<&[u8]> {
        self.envelope.as_deref()
    }
}

impl Known {
    pub(super) fn new(phone: Phone, key_set: Vec<u8>) -> Self {
        Self {
            phone,
            heard: None,
            live_at: None,
            links: BTreeMap::new(),
            broken: false,
            stored: BTreeMap::new(),
            reports_from: 1,
            acknowledged: 0,
            came_at: None,
            asked: BTreeMap::new(),
            key_set: (1, key_set),
        }
    }

    fn runs(&self) -> impl Iterator<Item = (u64, u64)> {
        self.stored.iter().map(|(first, length)| (*first, *length))
    }

    /// Whether every position up to this number is stored, or known to be gone for good.
    pub(super) fn has_all(&self, newest: u64) -> bool {
        reports::first_gap(self.reports_from, newest, self.runs()).is_none()
    }
}

impl Account {
    pub(super) fn new(
        client: Client,
        phones: Vec<Known>,
        authority: Vec<u8>,
        facts: &Facts,
    ) -> Self {
        Self {
            client,
            orders: Vec::new(),
            phones,
            next_seq: 1,
            authority: (1, authority),
            facts: Facts::clone(facts),
            link: None,
            connected: None,
            in_flight: HashMap::new(),
            repeated: HashMap::new(),
        }
    }

    /// The machine is killed; its database stays.
    pub(super) fn die(&mut self, link: Loopback) {
        self.link = Some(link);
        self.connected = None;
        self.in_flight.clear();
        self.repeated.clear();
    }

    /// Writes an order into the outbox.
    pub(super) fn order(&mut self, device: DeviceId, id: CommandId, op: Op, now: i64) {
        self.order_ahead(device, id, op, 0, now);
    }

    /// The same, and its first signature claims to know so many beacons more than there are.
    pub(super) fn order_ahead(
        &mut self,
        device: DeviceId,
        id: CommandId,
        op: Op,
        ahead: u64,
        now: i64,
    ) {
        let needed = op.capability();
        let may = needed.is_some_and(|needed| self.client.rights.allows(needed));
        self.facts.borrow_mut().push(Fact::Signed(Signed {
            phone: device,
            command: id,
            op: op.clone(),
            right: if may { Right::Has } else { Right::Lacks },
        }));
        let issued_at_s = u64::try_from(now / 1_000).unwrap_or(0);
        self.orders.push(Order {
            device,
            intent: Intent {
                id,
                op,
                issued_at_s,
                not_after_s: None,
            },
            progress: Progress::queued(now),
            seq: None,
            envelope: None,
            signed_times: 0,
            published_at: None,
            published_times: 0,
            ahead,
        });
    }

    /// Takes what lies before it and sends what is due; whether anything lay there.
    pub(super) fn turn(&mut self, now: i64) -> bool {
        let mut busy = false;
        while let Some(event) = self.link.as_mut().and_then(Loopback::next_now) {
            busy = true;
            self.take_in(event, now);
        }
        if self.connected.is_some() {
            self.send_due(now);
        }
        busy
    }

    fn take_in(&mut self, event: LinkEvent, now: i64) {
        match event {
            LinkEvent::Connected { .. } => {
                self.connected = Some(Connected::new(now));
                self.repeated.clear();
            }
            LinkEvent::Disconnected { .. } => {
                self.connected = None;
                self.in_flight.clear();
            }
            LinkEvent::Message(delivery) => {
                if let Some(Topic::Device(device, channel)) = Topic::parse(&delivery.topic) {
                    let live = delivery.retention == Retention::Live;
                    self.hear(device, channel, &delivery.payload, live.then_some(now), now);
                }
                if let Some(link) = &mut self.link {
                    link.acknowledge(delivery.acknowledgement);
                }
            }
            LinkEvent::Published(token) | LinkEvent::Unheard(token) => {
                match self.in_flight.remove(&token) {
                    Some(Item::Order(id)) => self.sent(id, now),
                    Some(Item::Acknowledgement(device, through)) => {
                        if let Some(known) = self.known(device) {
                            known.acknowledged = through;
                        }
                    }
                    _ => {}
                }
            }
            LinkEvent::PublishRefused { token, .. } => {
                self.in_flight.remove(&token);
            }
            LinkEvent::SubscriptionRefused { .. } => {}
        }
    }

    fn known(&mut self, device: DeviceId) -> Option<&mut Known> {
        let mut all = self.phones.iter_mut();
        all.find(|known| known.phone.address.device == device)
    }

    fn sent(&mut self, id: CommandId, now: i64) {
        if let Some(order) = self.orders.iter_mut().find(|order| order.intent.id == id) {
            let _ = order.progress.record(Step {
                state: State::Sent,
                at: now,
                witness: Witness::Owner,
                detail: String::new(),
            });
        }
    }

    fn hear(
        &mut self,
        device: DeviceId,
        channel: Channel,
        payload: &[u8],
        live_at: Option<i64>,
        now: i64,
    ) {
        let reader = self.client.reading.clone();
        let Some(known) = self.known(device) else {
            return;
        };
        match channel {
            Channel::Beacon => {
                if let Ok(heard) = known.phone.hear_beacon(payload, &reader) {
                    let newest = known.heard.as_ref().map_or(0, |heard| heard.beacon.counter);
                    if heard.beacon.counter > newest {
                        known.live_at = live_at;
                        known.heard = Some(heard);
                    }
                }
            }
            Channel::Receipt => {
                if let Ok(answer) = known.phone.hear_receipt(payload, &reader) {
                    self.heard_receipt(device, &answer, now);
                }
            }
            Channel::Report => {
                if let Ok(report) = known.phone.hear_report(payload, &reader) {
                    let length = report.positions.len() as u64;
                    let longest = known.stored.entry(report.first).or_default();
                    *longest = length.max(*longest);
                    known.acknowledged = known.acknowledged.min(report.first - 1);
                    known.came_at = Some(now);
                    self.repeated.retain(
                        |item, _| !matches!(item, Item::Acknowledgement(of, _) if *of == device),
                    );
                    let last = report.first + length - 1;
                    let stored = Fact::Stored(device, report.first, last);
                    self.facts.borrow_mut().push(stored);
                }
            }
            Channel::Command | Channel::Authority | Channel::Enrol => {}
        }
    }

    fn heard_receipt(&mut self, device: DeviceId, answer: &homing_owner::phone::Answer, now: i64) {
        let receipt = &answer.receipt;
        let link = chain::Link {
            counter: receipt.counter,
            previous: receipt.previous,
            head: answer.head,
        };
        let meaning = answer.meaning(now);
        let said = match meaning {
            Meaning::Step(_) => Said::Step,
            Meaning::SignAgain(_) => Said::SignAgain,
        };
        self.facts.borrow_mut().push(Fact::Told(Receipt {
            phone: device,
            counter: receipt.counter,
            command: receipt.command,
            state: receipt.state,
            meaning: said,
        }));
        let report = answer.detail.as_ref().and_then(|detail| detail.report);
        let is_resend = self.orders.iter().any(|order| {
            order.intent.id == receipt.command
                && matches!(order.intent.op, Op::ResendReports { .. })
        });
        let Some(known) = self.known(device) else {
            return;
        };
        match known.links.insert(receipt.counter, link) {
            Some(before) if before != link => known.broken = true,
            Some(_) => return,
            None => {}
        }
        if let (Some(kept), true) = (report, is_resend) {
            known.reports_from = known.reports_from.max(kept);
        }
        let Some(order) = self
            .orders
            .iter_mut()
            .find(|order| order.intent.id == receipt.command)
        else {
            return;
        };
        match meaning {
            Meaning::Step(step) => {
                let _ = order.progress.record(step);
            }
            Meaning::SignAgain(reason) => {
                if order.seq == Some(receipt.seq) && !order.progress.state().is_final() {
                    order.envelope = None;
                    order.seq = None;
                    order.published_times = 0;
                    let _ = order.progress.requeue(now, Refusal::word(reason));
                }
            }
        }
    }
}
