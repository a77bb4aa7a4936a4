//! `lost`: locks a phone with the owner's words, ends that, and tells the unlock code. The code is shown once it is asked for and kept nowhere.
use super::Context;
use super::account::unlock;
use super::find::{ended, follow_as, joined, order_as, order_json, print_waiting};
use super::show::Known;
use crate::args::Lost;
use crate::clock::UnixMs;
use crate::error::Error;
use crate::exchange::{Acceptance, rng};
use crate::output::harmless;
use crate::renewal;
use crate::store::{DeviceRow, Order, Store, Withdrawn};
use homing_owner::account::Unlocked;
use homing_owner::delivery::State;
use homing_owner::lost::Listed;
use homing_protocol::command::{LONGEST_CONTACT, LONGEST_MESSAGE, MOST_NAMED_EPISODES, Op};
use homing_protocol::id::CommandId;
use homing_protocol::lost::{CodeVerifier, Outcome, UnlockCode};
use serde_json::{Value, json};
use unicode_script::{Script, UnicodeScript};

const fn is_lost(op: &Op) -> bool {
    matches!(op, Op::Lost { .. })
}

const fn is_end(op: &Op) -> bool {
    matches!(op, Op::LostOff { .. })
}

/// `homing lost`.
pub(crate) fn run(context: &Context, args: &Lost) -> Result<(), Error> {
    let store = Store::open(&context.home)?;
    let row = joined(&store, &args.name)?;
    match &args.message {
        _ if args.off => end(context, store, &row, args),
        Some(message) => begin(context, store, &row, message, args),
        None if args.show_code => tell_code(context, store, &row),
        None => Err(Error::Usage(
            "say what the phone shows with --message TEXT, or end lost mode with --off".into(),
        )),
    }
}

fn begin(
    context: &Context,
    mut store: Store,
    row: &DeviceRow,
    message: &str,
    args: &Lost,
) -> Result<(), Error> {
    let message = shown("--message", message, LONGEST_MESSAGE)?;
    let contact = args.phone.as_deref();
    let contact = contact
        .map(|phone| shown("--phone", phone, LONGEST_CONTACT))
        .transpose()?;
    let written = format!("{message} {}", contact.as_deref().unwrap_or_default());
    let doubtful = scripts_that_need_a_font(&written);
    if !doubtful.is_empty() {
        context.out.warn(&format!(
            "{} shows {} only with a font for it, else the name in brackets: `homing-lost-screen --can-show TEXT` at the phone tells which it lacks.",
            harmless(&row.name),
            doubtful.join(", ")
        ));
    }
    let id = CommandId::random(&mut rng());
    let (code, acceptance) = if args.show_code {
        // Whoever chooses the code can open the phone with it: that takes the full key.
        let account = unlock_as_full_client(context, &mut store)?;
        let code = account.unlock_code(id);
        (Some(code), Acceptance::Only(row.id, Box::new(account)))
    } else {
        (None, Acceptance::Locked)
    };
    withdraw_ends(&mut store, row)?;
    let op = Op::Lost {
        message,
        contact,
        code: code.as_ref().map(|code| CodeVerifier::of(code, &mut rng())),
    };
    order_as(&mut store, row, id, op, None)?;
    let (mut store, end) = follow_as(context, store, acceptance, id, args.wait, |order, _| {
        let state = order.progress.state();
        Ok((state.is_final() || state == State::Running).then_some(state))
    })?;
    if end.is_none() && code.is_some() && store.end_unsent(id, State::Cancelled)? == Withdrawn::Here
    {
        // Nobody else could sign it: an order that waits for ever is worse than none.
        return Err(Error::NoAnswerYet(format!(
            "{} has never been heard of by this machine, so the order could not be signed and was taken back: give it again without --show-code, or later",
            harmless(&row.name)
        )));
    }
    let order = store.order(id)?;
    let known = json!({ "unlock_code": code.as_ref().map(UnlockCode::digits) });
    match end {
        Some(state @ (State::Running | State::Done)) => {
            let mut object = order_json(row, &order);
            object["unlock_code"] = known["unlock_code"].clone();
            let sentence = match state {
                State::Running => locked(row, &order),
                _ => format!(
                    "{} was locked, and is open again: somebody has typed the code or ended it.",
                    harmless(&row.name)
                ),
            };
            context.out.both(&sentence, &object)?;
        }
        Some(_) => return Err(Error::Refused(ended(&store, row, &order))),
        None => print_waiting(context, &store, row, id, &known)?,
    }
    if let Some(code) = &code {
        context.out.text(&format!(
            "Unlock code, to be typed at the phone: {}. Whoever has it can open the phone; `homing lost {} --show-code` shows it again.",
            grouped(code),
            harmless(&row.name)
        ))?;
    }
    Ok(())
}

