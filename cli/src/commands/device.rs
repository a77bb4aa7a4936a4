//! `device …`: phones join, are shown, renamed and put out.
use super::account::{refuse_existing, unlock};
use super::{Context, catch_up, show, tell_impostors, waiting};
use crate::args::{Device, History};
use crate::clock::UnixMs;
use crate::duration::Span;
use crate::error::Error;
use crate::exchange::{Acceptance, Exchange, Stay, rng};
use crate::file::{self, Access};
use crate::household::BrokerFiles;
use crate::output::harmless;
use crate::renewal::{self, household};
use crate::store::{DeviceRow, LONGEST_NAME, Standing, Store};
use homing_link::MqttLink;
use homing_owner::account::Unlocked;
use homing_owner::delivery::State;
use homing_owner::enrol::Invitation;
use homing_protocol::enrolment::Bundle;
use homing_protocol::envelope::Address;
use homing_protocol::id::DeviceId;
use homing_protocol::keys::Psk;
use homing_protocol::topic::{Channel, Topic};
use serde_json::json;
use std::io::{BufRead, IsTerminal};
use std::path::Path;
use std::time::Duration;

/// How long a call that changes the account looks for a newer keyring first, and publishes its own afterwards.
const MEETING: Duration = Duration::from_secs(5);

/// How long ago a phone may have been heard of to be one that its owner can find now: a day, in which the slowest of them show themselves many times.
const LATELY_MS: i64 = 86_400_000;

/// Carries out `homing device …`.
pub(crate) fn run(context: &Context, command: Device) -> Result<(), Error> {
    match command {
        Device::Add {
            name,
            out,
            wait,
            history,
            again,
            yes,
        } => {
            let whom = if again {
                Whom::Known(&name, if yes { Consent::Given } else { Consent::Wanted })
            } else {
                Whom::New(&name)
            };
            add(context, whom, &out, wait, history)
        }
        Device::Accept { name, wait } => accept(context, &name, wait),
        Device::Show { name } => show::device(context, &name),
        Device::Rename { name, new_name } => rename(context, &name, &new_name),
        Device::Revoke { name } => revoke(context, &name),
    }
}

