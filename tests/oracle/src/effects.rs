//! Invariants 1, 2 and 6: what happens in the world was ordered by who may, happens once, and not after its end.

use crate::fact::{Crash, Effect, Fact, Journal, Kind, Meaning, Receipt, Right};
use crate::{Findings, Invariant};
use homing_protocol::command::Op;
use homing_protocol::id::{CommandId, DeviceId};
use homing_protocol::receipt::CommandState;
use std::collections::BTreeMap;

/// How often a ring may begin: first, and again after restarts of the phone (policy's bound).
const MOST_STARTS: u64 = 3;
/// What a sound may last beyond its time, ms: the agent looks after its siren each second.
const GRACE_MS: u64 = 2_000;

/// What a sound may last beyond its time where only the sum is known, ms: samples are written in blocks of 100 ms, two
/// of which may wait when the siren starts and when it ends.
const BLOCKS_MS: u64 = 400;

/// What is known of one order on one phone.
#[derive(Default)]
struct Known {
    op: Option<Op>,
    /// Whether who ordered it may; nothing is known before it was ordered.
    right: Option<Right>,
    /// When it began and has not ended, by the world's clock.
    under_way: Option<u64>,
    /// Whether it has begun since the agent's last start.
    begun: bool,
    starts: u64,
    sounded_ms: u64,
    end: Option<CommandState>,
}

type Orders = BTreeMap<(DeviceId, CommandId), Known>;

/// Judges.
pub(crate) fn judge(facts: &[Fact], findings: &mut Findings) {
    let mut orders = Orders::new();
    for fact in facts {
        match fact {
            Fact::Signed(signed) => {
                let known = orders.entry((signed.phone, signed.command)).or_default();
                known.op = Some(signed.op.clone());
                known.right = Some(signed.right);
            }
            Fact::Began(effect) => begin(&mut orders, effect, findings),
            Fact::Played(phone, ms) => played(&orders, *phone, *ms, findings),
            Fact::Ended(effect) => end(&mut orders, effect, findings),
            Fact::Crashed(phone, crash) => cut(&mut orders, *phone, *crash),
            Fact::Published(receipt) | Fact::Told(receipt) => {
                answer(&mut orders, receipt, findings);
            }
            Fact::Journal(phone, journal) => look(&mut orders, *phone, journal, findings),
            _ => {}
        }
    }
}

const fn fits(op: &Op, kind: Kind) -> bool {
    matches!(
        (op, kind),
        (Op::Locate { .. }, Kind::Search) | (Op::Ring { .. }, Kind::Sound)
    )
}

fn begin(orders: &mut Orders, effect: &Effect, findings: &mut Findings) {
    let Effect { phone, command, .. } = *effect;
    let known = orders.entry((phone, command)).or_default();
    let what = format!("{:?} of {command} on {phone}", effect.kind);
    match &known.op {
        Some(op) if fits(op, effect.kind) => {}
        Some(op) => findings.add(
            Invariant::OnlyOrders,
            format!("{what} began, but the order is a {}", op.word()),
        ),
        None => findings.add(
            Invariant::OnlyOrders,
            format!("{what} began, and nobody ordered it"),
        ),
    }
    if known.right == Some(Right::Lacks) {
        findings.add(
            Invariant::OnlyOrders,
            format!("{what} began, and who ordered it may not"),
        );
    }
    if known.begun {
        findings.add(Invariant::Once, format!("{what} began twice"));
    }
    if let Some(end) = known.end {
        findings.add(
            Invariant::EndsStay,
            format!("{what} began after the order was {}", end.word()),
        );
    }
    known.begun = true;
    known.starts += 1;
    known.under_way = Some(effect.at_ms);
}

fn end(orders: &mut Orders, effect: &Effect, findings: &mut Findings) {
    let Effect { phone, command, .. } = *effect;
    let known = orders.entry((phone, command)).or_default();
    let Some(since) = known.under_way.take() else {
        return;
    };
    let (Kind::Sound, Some(Op::Ring { for_s })) = (effect.kind, &known.op) else {
        return;
    };
    known.sounded_ms += effect.at_ms.saturating_sub(since);
    let starts = known.starts.min(MOST_STARTS);
    let allowed = (u64::from(*for_s) * 1_000 + GRACE_MS) * starts;
    if known.sounded_ms > allowed {
        findings.add(
            Invariant::Once,
            format!(
                "the ring {command} sounded {} ms on {phone}, ordered were {for_s} s",
                known.sounded_ms
            ),
        );
    }
}