/// The mode of a phone whose agent names this order: it only has it, and whether the phone is locked its privileged half says. An
/// order of another machine's is believed to have been carried out: this one hears nothing of it but that.
pub(super) fn mode_of(store: &Store, episode: CommandId) -> &'static str {
    match store.order(episode).map(|order| order.progress.state()) {
        Ok(State::Queued | State::Sent | State::Delivered) => "locking",
        _ => "lost",
    }
}

/// What the phone's privileged half has attested, in a sentence.
fn locked(row: &DeviceRow, order: &Order) -> String {
    let steps = order.progress.steps().iter();
    let said = steps.rev().find(|step| step.state == State::Running);
    let said = said.map_or("", |step| step.detail.as_str());
    let name = harmless(&row.name);
    let part = said.strip_prefix(Outcome::LockedInPart.words());
    match part.map(|open| open.trim_start_matches(": ")) {
        None => format!("{name} is locked and shows your message."),
        Some(open) => format!(
            "{name} is locked and shows your message, but not everything is closed: {}.",
            harmless(open)
        ),
    }
}

/// Ends what never left this machine here, and everything else at the phone.
fn end(context: &Context, mut store: Store, row: &DeviceRow, args: &Lost) -> Result<(), Error> {
    let account = unlock_as_full_client(context, &mut store)?;
    let episodes = episodes(&store, row)?;
    for id in &episodes {
        // One that was signed may have arrived: it is named to the phone as well.
        let _ = store.end_unsent(*id, State::Cancelled)?;
    }
    withdraw_ends(&mut store, row)?;
    let id = CommandId::random(&mut rng());
    let named = episodes.into_iter().take(MOST_NAMED_EPISODES).collect();
    order_as(&mut store, row, id, Op::LostOff { episodes: named }, None)?;
    let acceptance = Acceptance::Only(row.id, Box::new(account));
    let (mut store, end) = follow_as(context, store, acceptance, id, args.wait, |order, _| {
        let state = order.progress.state();
        Ok(state.is_final().then_some(state))
    })?;
    let name = harmless(&row.name);
    match end {
        Some(State::Done) => {
            let order = store.order(id)?;
            let last = order.progress.steps().last();
            let nothing = last.is_some_and(|step| step.detail == Outcome::NothingToEnd.words());
            let sentence = if nothing {
                format!("{name} was not in lost mode.")
            } else {
                format!("{name} is unlocked: it is as it was before.")
            };
            context.out.both(&sentence, &order_json(row, &order))
        }
        Some(_) => Err(Error::Refused(ended(&store, row, &store.order(id)?))),
        None => {
            // Nobody may sign it again once this call has ended: it would end whatever episode is open then.
            store.conclude(id, State::Cancelled, "the phone has not answered in time")?;
            let known = Known::read(&store, &store.account()?, row.clone())?;
            Err(Error::NoAnswerYet(format!(
                "{name} has not answered within {} ({}). What was sent opens it within a quarter of an hour or not at all: give the order again when it can be reached, or type the unlock code at it",
                args.wait,
                known.contact_sentence(UnixMs::now())
            )))
        }
    }
}

/// Unlocks the account for what only the full key may order: phones must know that key from their list first.
fn unlock_as_full_client(context: &Context, store: &mut Store) -> Result<Unlocked, Error> {
    let mut account = unlock(context, store)?;
    let mut listed = Listed::Already;
    // The list is signed anew only where it has to be.
    if account.clone().list_full_client()? == Listed::Now {
        renewal::change(store, &mut account, |_, next| {
            listed = next.list_full_client()?;
            Ok(())
        })?;
    }
    if listed == Listed::Now {
        context
            .out
            .progress("The account's full key is listed from now on; the phone is told first.");
    }
    Ok(account)
}

/// An end that an interrupted call left behind is about an episode of then.
fn withdraw_ends(store: &mut Store, row: &DeviceRow) -> Result<(), Error> {
    for older in store.open_orders(row.id, is_end)? {
        let why = "a newer order takes its place";
        store.conclude(older.intent.id, State::Cancelled, why)?;
    }
    Ok(())
}

