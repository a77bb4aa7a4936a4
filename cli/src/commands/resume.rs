//! `resume`: lets a phone whose state was set back count on from what is known here. Decides nothing that the phone does not check.
use super::Context;
use super::account::unlock;
use super::device::meet;
use super::find::{ended, follow, joined, order, order_json, print_waiting};
use crate::args::Resume;
use crate::error::Error;
use crate::output::harmless;
use crate::renewal;
use crate::store::{Account, DeviceRow, Store};
use homing_owner::clients::own_entry;
use homing_owner::delivery::State;
use homing_protocol::authority::Capability;
use serde_json::json;

/// `homing resume NAME`.
pub(crate) fn run(context: &Context, args: &Resume) -> Result<(), Error> {
    let store = Store::open(&context.home)?;
    let row = joined(&store, &args.name)?;
    // What the phone has said since is known before anything is decided.
    let mut store = meet(store)?;
    let Some(set_back) = store.set_back(row.id)? else {
        return context.out.both(
            &format!(
                "{} counts on as it should: nothing that is known here says that its state was set back. Nothing was sent.",
                harmless(&row.name)
            ),
            &json!({ "device": row.id.to_string(), "name": row.name, "op": "resume", "state": "not-needed" }),
        );
    };
    if !may_resume(&store.account()?) {
        store = grant(context, store)?;
    }
    let id = order(&mut store, &row, set_back.resume(), None)?;
    let (store, end) = follow(context, store, id, args.wait, |order, _| {
        let state = order.progress.state();
        Ok(state.is_final().then_some(state))
    })?;
    match end {
        Some(State::Done) => done(context, &store, &row, id),
        Some(_) => Err(Error::Refused(ended(&store, &row, &store.order(id)?))),
        None => {
            print_waiting(context, &store, &row, id, &serde_json::Value::Null)?;
            Err(Error::NoAnswerYet(format!(
                "{} has not answered within {}; the order stays queued",
                harmless(&row.name),
                args.wait
            )))
        }
    }
}

fn done(
    context: &Context,
    store: &Store,
    row: &DeviceRow,
    id: homing_protocol::id::CommandId,
) -> Result<(), Error> {
    context.out.both(
        &format!(
            "{} counts on from what is known here; what was signed before is dead, and what waited goes on.",
            harmless(&row.name)
        ),
        &order_json(row, &store.order(id)?),
    )
}

fn may_resume(account: &Account) -> bool {
    let own = own_entry(
        &account.authority,
        &account.root,
        account.id,
        account.client.id(),
    );
    own.is_ok_and(|(_, entry)| entry.capabilities.allows(Capability::Settings))
}

/// An account that was begun before its machines had this right gives it to this one.
fn grant(context: &Context, mut store: Store) -> Result<Store, Error> {
    let client = store.account()?.client.id();
    let mut account = unlock(context, &mut store)?;
    renewal::change(&mut store, &mut account, |_, next| {
        Ok(next.grant(client, Capability::Settings)?)
    })?;
    meet(store)
}