fn played(orders: &Orders, phone: DeviceId, ms: u64, findings: &mut Findings) {
    let rings = orders.iter().filter(|((of, _), _)| *of == phone);
    let allowed: u64 = rings
        .filter_map(|(_, known)| match known.op {
            Some(Op::Ring { for_s }) => Some(u64::from(for_s) * 1_000 + BLOCKS_MS),
            _ => None,
        })
        .sum();
    if ms > allowed {
        findings.add(
            Invariant::Once,
            format!("{phone} played {ms} ms, and all its rings together may take {allowed} ms"),
        );
    }
}

fn cut(orders: &mut Orders, phone: DeviceId, crash: Crash) {
    for (_, known) in orders.iter_mut().filter(|((of, _), _)| *of == phone) {
        // The siren is a process of its own and goes on when the agent dies; a search goes with the agent.
        let is_search = matches!(known.op, Some(Op::Locate { .. }));
        if is_search || crash == Crash::Phone {
            known.begun = false;
            known.under_way = None;
        }
    }
}

fn answer(orders: &mut Orders, receipt: &Receipt, findings: &mut Findings) {
    let Receipt { phone, command, .. } = *receipt;
    if receipt.meaning == Meaning::SignAgain {
        return;
    }
    ended(orders, phone, command, receipt.state, findings);
    if receipt.state != CommandState::Done {
        return;
    }
    let Some(Op::RingStop { rings }) = orders
        .get(&(phone, command))
        .and_then(|known| known.op.clone())
    else {
        return;
    };
    for ring in rings {
        let known = orders.entry((phone, ring)).or_default();
        if known.under_way.is_some() {
            findings.add(
                Invariant::EndsStay,
                format!("the stop {command} was called done while {ring} still sounded on {phone}"),
            );
        }
        // From now on it must not begin, whether or not it has arrived.
        known.end.get_or_insert(CommandState::Cancelled);
    }
}

fn look(orders: &mut Orders, phone: DeviceId, journal: &Journal, findings: &mut Findings) {
    let mut places = BTreeMap::new();
    for (command, entry) in &journal.commands {
        let nobody = orders
            .get(&(phone, *command))
            .is_none_or(|known| known.op.is_none());
        if nobody && entry.state != CommandState::Refused {
            findings.add(
                Invariant::OnlyOrders,
                format!("the journal of {phone} holds {command}, which nobody ordered"),
            );
        }
        ended(orders, phone, *command, entry.state, findings);
        if let Some(place) = entry.place
            && let Some(other) = places.insert(place, *command)
        {
            findings.add(
                Invariant::Once,
                format!(
                    "{phone} took {other} and {command} on under one number ({})",
                    place.2
                ),
            );
        }
    }
}

fn ended(
    orders: &mut Orders,
    phone: DeviceId,
    command: CommandId,
    state: CommandState,
    findings: &mut Findings,
) {
    let known = orders.entry((phone, command)).or_default();
    let refused = state == CommandState::Refused;
    match known.right {
        Some(Right::Lacks) if state.is_final() && !refused => findings.add(
            Invariant::OnlyOrders,
            format!(
                "{command} on {phone} is {}, and who ordered it may not",
                state.word()
            ),
        ),
        // Sessions of honest clients do not take one another's numbers.
        Some(Right::Has) if refused => findings.add(
            Invariant::Once,
            format!("{command} was refused on {phone} for good, and who ordered it may"),
        ),
        _ => {}
    }
    match known.end {
        // A stop that names it ends it before it comes, and its refusal is no other end.
        Some(_) if refused && known.right == Some(Right::Lacks) => {}
        Some(end) if state.is_final() && end != state => {
            findings.add(
                Invariant::EndsStay,
                format!(
                    "{command} on {phone} was {} and is now {}",
                    end.word(),
                    state.word()
                ),
            );
        }
        None if state.is_final() => known.end = Some(state),
        _ => {}
    }
}
