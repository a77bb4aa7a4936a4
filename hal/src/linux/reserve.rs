//! A user's session gives a sound card up while the siren claims it: holds `org.freedesktop.ReserveDevice1.AudioN` on the session's bus, which PipeWire's session manager and PulseAudio respect. It opens no card.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;
use zbus::connection::Builder;
use zbus::fdo::{DBusProxy, RequestNameFlags, RequestNameReply};
use zbus::names::WellKnownName;
use zbus::{Connection, interface};

use super::alsa::claim;
use crate::fault::{Fault, Roots};

/// The protocol's names (device reservation, http://git.0pointer.net/reserve.git).
const NAME: &str = "org.freedesktop.ReserveDevice1.Audio";
const PATH: &str = "/org/freedesktop/ReserveDevice1/Audio";
const INTERFACE: &str = "org.freedesktop.ReserveDevice1";
/// Whoever asks with a higher priority is to be given the device: nobody is higher.
const PRIORITY: i32 = i32::MAX;
/// How long a holder may take to give a device up before it is asked again.
const ANSWER: Duration = Duration::from_secs(2);
/// How often the claims are looked at. The siren is sounding: nobody sleeps meanwhile.
const INTERVAL: Duration = Duration::from_millis(100);
/// When a holder that keeps its card is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// What a holder of a name answers to those who want it.
struct Reserved(u32);

#[interface(name = "org.freedesktop.ReserveDevice1")]
impl Reserved {
    /// The siren gives nothing up before its claim is over.
    fn request_release(&self, _priority: i32) -> bool {
        false
    }

    #[zbus(property)]
    fn priority(&self) -> i32 {
        PRIORITY
    }

    #[zbus(property)]
    fn application_name(&self) -> &str {
        "Homing siren"
    }

    #[zbus(property)]
    fn application_device_name(&self) -> String {
        format!("hw:{}", self.0)
    }
}

/// Holds each card that the siren claims, on the bus of this process's session, until no claim is left.
///
/// # Errors
/// [`Fault::Absent`] when there is no session bus; [`Fault::Broken`] when it ends or refuses names.
pub fn serve(roots: &Roots) -> Result<(), Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::from_io("starting the event loop", &error))?;
    let session = Builder::session().map_err(|error| absent(&error))?;
    runtime.block_on(hold(session, &claim::folder(roots)))
}

async fn hold(session: Builder<'_>, claims: &Path) -> Result<(), Fault> {
    let session = session.method_timeout(ANSWER).build().await;
    let session = session.map_err(|error| absent(&error))?;
    let bus = DBusProxy::new(&session).await.map_err(|e| broken(&e))?;
    let mut held = BTreeSet::new();
    loop {
        let claimed = claim::claimed(claims);
        for card in held.clone() {
            if !claimed.contains(&card) {
                give_back(&session, &bus, card).await?;
                held.remove(&card);
            }
        }
        if claimed.is_empty() {
            return Ok(());
        }
        let mut pause = INTERVAL;
        for card in claimed {
            if !held.contains(&card) {
                match take(&session, &bus, card).await? {
                    true => drop(held.insert(card)),
                    false => pause = AGAIN,
                }
            }
        }
        sleep(pause).await;
    }
}

/// Takes a card's name, from its holder where there is one; false when that one refuses or does not answer.
async fn take(session: &Connection, bus: &DBusProxy<'_>, card: u32) -> Result<bool, Fault> {
    // Whoever asks for the name must find it answered.
    let server = session.object_server();
    let path = format!("{PATH}{card}");
    server
        .at(path.as_str(), Reserved(card))
        .await
        .map_err(|e| broken(&e))?;
    let ask = async |flags| {
        let reply = bus.request_name(name(card)?, flags).await;
        reply.map_err(|error| Fault::Broken(format!("asking for {NAME}{card}: {error}")))
    };
    if ask(RequestNameFlags::DoNotQueue.into()).await? != RequestNameReply::Exists {
        tracing::info!(card, "reserved; nobody had it");
        return Ok(true);
    }
    let answer = session
        .call_method(
            Some(name(card)?),
            path.as_str(),
            Some(INTERFACE),
            "RequestRelease",
            &PRIORITY,
        )
        .await;
    let given = answer.and_then(|reply| reply.body().deserialize::<bool>());
    if !matches!(given, Ok(true)) {
        tracing::warn!(card, ?given, "the sound server keeps the card");
        return Ok(false);
    }
    // It may have let go of the name already, or allow that it is taken from it.
    let flags = RequestNameFlags::DoNotQueue | RequestNameFlags::ReplaceExisting;
    let taken = ask(flags).await? != RequestNameReply::Exists;
    tracing::info!(card, taken, "the sound server has given the card up");
    Ok(taken)
}

async fn give_back(session: &Connection, bus: &DBusProxy<'_>, card: u32) -> Result<(), Fault> {
    bus.release_name(name(card)?)
        .await
        .map_err(|error| Fault::Broken(format!("giving {NAME}{card} back: {error}")))?;
    let path = format!("{PATH}{card}");
    let server = session.object_server();
    let removed = server.remove::<Reserved, _>(path.as_str()).await;
    tracing::info!(card, ?removed, "given back");
    Ok(())
}

fn name(card: u32) -> Result<WellKnownName<'static>, Fault> {
    WellKnownName::try_from(format!("{NAME}{card}"))
        .map_err(|error| Fault::Broken(error.to_string()))
}

fn absent(error: &zbus::Error) -> Fault {
    Fault::Absent(format!("the session's bus: {error}"))
}

fn broken(error: &zbus::Error) -> Fault {
    Fault::Broken(format!("the session's bus: {error}"))
}