pub(super) fn check_name(name: &str) -> Result<(), Error> {
    let refused = |why: &str| {
        Err(Error::Usage(format!(
            "{:?} cannot be a name: {why}",
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
pub(super) fn meet(store: Store) -> Result<Store, Error> {
    waiting(async {
        let mut exchange = Exchange::start(store, Stay::Call, Acceptance::Locked)?;
        catch_up(&mut exchange, MEETING).await?;
        exchange.close().await?;
        Ok(exchange.into_unlocked().0)
    })
}

/// Which phone gets a bundle.
#[derive(Clone, Copy, Debug)]
enum Whom<'a> {
    /// One that will be called so.
    New(&'a str),
    /// One of the account, which joins once more.
    Known(&'a str, Consent),
}

/// Whether the owner has agreed to end the enrolment of a phone that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Consent {
    /// By a flag.
    Given,
    /// He is asked.
    Wanted,
}

/// The phone that is invited: its name, and what its next enrolment is.
fn invited(store: &Store, whom: Whom<'_>) -> Result<(String, Invitation), Error> {
    let account = store.account()?.id;
    let secret = Psk::generate(&mut rng());
    match whom {
        Whom::New(name) => {
            if store.device_named(name).is_ok() {
                return Err(Error::Usage(format!("a phone is called {name:?} already")));
            }
            let device = DeviceId::random(&mut rng());
            let invitation = Invitation {
                address: Address { account, device },
                epoch: 1,
                secret,
                key_sets: 0,
            };
            Ok((name.to_owned(), invitation))
        }
        Whom::Known(name, _) => {
            let row = store.device_named(name)?;
            let invitation = Invitation {
                address: row.address(account),
                epoch: row.epoch + 1,
                secret,
                key_sets: row.key_set_version,
            };
            Ok((row.name, invitation))
        }
    }
}

/// What is said of a phone that was heard of lately: it can be found now, and cannot any more from the moment at which its enrolment ends.
fn warning_of_the_living(row: &DeviceRow, now: UnixMs) -> Option<String> {
    let at = row.last_contact?;
    let lately = now.0.saturating_sub(at.0) < LATELY_MS;
    (row.standing == Standing::Enrolled && lately).then(|| {
        format!(
            "{} was heard of at {}. With --again its present enrolment ends at once: until somebody runs homingd enrol on it with the new bundle, nobody can find it or let it ring.",
            harmless(&row.name),
            at.short(now)
        )
    })
}

/// Whoever ends the enrolment of such a phone types its name.
fn ask_about_the_living(context: &Context, row: &DeviceRow) -> Result<(), Error> {
    let Some(warning) = warning_of_the_living(row, UnixMs::now()) else {
        return Ok(());
    };
    if !std::io::stdin().is_terminal() {
        return Err(Error::Usage(format!(
            "{warning} Give --yes if that is meant"
        )));
    }
    context.out.warn(&warning);
    eprint!("Type {} to go on: ", harmless(&row.name));
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(Error::Passphrase)?;
    if line.trim() == row.name {
        return Ok(());
    }
    Err(Error::Usage("nothing was changed".into()))
}

fn add(
    context: &Context,
    whom: Whom<'_>,
    out: &Path,
    wait: Option<Span>,
    history: History,
) -> Result<(), Error> {
    if let Whom::New(name) = whom {
        check_name(name)?;
    }
    refuse_existing(out, "--out")?;
    let store = Store::open(&context.home)?;
    invited(&store, whom)?;
    let mut store = meet(store)?;
    if let Whom::Known(name, Consent::Wanted) = whom {
        ask_about_the_living(context, &store.device_named(name)?)?;
    }
    let mut account = unlock(context, &mut store)?;
    let held = store.account()?;
    let (name, invitation) = invited(&store, whom)?;
    let (name, address) = (name.as_str(), invitation.address);
    let tls = household(&account)?.issue_client(&address.device.to_string())?;
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
    match whom {
        Whom::New(_) => {
            store.invite(&invitation, name, &tls.serial.0)?;
            if let Err(error) = file::replace(out, &bundle.encode(), Access::Private) {
                store.withdraw(address.device)?;
                return Err(error);
            }
        }
        Whom::Known(..) => {
            // A bundle of which nobody knows is worth nothing; ending the old enrolment cannot be taken back.
            file::replace(out, &bundle.encode(), Access::Private)?;
            store.invite_again(&invitation, &tls.serial.0)?;
        }
    }
    // The row that was just stored comes into it like every other.
    renewal::change(&mut store, &mut account, |_, _| Ok(()))?;
    report_bundle(context, name, address.device, out)?;
    if let Whom::Known(..) = whom {
        tell_of_the_end(context, &store, name)?;
    }
    match wait {
        Some(wait) => join(context, store, account, address.device, wait),
        None => context.out.text(&format!(
            "Then sign the phone's keys with: homing device accept {name}"
        )),
    }
}

/// What became of a phone's former enrolment, and what is left to do at the broker.
fn tell_of_the_end(context: &Context, store: &Store, name: &str) -> Result<(), Error> {
    context.out.text(&format!(
        "Every older order to {} has ended, and what its former keys sign is not believed. {}",
        harmless(name),
        BrokerFiles::inside(store.home()).advice()
    ))
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
    let row = store.device_to_revoke(name)?;
    let mut store = meet(store)?;
    let mut account = unlock(context, &mut store)?;
    // First the fact: whatever interrupts the rest, the next call with the passphrase goes on from it.
    store.revoked(row.id)?;
    end_orders(&mut store, row.id)?;
    // What the broker retains of it would greet every owner client as if the phone were still there.
    for channel in [Channel::Beacon, Channel::Authority] {
        store.clear_retained(&Topic::Device(row.id, channel).to_string())?;
    }
    renewal::change(&mut store, &mut account, |_, _| Ok(()))?;
    BrokerFiles::inside(store.home()).write_revocations(&account.full.crl_pem)?;
    let store = meet(store)?;
    let files = BrokerFiles::inside(store.home());
    let forgotten = if store.unwanted_topics()?.is_empty() {
        "The broker has forgotten what it kept of it."
    } else {
        "The broker cannot be reached now; the next call of homing that reaches it clears what it keeps of the phone."
    };
    context.out.both(
        &format!(
            "{} is put out: nothing is sent to it or believed from it any more. {forgotten}\n{}",
            harmless(&row.name),
            files.advice()
        ),
        &json!({ "id": row.id.to_string(), "name": row.name, "standing": "revoked", "revocation_list": files.revocation_list().display().to_string() }),
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_phone_that_was_heard_of_within_a_day_is_asked_about() {
        let house = crate::pretend::household();
        let now = UnixMs::now();
        let warned = |ago_ms: i64| {
            let store = house.store();
            store
                .contact_was(house.device(), UnixMs(now.0 - ago_ms))
                .expect("set");
            let row = store.device(house.device()).expect("asked").expect("known");
            warning_of_the_living(&row, now)
        };
        assert_eq!(warned(0), None, "it has not joined yet");
        house.enrol();
        assert!(warned(60_000).is_some_and(|said| said.contains("pocket was heard of")));
        assert!(warned(LATELY_MS - 1).is_some());
        assert_eq!(warned(LATELY_MS), None);
    }
}
