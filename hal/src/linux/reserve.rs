//! A user's session gives a sound card up while the siren claims it: holds `org.freedesktop.ReserveDevice1.AudioN` on the session's bus, which PipeWire's session manager and PulseAudio respect. It opens no card.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::alsa::claim;
use super::dbus::message::Message;
use super::dbus::value::Value;
use super::dbus::{self, Bus, Callee, Limit};
use crate::fault::{Cancel, Fault, Roots};

/// The protocol's names (device reservation, http://git.0pointer.net/reserve.git).
const NAME: &str = "org.freedesktop.ReserveDevice1.Audio";
const PATH: &str = "/org/freedesktop/ReserveDevice1/Audio";
const INTERFACE: &str = "org.freedesktop.ReserveDevice1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// Whoever asks with a higher priority is to be given the device: nobody is higher.
const PRIORITY: i32 = i32::MAX;
/// Flags and an answer of `RequestName` (D-Bus specification, "Message Bus Messages").
const REPLACE_EXISTING: u32 = 2;
const DO_NOT_QUEUE: u32 = 4;
const EXISTS: u32 = 3;
/// How long the bus itself may take, on a phone that is starting a session.
const BUS: Duration = Duration::from_secs(10);
/// How long a holder may take to give a device up before it is asked again.
const ANSWER: Duration = Duration::from_secs(2);
/// How often the claims are looked at. The siren is sounding: nobody sleeps meanwhile.
const INTERVAL: Duration = Duration::from_millis(100);
/// When a holder that keeps its card is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// Holds each card that the siren claims, on the bus of this process's session, until no claim is left.
///
/// # Errors
/// [`Fault::Absent`] when there is no session bus; [`Fault::Broken`] when it ends or refuses names.
pub fn serve(roots: &Roots) -> Result<(), Fault> {
    let cancel = Cancel::new();
    let bus = Bus::open_session(roots, within(BUS, &cancel))?;
    Session {
        bus,
        cancel,
        claims: claim::folder(roots),
        claimed: Vec::new(),
        held: BTreeSet::new(),
    }
    .run()
}

/// This side of the session's bus.
struct Session {
    bus: Bus,
    /// Never raised: the process ends with its last claim or by a signal.
    cancel: Cancel,
    claims: PathBuf,
    claimed: Vec<u32>,
    held: BTreeSet<u32>,
}

fn within(time: Duration, cancel: &Cancel) -> Limit<'_> {
    Limit {
        until: Instant::now() + time,
        cancel,
    }
}

impl Session {
    fn run(mut self) -> Result<(), Fault> {
        loop {
            self.claimed = claim::claimed(&self.claims);
            for card in self.held.clone() {
                if !self.claimed.contains(&card) {
                    self.give_back(card)?;
                }
            }
            if self.claimed.is_empty() {
                return Ok(());
            }
            let mut pause = INTERVAL;
            for card in self.claimed.clone() {
                if !self.held.contains(&card) {
                    match self.take(card)? {
                        true => drop(self.held.insert(card)),
                        false => pause = AGAIN,
                    }
                }
            }
            self.answer_for(pause)?;
        }
    }

    /// Takes a card's name, from its holder where there is one; false when that one refuses or does not answer.
    fn take(&mut self, card: u32) -> Result<bool, Fault> {
        if self.request(card, DO_NOT_QUEUE)? != EXISTS {
            tracing::info!(card, "reserved; nobody had it");
            return Ok(true);
        }
        let holder = Callee {
            service: &format!("{NAME}{card}"),
            path: &format!("{PATH}{card}"),
            interface: INTERFACE,
        };
        let priority = vec![Value::Signed('i', PRIORITY.into())];
        let limit = within(ANSWER, &self.cancel);
        match self.bus.call(holder, "RequestRelease", priority, limit) {
            Ok(given) if given.is_true() => {}
            // It went meanwhile. Who is there and knows no such request keeps the card.
            Err(Fault::Absent(_)) if self.is_free(card)? => {}
            other => {
                tracing::warn!(card, ?other, "the sound server keeps the card");
                return Ok(false);
            }
        }
        // It may have let go of the name already, or allow that it is taken from it.
        let taken = self.request(card, DO_NOT_QUEUE | REPLACE_EXISTING)? != EXISTS;
        match taken {
            true => tracing::info!(card, "the sound server has given the card up"),
            false => tracing::warn!(card, "somebody else has the card by now"),
        }
        Ok(taken)
    }

