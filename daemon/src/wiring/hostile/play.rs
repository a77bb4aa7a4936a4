//! Plays a schedule: what each step means in the world as it is then. Whatever a step names is taken modulo what there is.

use homing_link::loopback::Answer;
use homing_link::{
    Disconnect, Publication, RefusedPublish, RefusedSubscription, Retention, SessionPresence,
};
use homing_oracle::{Crash, Expected, Violation, judge};
use homing_protocol::beacon::ClockTrust;
use homing_protocol::command::Op;
use homing_protocol::id::CommandId;
use homing_protocol::topic::{Channel, Topic};

use super::family::{DELEGATE, Delegate};
use super::handset::TODAY_S;
use super::step::{Step, Verb, company};
use super::world::{LISTENS, Templates, World, address, client_of};

/// How a schedule ended.
pub(super) struct Outcome {
    /// What was broken, in words; empty when nothing was.
    pub(super) faults: Vec<String>,
    /// How many orders were given.
    pub(super) orders: usize,
    /// How many effects were seen.
    pub(super) effects: usize,
}

/// Plays a schedule to its end, lets everybody behave, and asks the oracle.
pub(super) fn play(templates: &Templates, schedule: &[Step]) -> Outcome {
    let mut world = World::new(templates.of(company(schedule)));
    for step in schedule {
        take(&mut world, step);
        world.run();
    }
    world.look(Expected::NothingLost);
    world.settle();
    let facts = world.facts.borrow();
    let violations = judge(&facts);
    let words = violations.iter().map(Violation::to_string);
    let began = |fact: &&homing_oracle::Fact| matches!(fact, homing_oracle::Fact::Began(_));
    Outcome {
        faults: words.chain(world.fault.clone()).collect(),
        orders: world.orders().count(),
        effects: facts.iter().filter(began).count(),
    }
}

/// Plays a schedule and tells what was seen, step by step.
pub(super) fn story(templates: &Templates, schedule: &[Step]) -> Vec<String> {
    let mut world = World::new(templates.of(company(schedule)));
    let (mut lines, mut told) = (Vec::new(), 0);
    let mut tell = |world: &World, what: String| {
        lines.push(format!("== {what}"));
        let facts = world.facts.borrow();
        lines.extend(facts[told..].iter().map(|fact| format!("   {fact:?}")));
        told = facts.len();
    };
    tell(&world, "they begin".into());
    for step in schedule {
        take(&mut world, step);
        world.run();
        tell(&world, step.to_string());
    }
    world.settle();
    tell(&world, "everybody behaves".into());
    for order in world.orders() {
        let (id, state) = (order.intent.id, order.progress.state());
        lines.push(format!("{id} {:?}: {state}", order.intent.op));
    }
    lines
}

/// An id for the next order of a client.
fn next_id(world: &World, client: usize) -> CommandId {
    let mut id = [0; 16];
    let number = world.clients[client].orders.len() as u64 + 1;
    id[..8].copy_from_slice(&number.to_be_bytes());
    id[15] = u8::try_from(client).expect("few");
    CommandId(id)
}

fn order(world: &mut World, step: &Step) {
    let device = address(step.who % 2).device;
    let client = client_of(step.who);
    let id = next_id(world, client);
    let given: Vec<_> = world.orders().collect();
    let rings: Vec<CommandId> = given
        .iter()
        .filter(|order| order.device == device && matches!(order.intent.op, Op::Ring { .. }))
        .map(|order| order.intent.id)
        .rev()
        .take(step.m % 3 + 1)
        .collect();
    let short = u16::try_from(step.m % 50 + 1).expect("short");
    let op = match step.n % 10 {
        0..=2 => Op::Locate { search_s: short },
        3..=5 => Op::Ring { for_s: short },
        6 | 7 => Op::RingStop { rings },
        8 => Op::Status,
        _ => Op::ResendReports {
            first: 1,
            last: u64::from(short),
        },
    };
    let now = world.owner_ms();
    world.clients[client].order(device, id, op, now);
}

/// Counts on behind what this client knows, as `homing resume` does. It knows of no receipt that the phone does not, so
/// the phone's chain goes on.
fn resume(world: &mut World, step: &Step) {
    let client = client_of(step.who);
    let known = &world.clients[client].phones[step.who % 2];
    let device = known.phone.address.device;
    let heard = known.heard.as_ref();
    let status = heard.and_then(|heard| heard.status.as_ref());
    let op = Op::Resume {
        beacon: heard.map_or(0, |heard| heard.beacon.counter) + step.n as u64 % 100,
        receipts: heard.map_or(0, |heard| heard.beacon.receipts),
        head: [0; 32],
        reports: status.map_or(0, |status| status.reports) + step.m as u64 % 3,
    };
    let (id, now) = (next_id(world, client), world.owner_ms());
    world.clients[client].order(device, id, op, now);
}

