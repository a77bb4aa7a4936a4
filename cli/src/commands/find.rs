//! `locate` and `ring`: an order into the outbox, its way watched, its result printed.
use super::device::tell_trouble;
use super::position::{Found, position};
use super::show::Known;
use super::{Context, waiting};
use crate::args::{Locate, Ring};
use crate::clock::UnixMs;
use crate::duration::Span;
use crate::error::Error;
use crate::exchange::{Acceptance, Exchange, Stay, rng};
use crate::output::harmless;
use crate::store::{DeviceRow, Order, Standing, Store, Withdrawn};
use homing_link::MqttLink;
use homing_owner::clients::own_entry;
use homing_owner::delivery::{State, Witness};
use homing_owner::sign::{Intent, ring_stop};
use homing_protocol::Refusal;
use homing_protocol::command::Op;
use homing_protocol::id::CommandId;
use homing_protocol::readers::{KeySet, Reads};
use serde_json::{Value, json};
use std::time::Duration;

/// Longest siren and longest search, seconds (protocol v1).
const LONGEST_RING_S: u64 = 3_600;
const LONGEST_SEARCH_S: u64 = 600;
/// Shortest search asked for: a receiver that starts cold needs about half a minute.
const SHORTEST_SEARCH_S: u64 = 30;

/// One phone that has joined.
pub(crate) fn joined(store: &Store, name: &str) -> Result<DeviceRow, Error> {
    let row = store.device_named(name)?;
    if row.standing == Standing::Enrolled {
        return Ok(row);
    }
    Err(Error::Usage(format!(
        "{name} has not joined yet; see `homing device show {name}`"
    )))
}

/// Queues an order; the id under which it is followed.
pub(crate) fn order(
    store: &mut Store,
    row: &DeviceRow,
    op: Op,
    within: Option<Span>,
) -> Result<CommandId, Error> {
    let id = CommandId::random(&mut rng());
    order_as(store, row, id, op, within)?;
    Ok(id)
}

/// Queues an order under an id that something else depends on.
pub(super) fn order_as(
    store: &mut Store,
    row: &DeviceRow,
    id: CommandId,
    op: Op,
    within: Option<Span>,
) -> Result<(), Error> {
    let now = UnixMs::now();
    let now_s = u64::try_from(now.0 / 1_000).unwrap_or(0);
    let intent = Intent {
        id,
        op,
        issued_at_s: now_s,
        not_after_s: within.map(|within| now_s.saturating_add(within.0.as_secs())),
    };
    store.queue(row.id, &intent, now)
}

/// `homing locate`.
pub(crate) fn locate(context: &Context, args: &Locate) -> Result<(), Error> {
    let mut store = Store::open(&context.home)?;
    let row = joined(&store, &args.name)?;
    if args.last {
        let Some(found) = position(&store, &row, None)? else {
            return Err(Error::NoAnswerYet(format!(
                "no position of {} is known here yet",
                harmless(&row.name)
            )));
        };
        return found.print(context, &row);
    }
    let search_s = args
        .wait
        .0
        .as_secs()
        .clamp(SHORTEST_SEARCH_S, LONGEST_SEARCH_S);
    let search_s = u16::try_from(search_s).unwrap_or(u16::MAX);
    let last = position(&store, &row, None)?;
    if let Some(last) = &last {
        let line = last.line(context);
        context.out.progress(&format!("Last known: {line}"));
    }
    let before = last.map_or(0, |found| found.number);
    let id = order(&mut store, &row, Op::Locate { search_s }, None)?;
    let sighted = reads_positions(&store, &row)?;
    let (store, end) = follow(context, store, id, args.wait, |order, store| {
        let state = order.progress.state();
        let located = match order.report {
            // It found nothing; the number is that of the last known position.
            _ if state == State::Failed => None,
            Some(number) => position(store, &row, Some(number))?,
            // A newer search took this one's place: its position is the answer to both.
            None if state == State::Superseded => {
                position(store, &row, None)?.filter(|found| found.number > before)
            }
            None => None,
        };
        // A done order whose report is still on its way has not answered yet.
        let answered = match state {
            State::Done => located.is_some() || order.report.is_none() || !sighted,
            State::Superseded => located.is_some() || !sighted,
            state => state.is_final(),
        };
        Ok(answered.then_some(located))
    })?;
    match end {
        Some(Some(found)) => found.print(context, &row),
        Some(None) => {
            let order = store.order(id)?;
            if order.progress.state() == State::Failed {
                print_last_known(context, &store, &row, &order)?;
            }
            if order.progress.state() != State::Done || sighted {
                return Err(Error::Refused(ended(&store, &row, &order)));
            }
            context.out.both(
                &format!(
                    "{} has been located. Its position went to those who may read it; this machine may not.",
                    harmless(&row.name)
                ),
                &order_json(&row, &order),
            )
        }
        // The search that took its place found nothing: no order is left to wait for.
        None if store.order(id)?.progress.state() == State::Superseded => {
            Err(Error::Refused(ended(&store, &row, &store.order(id)?)))
        }
        None => {
            let last = position(&store, &row, None)?;
            let known = json!({ "last_known": json_of(last.as_ref(), &row) });
            print_waiting(context, &store, &row, id, &known)?;
            if let Some(last) = last {
                context.out.text(&last_known(context, &last))?;
            }
            Err(Error::NoAnswerYet(format!(
                "{} has not answered within {}; the order stays queued",
                harmless(&row.name),
                args.wait
            )))
        }
    }
}