    fn is_free(&mut self, card: u32) -> Result<bool, Fault> {
        let limit = within(BUS, &self.cancel);
        match self.bus.owner(&format!("{NAME}{card}"), limit) {
            Ok(_) => Ok(false),
            Err(Fault::Absent(_)) => Ok(true),
            Err(fault) => Err(fault),
        }
    }

    fn request(&mut self, card: u32, flags: u32) -> Result<u32, Fault> {
        let body = vec![Value::text(&format!("{NAME}{card}")), Value::number(flags)];
        let limit = within(BUS, &self.cancel);
        let answer = self
            .bus
            .call(dbus::of_the_bus(), "RequestName", body, limit)?;
        answer
            .as_u32()
            .ok_or_else(|| Fault::Broken("the bus does not say who has the name".into()))
    }

    fn give_back(&mut self, card: u32) -> Result<(), Fault> {
        let body = vec![Value::text(&format!("{NAME}{card}"))];
        let limit = within(BUS, &self.cancel);
        let answer = self
            .bus
            .call(dbus::of_the_bus(), "ReleaseName", body, limit)?;
        self.held.remove(&card);
        tracing::info!(card, ?answer, "given back");
        Ok(())
    }

    /// Answers those who want a card back, for so long.
    fn answer_for(&mut self, pause: Duration) -> Result<(), Fault> {
        let until = Instant::now() + pause;
        let cancel = &self.cancel;
        while let Some(call) = self.bus.next_call(Limit { until, cancel })? {
            let said = reply(&call, &self.claimed);
            self.bus.answer(&call, said, within(BUS, cancel))?;
        }
        Ok(())
    }
}

/// What a holder of a name answers: its object has three properties and gives nothing up before the claim is over.
fn reply(call: &Message, claimed: &[u32]) -> Result<Vec<Value>, &'static str> {
    let card: u32 = call
        .path
        .as_deref()
        .and_then(|path| path.strip_prefix(PATH)?.parse().ok())
        .filter(|card| claimed.contains(card))
        .ok_or("org.freedesktop.DBus.Error.UnknownObject")?;
    let variant = |value| Value::Variant(Box::new(value));
    let properties = [
        ("Priority", Value::Signed('i', PRIORITY.into())),
        ("ApplicationName", Value::text("Homing siren")),
        ("ApplicationDeviceName", Value::text(&format!("hw:{card}"))),
    ];
    let interface = call.interface.as_deref().unwrap_or(INTERFACE);
    match (interface, call.member.as_deref().unwrap_or_default()) {
        (INTERFACE, "RequestRelease") => Ok(vec![Value::Bool(false)]),
        (PROPERTIES, "Get") => {
            let wanted = call.body.get(1).and_then(Value::as_text);
            let found = properties
                .into_iter()
                .find(|(name, _)| wanted == Some(*name));
            found
                .map(|(_, value)| vec![variant(value)])
                .ok_or("org.freedesktop.DBus.Error.UnknownProperty")
        }
        (PROPERTIES, "GetAll") => {
            let entries = properties
                .map(|(name, value)| Value::Entry(Box::new((Value::text(name), variant(value)))));
            Ok(vec![Value::Array("{sv}".into(), entries.into())])
        }
        ("org.freedesktop.DBus.Peer", "Ping") => Ok(Vec::new()),
        _ => Err("org.freedesktop.DBus.Error.UnknownMethod"),
    }
}