/// What the delegate may order, with a word about a past that never was.
fn claim(world: &mut World, step: &Step) {
    let device = address(step.who % 2).device;
    let op = if step.n.is_multiple_of(2) {
        Op::Status
    } else {
        Op::Locate { search_s: 5 }
    };
    let (id, now) = (next_id(world, DELEGATE), world.owner_ms());
    let ahead = step.m as u64 % 50 + 1;
    world.clients[DELEGATE].order_ahead(device, id, op, ahead, now);
}

fn one_of<T: Clone>(all: &[T], index: usize) -> Option<T> {
    all.get(index.checked_rem(all.len())?).cloned()
}

/// The message as the broker remembers it: as it came, or as one that it kept.
fn as_kept(publication: Publication, m: usize) -> Publication {
    let retention = if m.is_multiple_of(2) {
        Retention::Live
    } else {
        Retention::Retained
    };
    Publication {
        retention,
        ..publication
    }
}

fn elsewhere(publication: &Publication, step: &Step) -> Option<Publication> {
    let Some(Topic::Device(device, channel)) = Topic::parse(&publication.topic) else {
        return None;
    };
    let channels = [
        Channel::Command,
        Channel::Authority,
        Channel::Beacon,
        Channel::Receipt,
        Channel::Report,
    ];
    let topic = match step.verb {
        Verb::Swap => {
            let other = usize::from(device == address(0).device);
            Topic::Device(address(other).device, channel)
        }
        _ => Topic::Device(device, channels[step.m % channels.len()]),
    };
    Some(Publication {
        topic: topic.to_string(),
        ..publication.clone()
    })
}

fn bent(mut publication: Publication, step: &Step) -> Publication {
    let length = publication.payload.len();
    if let Some(byte) = publication
        .payload
        .get_mut((step.m * 7).checked_rem(length).unwrap_or(0))
    {
        *byte ^= 1 << (step.who % 8);
    }
    publication
}

fn lie(world: &mut World, step: &Step) {
    let message = one_of(&world.history, step.n);
    match (step.verb, message) {
        (Verb::Replay, Some(message)) => world.deliver(&as_kept(message, step.m)),
        (Verb::ReplayAll, _) => {
            let mut all = world.history.clone();
            if step.m.is_multiple_of(2) {
                all.reverse();
            }
            for message in all {
                world.deliver(&as_kept(message, step.m / 2));
            }
        }
        (Verb::Swap | Verb::Cross, Some(message)) => {
            if let Some(message) = elsewhere(&message, step) {
                world.deliver(&message);
            }
        }
        (Verb::Bend, Some(message)) => world.deliver(&bent(message, step)),
        (Verb::Oversize, Some(message)) => {
            let sizes = [0, 1, 4_156, 4_157, 70_000];
            let payload = vec![u8::try_from(step.m % 256).expect("a byte"); sizes[step.n % 5]];
            world.deliver(&Publication { payload, ..message });
        }
        _ => {}
    }
}

/// Every reason for which a connection ends or is not made.
fn reasons() -> [Disconnect; 20] {
    [
        Disconnect::Unreachable,
        Disconnect::NameNotFound,
        Disconnect::Refused,
        Disconnect::TimedOut,
        Disconnect::BrokerNotTrusted,
        Disconnect::BrokerCertificateExpired,
        Disconnect::BrokerNameMismatch,
        Disconnect::BrokerCertificateInvalid("odd".into()),
        Disconnect::CertificateRevoked,
        Disconnect::CertificateRejected("odd".into()),
        Disconnect::Tls("odd".into()),
        Disconnect::NotAuthorised,
        Disconnect::ClientIdRefused,
        Disconnect::BrokerBusy,
        Disconnect::TakenOver,
        Disconnect::ClosedEarly,
        Disconnect::Broken,
        Disconnect::Stalled,
        Disconnect::NetworkChanged,
        Disconnect::Protocol("odd".into()),
    ]
}