/// Every episode of this phone that may be open, newest first: those ordered here, and the one that it shows.
fn episodes(store: &Store, row: &DeviceRow) -> Result<Vec<CommandId>, Error> {
    let ordered = store.open_orders(row.id, is_lost)?;
    let mut ids: Vec<_> = ordered.iter().map(|open| open.intent.id).collect();
    let heard = Known::read(store, &store.account()?, row.clone())?.heard;
    let shown = heard.and_then(|heard| heard.status?.lost);
    if let Some(shown) = shown.filter(|shown| !ids.contains(shown)) {
        ids.insert(0, shown);
    }
    Ok(ids)
}

fn tell_code(context: &Context, mut store: Store, row: &DeviceRow) -> Result<(), Error> {
    let ordered = store.open_orders(row.id, is_lost)?;
    // The newest counts: it took the others' place.
    let with_code = ordered
        .first()
        .filter(|open| matches!(&open.intent.op, Op::Lost { code, .. } if code.is_some()));
    let elsewhere = || -> Result<Option<CommandId>, Error> {
        // Another machine may have ordered it, with a code or without.
        Ok(episodes(&store, row)?
            .into_iter()
            .find(|id| ordered.iter().all(|open| open.intent.id != *id)))
    };
    let episode = match with_code {
        Some(open) => Some(open.intent.id),
        None => elsewhere()?,
    };
    let name = harmless(&row.name);
    let Some(episode) = episode else {
        let why = if ordered.is_empty() {
            "is not in lost mode"
        } else {
            "was locked without an unlock code: give the order again with --message and --show-code"
        };
        return Err(Error::Usage(format!("{name} {why}")));
    };
    let account: Unlocked = unlock(context, &mut store)?;
    let code = account.unlock_code(episode);
    let object: Value = json!({
        "device": row.id.to_string(), "name": row.name,
        "episode": episode.to_string(), "unlock_code": code.digits(),
    });
    context.out.both(
        &format!("Unlock code of {name}: {}", grouped(&code)),
        &object,
    )
}

/// Scripts that a lost screen cannot write by itself, by Unicode's names: it brings Latin, Greek and Cyrillic letters along.
fn scripts_that_need_a_font(text: &str) -> Vec<&'static str> {
    let mut scripts: Vec<_> = text
        .chars()
        .filter_map(|letter| match letter.script() {
            Script::Latin | Script::Greek | Script::Cyrillic | Script::Inherited => None,
            // Punctuation, digits and arrows come before the pictures.
            Script::Common => (letter >= '\u{2600}').then_some("Symbols"),
            script => Some(script.full_name()),
        })
        .collect();
    scripts.sort_unstable();
    scripts.dedup();
    scripts
}

/// As people read and type it.
fn grouped(code: &UnlockCode) -> String {
    let (first, last) = code.digits().split_at(4);
    format!("{first} {last}")
}

/// One line of at most so many bytes.
fn shown(flag: &str, text: &str, longest: usize) -> Result<String, Error> {
    let text = text.trim();
    let why = if text.is_empty() {
        "is empty".to_owned()
    } else if text.chars().any(char::is_control) {
        "is one line without tabs".to_owned()
    } else if text.len() > longest {
        format!(
            "has {} bytes, {} more than the {longest} that a phone takes; letters beyond a to z count two to four",
            text.len(),
            text.len() - longest
        )
    } else {
        return Ok(text.to_owned());
    };
    Err(Error::Usage(format!("{flag} {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_does_not_fit_is_told_by_how_much() {
        assert_eq!(
            shown("--message", " Bitte anrufen ", 160).expect("fits"),
            "Bitte anrufen"
        );
        let long = shown("--message", &"ß".repeat(81), 160).expect_err("too long");
        assert!(long.to_string().contains("162 bytes, 2 more than the 160"));
        for text in ["", "  ", "two\nlines"] {
            assert!(shown("--phone", text, 24).is_err(), "{text}");
        }
    }

    #[test]
    fn a_sender_is_told_of_letters_that_a_phone_may_lack() {
        for (text, scripts) in [
            ("Bitte anrufen! Παρακαλώ, позвоните: +49 30 1 →", &[][..]),
            ("请打电话 نرجو 🙂", &["Arabic", "Han", "Symbols"]),
        ] {
            assert_eq!(scripts_that_need_a_font(text), scripts, "{text}");
        }
    }

    #[test]
    fn a_code_is_shown_in_two_groups() {
        let code = UnlockCode::read("01234567").expect("a code");
        assert_eq!(grouped(&code), "0123 4567");
    }
}
