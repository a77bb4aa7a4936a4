//! `log`: every order to a phone, each with its states and times; signed ones are marked.
use super::find::order_json;
use super::watch::{Line, follow_news};
use super::{Context, Housekeeping as _, glance};
use crate::args;
use crate::clock::UnixMs;
use crate::error::Error;
use crate::output::{Tone, harmless};
use crate::store::{DeviceRow, Order, Store};
use homing_owner::delivery::Witness;

/// `homing log`.
pub(crate) fn run(context: &Context, args: &args::Log) -> Result<(), Error> {
    let store = Store::open(&context.home)?;
    store.device_named(&args.name)?;
    let store = glance(context, store)?;
    let row = store.device_named(&args.name)?;
    let from = store.newest_news()?;
    let mut any = false;
    for id in store.orders_of(row.id)? {
        let order = store.order(id)?;
        if args.all || !order.intent.op.is_housekeeping() {
            print(context, &row, &order)?;
            any = true;
        }
    }
    if !any {
        let name = harmless(&row.name);
        context
            .out
            .progress(&format!("Nothing was ordered from {name} yet."));
    }
    if args.follow {
        let only = row.id;
        follow_news(context, store, from, |line: &Line| {
            line.device == only && line.command.is_some() && (args.all || !line.is_housekeeping())
        })?;
    }
    Ok(())
}

fn print(context: &Context, row: &DeviceRow, order: &Order) -> Result<(), Error> {
    context.out.json(&order_json(row, order))?;
    let (now, steps) = (UnixMs::now(), order.progress.steps());
    let began = UnixMs(steps.first().map_or(0, |step| step.at)).short(now);
    let state = order.progress.state();
    context.out.text(&format!(
        "{began}  {}  {state}  {}",
        order.intent.op.word(),
        context.out.toned(Tone::Faint, &order.intent.id.to_string())
    ))?;
    for step in steps {
        let signed = match step.witness {
            Witness::Phone => context.out.toned(Tone::Good, "signed by the phone"),
            Witness::Owner => context.out.toned(Tone::Faint, "said by this machine"),
        };
        let detail = if step.detail.is_empty() {
            String::new()
        } else {
            format!(": {}", harmless(&step.detail))
        };
        context.out.text(&format!(
            "    {}  {:<10} {signed}{detail}",
            UnixMs(step.at).short(now),
            step.state.word()
        ))?;
    }
    Ok(())
}