fn last_known(context: &Context, last: &Found) -> String {
    format!("Last known: {}\n{}", last.line(context), last.link())
}

/// What is known although a search found nothing: the newest position here, and whether the phone names a newer one.
fn print_last_known(
    context: &Context,
    store: &Store,
    row: &DeviceRow,
    order: &Order,
) -> Result<(), Error> {
    let last = position(store, row, None)?;
    let mut object = order_json(row, order);
    object["last_known"] = json_of(last.as_ref(), row);
    object["last_known_to_phone"] = json!(order.report);
    let newer = order.report > last.as_ref().map(|last| last.number);
    if let Some(last) = &last {
        context.out.text(&last_known(context, last))?;
    }
    if newer {
        context.out.text(&format!(
            "{} knows a newer position, which has not come yet: `homing locate {} --last` shows it once it has.",
            harmless(&row.name),
            harmless(&row.name)
        ))?;
    }
    context.out.json(&object)
}

fn json_of(last: Option<&Found>, row: &DeviceRow) -> Value {
    last.map_or(Value::Null, |last| last.json(row))
}

/// `homing ring`.
pub(crate) fn ring(context: &Context, args: &Ring) -> Result<(), Error> {
    let mut store = Store::open(&context.home)?;
    let row = joined(&store, &args.name)?;
    let id = if args.stop {
        stop(&mut store, &row)?
    } else {
        start(&mut store, &row, args)?
    };
    let (store, end) = follow(context, store, id, args.wait, |order, _| {
        let state = order.progress.state();
        Ok((state.is_final() || (!args.stop && state == State::Running)).then_some(state))
    })?;
    let name = harmless(&row.name);
    match end {
        Some(State::Running | State::Done) => {
            let sentence = if args.stop {
                format!("{name} is silent.")
            } else {
                format!("{name} rings.")
            };
            context
                .out
                .both(&sentence, &order_json(&row, &store.order(id)?))
        }
        Some(_) => Err(Error::Refused(ended(&store, &row, &store.order(id)?))),
        // The order is safe in the outbox: the command was carried out, the phone will be.
        None => print_waiting(context, &store, &row, id, &Value::Null),
    }
}

fn start(store: &mut Store, row: &DeviceRow, args: &Ring) -> Result<CommandId, Error> {
    let seconds = args.sound_for.0.as_secs();
    if !(1..=LONGEST_RING_S).contains(&seconds) {
        return Err(Error::Usage("--for takes from 1s to 1h".into()));
    }
    let for_s = u16::try_from(seconds).unwrap_or(u16::MAX);
    order(store, row, Op::Ring { for_s }, Some(args.within))
}

/// Ends rings that never left this machine here, and names all others to the phone.
fn stop(store: &mut Store, row: &DeviceRow) -> Result<CommandId, Error> {
    let (mut ids, account) = (Vec::new(), store.account()?);
    let heard = Known::read(store, &account, row.clone())?.heard;
    ids.extend(heard.and_then(|heard| heard.status?.ring));
    for open in store.open_orders(row.id, |op| matches!(op, Op::Ring { .. }))? {
        let ring = open.intent.id;
        // `homing watch` may be signing it at this very moment.
        if store.end_unsent(ring, State::Cancelled)? == Withdrawn::TooLate && !ids.contains(&ring) {
            ids.push(ring);
        }
    }
    order(store, row, ring_stop(&ids), None)
}

/// Connects, delivers, and shows the order's steps until `done` says so or the time is over.
pub(super) fn follow<R>(
    context: &Context,
    store: Store,
    id: CommandId,
    wait: Span,
    done: impl FnMut(&Order, &Store) -> Result<Option<R>, Error>,
) -> Result<(Store, Option<R>), Error> {
    follow_as(context, store, Acceptance::Locked, id, wait, done)
}

