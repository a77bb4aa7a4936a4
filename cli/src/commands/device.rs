//! `device …`: phones join, are shown, renamed and put out.
use super::account::{household, refuse_existing, unlock};
use super::{Context, catch_up, show, tell_impostors, waiting};
use crate::args::{Device, History};
use crate::duration::Span;
use crate::error::Error;
use crate::exchange::{Acceptance, Exchange, Stay, rng};
use crate::file::{self, Access};
use crate::household::{BrokerFiles, Serial, revoked_serials};
use crate::output::harmless;
use crate::store::{DeviceRow, Standing, Store};
use homing_link::MqttLink;
use homing_owner::account::Unlocked;
use homing_owner::delivery::State;
use homing_owner::enrol::Invitation;
use homing_protocol::enrolment::Bundle;
use homing_protocol::envelope::Address;
use homing_protocol::id::DeviceId;
use homing_protocol::keys::Psk;
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// How long a call that changes the account looks for a newer keyring first, and publishes its own afterwards.
const MEETING: Duration = Duration::from_secs(5);

/// Longest name, bytes (protocol v1, bundle).
const LONGEST_NAME: usize = 64;

/// Carries out `homing device …`.
pub(crate) fn run(context: &Context, command: Device) -> Result<(), Error> {
    match command {
        Device::Add {
            name,
            out,
            wait,
            history,
        } => add(context, &name, &out, wait, history),
        Device::Accept { name, wait } => accept(context, &name, wait),
        Device::Show { name } => show::device(context, &name),
        Device::Rename { name, new_name } => rename(context, &name, &new_name),
        Device::Revoke { name } => revoke(context, &name),
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    let refused = |why: &str| {
        Err(Error::Usage(format!(
            "{:?} cannot be a phone's name: {why}",
            harmless(name)
        )))
    };
    if name.trim().is_empty() || name.len() > LONGEST_NAME {
        return refused("1 to 64 bytes are needed");
    }
    if name.chars().any(char::is_control) || name.trim() != name {
        return refused("no control characters, no spaces at its ends");
    }
    if name.parse::<DeviceId>().is_ok() {
        return refused("it looks like a device id");
    }
    Ok(())
}

/// Meets the broker so that what other machines changed is known before the account is changed here.
fn meet(store: Store) -> Result<Store, Error> {
    waiting(async {
        let mut exchange = Exchange::start(store, Stay::Call, Acceptance::Locked)?;
        catch_up(&mut exchange, MEETING).await?;
        exchange.close().await?;
        Ok(exchange.into_unlocked().0)
    })
}

fn add(
    context: &Context,
    name: &str,
    out: &Path,
    wait: Option<Span>,
    history: History,
) -> Result<(), Error> {
    check_name(name)?;
    refuse_existing(out, "--out")?;
    let store = Store::open(&context.home)?;
    if store.device_named(name).is_ok() {
        return Err(Error::Usage(format!("a phone is called {name:?} already")));
    }
    let mut store = meet(store)?;
    let mut account = unlock(context, &mut store)?;
    let held = store.account()?;
    let address = Address {
        account: held.id,
        device: DeviceId::random(&mut rng()),
    };
    let tls = household(&account)?.issue_client(&address.device.to_string())?;
    let invitation = Invitation {
        address,
        epoch: 1,
        secret: Psk::generate(&mut rng()),
    };
    let bundle = Bundle {
        address,
        epoch: invitation.epoch,
        name: name.to_owned(),
        broker: held.broker.clone(),
        ca_pem: held.ca.clone(),
        tls_certificate_pem: tls.certificate.clone(),
        tls_key_pem: tls.key.clone(),
        root: held.root,
        authority: account.find.authority.clone(),
        owner: held.client.reading.public(),
        secret: invitation.secret.clone(),
        retention_days: history.days(),
    };
    store.invite(&invitation, name, &tls.serial.0)?;
    if let Err(error) = file::replace(out, &bundle.encode(), Access::Private) {
        store.withdraw(address.device)?;
        return Err(error);
    }
    if let Some(row) = store.device(address.device)? {
        account.remember(row.known());
    }
    let blob = account.wrap_next(&mut rng())?;
    store.renew_keyring(&account, &blob)?;
    report_bundle(context, name, address.device, out)?;
    match wait {
        Some(wait) => join(context, store, account, address.device, wait),
        None => context.out.text(&format!(
            "Then sign the phone's keys with: homing device accept {name}"
        )),
    }
}

fn report_bundle(context: &Context, name: &str, device: DeviceId, out: &Path) -> Result<(), Error> {
    let written = json!({ "event": "bundle", "id": device.to_string(), "name": name, "bundle": out.display().to_string() });
    context.out.both(
        &format!("The bundle for {name} is in {}. Bring it to the phone and run there: homingd enrol BUNDLE\nWhoever has it first, joins: delete it afterwards.", out.display()),
        &written,
    )
}

/// Waits for the phone's claim, signs its keys, and waits until the phone shows that it knows.
fn join(
    context: &Context,
    store: Store,
    account: Unlocked,
    device: DeviceId,
    wait: Span,
) -> Result<(), Error> {
    let row = waiting(async {
        let acceptance = Acceptance::Only(device, Box::new(account));
        let mut exchange = Exchange::start(store, Stay::Call, acceptance)?;
        context.out.progress("Waiting for the phone …");
        let mut told = None;
        let joined = exchange
            .until(wait.0, |it| {
                tell_trouble(context, it, &mut told);
                let Some(row) = it.store.device(device)? else {
                    return Ok(None);
                };
                let joined = row.standing == Standing::Enrolled && row.answer.is_none();
                Ok((joined && it.store.unpublished_keyring()?.is_none()).then_some(row))
            })
            .await?;
        exchange.close().await?;
        Ok(joined)
    })?;
    let Some(row) = row else {
        return Err(Error::NoAnswerYet("the phone has not joined yet; the bundle stays valid, and `homing device accept NAME` signs its keys later".into()));
    };
    context.out.both(
        &format!("{} has joined. Compare on the phone (homingd status): fingerprint {}", harmless(&row.name), row.fingerprint),
        &json!({ "event": "joined", "id": row.id.to_string(), "name": row.name, "fingerprint": row.fingerprint }),
    )
}

/// Says once why there is no connection, and again when the reason changes; and once of each phone that somebody plays.
pub(crate) fn tell_trouble(
    context: &Context,
    exchange: &mut Exchange<MqttLink>,
    told: &mut Option<String>,
) {
    tell_impostors(context, exchange);
    let trouble = exchange.trouble().map(str::to_owned);
    if trouble != *told {
        if let Some(trouble) = &trouble {
            context.out.warn(&format!("{trouble}; trying again"));
        }
        *told = trouble;
    }
}

fn accept(context: &Context, name: &str, wait: Span) -> Result<(), Error> {
    let store = Store::open(&context.home)?;
    let row = store.device_named(name)?;
    if row.standing == Standing::Enrolled {
        return context.out.text(&format!(
            "{} has joined already, fingerprint {}",
            harmless(&row.name),
            row.fingerprint
        ));
    }
    let mut store = meet(store)?;
    let account = unlock(context, &mut store)?;
    join(context, store, account, row.id, wait)
}

fn rename(context: &Context, name: &str, new_name: &str) -> Result<(), Error> {
    check_name(new_name)?;
    let mut store = Store::open(&context.home)?;
    let row = store.device_named(name)?;
    store.rename(row.id, new_name)?;
    // The keyring learns of it the next time it is opened.
    store.keyring_is_stale()?;
    context
        .out
        .json(&json!({ "id": row.id.to_string(), "name": new_name }))
}

fn revoke(context: &Context, name: &str) -> Result<(), Error> {
    let store = Store::open(&context.home)?;
    let row = store.device_named(name)?;
    let mut store = meet(store)?;
    let mut account = unlock(context, &mut store)?;
    let crl = revocation_list(&mut store, &account, &row)?;
    account.full.crl_pem = crl.clone();
    account.forget(row.id);
    let blob = account.wrap_next(&mut rng())?;
    BrokerFiles::inside(store.home()).write_revocations(&crl)?;
    end_orders(&mut store, row.id)?;
    store.revoked(row.id)?;
    store.renew_keyring(&account, &blob)?;
    let store = meet(store)?;
    let list = BrokerFiles::inside(store.home()).folder().join("crl.pem");
    context.out.both(
        &format!(
            "{} is put out: nothing is sent to it or believed from it any more.\nFor the broker to refuse it too, give it the new revocation list {} and restart it.",
            harmless(&row.name),
            list.display()
        ),
        &json!({ "id": row.id.to_string(), "name": row.name, "standing": "revoked", "revocation_list": list.display().to_string() }),
    )
}

fn revocation_list(
    store: &mut Store,
    account: &Unlocked,
    row: &DeviceRow,
) -> Result<String, Error> {
    let mut serials = revoked_serials(&account.full.crl_pem)?;
    let serial: [u8; 16] = row
        .tls_serial
        .as_slice()
        .try_into()
        .map_err(|_| Error::Damaged("certificate's serial"))?;
    if !serials.contains(&Serial(serial)) {
        serials.push(Serial(serial));
    }
    household(account)?.revocation_list(store.next_crl_number()?, &serials)
}

fn end_orders(store: &mut Store, device: DeviceId) -> Result<(), Error> {
    for row in store
        .outbox()?
        .into_iter()
        .filter(|row| row.device == device)
    {
        store.conclude(row.intent.id, State::Cancelled, "the phone was put out")?;
    }
    Ok(())
}