fn connect(world: &mut World, step: &Step) {
    let name = world.name(step.who);
    match step.verb {
        Verb::Cut => {
            let reasons = reasons();
            let reason = reasons[step.n % reasons.len()].clone();
            world.hub.end(&name, reason);
        }
        Verb::Welcome => {
            let said = if step.n.is_multiple_of(2) {
                SessionPresence::Fresh
            } else {
                SessionPresence::Resumed
            };
            world.hub.welcome(&name, said);
        }
        Verb::Forget => world.hub.forget_session(&name),
        Verb::Deny => {
            let reasons = [
                RefusedSubscription::NotAuthorised,
                RefusedSubscription::FilterInvalid,
                RefusedSubscription::QuotaExceeded,
                RefusedSubscription::Unspecified,
            ];
            world.hub.refuse_subscription(&name, reasons[step.n % 4]);
        }
        _ => {
            let answers = [
                Answer::Published,
                Answer::Published,
                Answer::Unheard,
                Answer::Refused(RefusedPublish::NotAuthorised),
                Answer::Refused(RefusedPublish::QuotaExceeded),
                Answer::Refused(RefusedPublish::TopicNameInvalid),
                Answer::Refused(RefusedPublish::Unspecified),
            ];
            let count = world.hub.unanswered(&name);
            if let Some(index) = step.n.checked_rem(count) {
                let answer = answers[step.m % answers.len()];
                world.hub.answer(&name, index, answer);
            }
        }
    }
}

fn phone(world: &mut World, step: &Step) {
    let which = step.who % 2;
    let phone = &mut world.phones[which];
    match step.verb {
        Verb::Find => {
            let place = i32::try_from(step.n).expect("small");
            let found = if step.m.is_multiple_of(4) {
                Err("nothing was found".into())
            } else {
                Ok(place)
            };
            phone.find(found);
        }
        Verb::Siren => phone.siren(),
        Verb::Kill => phone.die(Crash::Agent),
        Verb::KillAt => phone.die_in(step.n as u64 % 8 + 1),
        Verb::Reboot => phone.die(Crash::Phone),
        Verb::Disk if step.n.is_multiple_of(2) => phone.break_disk(),
        Verb::Disk => phone.repair_disk(),
        _ => {
            let walls = [0, TODAY_S, TODAY_S + 86_400, 2_147_483_648, 4_070_908_800];
            let trust = if step.m.is_multiple_of(2) {
                ClockTrust::Unset
            } else {
                ClockTrust::Synchronised
            };
            phone.set_clock(walls[step.n % walls.len()], trust);
        }
    }
}

fn take(world: &mut World, step: &Step) {
    match step.verb {
        Verb::Order => order(world, step),
        Verb::Resume => resume(world, step),
        Verb::Claim => claim(world, step),
        Verb::Pass | Verb::Copy | Verb::Lose => {
            // Mostly what was published first: nothing would ever come through otherwise.
            let reach = if step.m.is_multiple_of(3) {
                world.mail.len()
            } else {
                2
            };
            let Some(index) = step.n.checked_rem(reach.min(world.mail.len())) else {
                return;
            };
            let message = world.mail[index].clone();
            if step.verb != Verb::Copy {
                world.mail.remove(index);
            }
            if step.verb != Verb::Lose {
                world.deliver(&as_kept(message, 0));
            }
        }
        Verb::Replay | Verb::ReplayAll | Verb::Swap | Verb::Cross | Verb::Bend | Verb::Oversize => {
            lie(world, step)
        }
        Verb::Cut | Verb::Welcome | Verb::Forget | Verb::Deny | Verb::Answer => {
            connect(world, step);
        }
        Verb::Later => {
            let spans = [
                50, 500, 2_000, 5_000, 11_000, 61_000, 600_000, 3_600_000, 21_600_000,
            ];
            world.later(spans[step.n % spans.len()]);
        }
        Verb::OwnerDies => {
            let account = &mut world.clients[client_of(step.who)];
            world.hub.end(account.client.name, Disconnect::Broken);
            account.die(world.hub.connect(account.client.name, &[LISTENS]));
        }
        Verb::List if step.n.is_multiple_of(2) => world.sign_list(Delegate::Listed),
        Verb::List => world.sign_list(Delegate::PutOut),
        Verb::KeySet => world.sign_key_set(step.who % 2),
        Verb::Find
        | Verb::Siren
        | Verb::Kill
        | Verb::KillAt
        | Verb::Reboot
        | Verb::Disk
        | Verb::Clock => phone(world, step),
    }
}