/// As [`follow`], with an account that may be unlocked.
pub(super) fn follow_as<R>(
    context: &Context,
    store: Store,
    acceptance: Acceptance,
    id: CommandId,
    wait: Span,
    mut done: impl FnMut(&Order, &Store) -> Result<Option<R>, Error>,
) -> Result<(Store, Option<R>), Error> {
    waiting(async {
        let mut exchange = Exchange::start(store, Stay::Call, acceptance)?;
        let (mut shown, mut told) = (0, None);
        let end = exchange
            .until(wait.0, |it: &mut Exchange<MqttLink>| {
                tell_trouble(context, it, &mut told);
                let order = it.store.order(id)?;
                for step in order.progress.steps().iter().skip(shown) {
                    let at = UnixMs(step.at).short(UnixMs::now());
                    context.out.progress(
                        format!("{at} {} {}", step.state, harmless(&step.detail)).trim_end(),
                    );
                }
                shown = order.progress.steps().len();
                done(&order, &it.store)
            })
            .await?;
        // What came in with the answer is confirmed to the phone before we leave.
        exchange.settle(Duration::from_secs(2)).await?;
        exchange.close().await?;
        Ok((exchange.into_unlocked().0, end))
    })
}

pub(super) fn print_waiting(
    context: &Context,
    store: &Store,
    row: &DeviceRow,
    id: CommandId,
    more: &Value,
) -> Result<(), Error> {
    let order = store.order(id)?;
    let known = Known::read(store, &store.account()?, row.clone())?;
    let now = UnixMs::now();
    let mut object = order_json(row, &order);
    object["next_planned_contact"] = json!(known.next_contact().map(UnixMs::rfc3339));
    for (key, value) in more.as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
    context.out.both(
        &format!(
            "The order is {} and waits for {} ({}). `homing watch` or any later homing call delivers it; `homing log {}` shows its way.",
            order.progress.state(),
            harmless(&row.name),
            known.contact_sentence(now),
            harmless(&row.name),
        ),
        &object,
    )
}

/// Whether the newest key set known here names this client as a reader of positions.
fn reads_positions(store: &Store, row: &DeviceRow) -> Result<bool, Error> {
    let account = store.account()?;
    let address = row.address(account.id);
    let set = KeySet::verify(&row.key_set, &account.root, &address)
        .map_err(homing_owner::Error::Stored)?;
    let own = account.client.id();
    // Who is not named yet may be by now: the set on the phone can be newer.
    let named = set.readers.iter().find(|reader| reader.client == own);
    Ok(named.is_none_or(|reader| reader.reads == Reads::Positions))
}

/// What this client may order, in words, by the newest list known here.
fn rights(store: &Store) -> Result<String, Error> {
    let account = store.account()?;
    let own = own_entry(
        &account.authority,
        &account.root,
        account.id,
        account.client.id(),
    );
    Ok(own.map_or_else(
        |_| "nothing".to_owned(),
        |(_, entry)| entry.capabilities.words().join(", "),
    ))
}

pub(super) fn ended(store: &Store, row: &DeviceRow, order: &Order) -> String {
    let last = order.progress.steps().last();
    if order.progress.state() == State::Refused
        && last.is_some_and(|step| step.detail == Refusal::NotAllowed.word())
    {
        return format!(
            "{} refuses: this machine may not order {} (not-allowed); it may: {}",
            harmless(&row.name),
            order.intent.op.word(),
            rights(store).unwrap_or_default()
        );
    }
    let detail = last
        .map(|step| harmless(&step.detail))
        .filter(|detail| !detail.is_empty());
    let reason = detail
        .map(|detail| format!(" ({detail})"))
        .unwrap_or_default();
    format!(
        "{}: the order to {} is {}{reason}",
        harmless(&row.name),
        order.intent.op.word(),
        order.progress.state()
    )
}

/// An order as `--json` prints it.
pub(crate) fn order_json(row: &DeviceRow, order: &Order) -> Value {
    let steps: Vec<_> = order
        .progress
        .steps()
        .iter()
        .map(|step| json!({ "state": step.state.word(), "at": UnixMs(step.at).rfc3339(), "signed": step.witness == Witness::Phone, "detail": step.detail }))
        .collect();
    json!({
        "id": order.intent.id.to_string(),
        "device": row.id.to_string(),
        "name": row.name,
        "op": order.intent.op.word(),
        "state": order.progress.state().word(),
        "steps": steps,
    })
}
