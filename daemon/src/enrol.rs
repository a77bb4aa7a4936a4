//! Joining an account: `homingd enrol` asks the person at the phone and makes keys; the agent then claims the bundle until the owner answers. First claim wins, and the owner's side says which that is.

use std::cmp::Ordering;
use std::io::{BufRead, IsTerminal, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use homing_link::{LinkEvent, Publication, Retention, Transport};
use homing_policy::Record;
use homing_protocol::authority::AuthorityList;
use homing_protocol::enrolment::{Answer, Bundle};
use homing_protocol::envelope::{Header, MessageType};
use homing_protocol::keys::Psk;
use homing_protocol::readers::KeySet;
use homing_protocol::topic::{Channel, Topic};
use nix::unistd::{Gid, Uid, geteuid, setegid, seteuid, setgroups};
use zeroize::Zeroizing;

use crate::actor::identity as actor_identity;
use crate::actor::notice;
use crate::alone::Alone;
use crate::args::{Order, Switch};
use crate::config::Settings;
use crate::crash::CrashPoint;
use crate::error::Error;
use crate::exit::ExitError;
use crate::keystore::Identity;
use crate::{agent, config, durable, membership, pin, print, scribe, wallclock};

/// A bundle is some 4 KiB; whatever is longer than this is none.
const LONGEST_BUNDLE: u64 = 64 * 1024;

/// `homingd enrol BUNDLE [--yes] [--retention-days N]`.
///
/// # Errors
/// A bundle that is none, a phone that has joined already, no consent, a state directory that cannot be written.
pub fn run(order: &Order) -> Result<(), ExitError> {
    let settings = config::load(&order.source)?.settings;
    let path = Path::new(
        order
            .operands
            .first()
            .map_or_else(Default::default, |operand| operand.as_os_str()),
    );
    let mut bundle = read_bundle(path)?;
    if let Some(days) = order.value("--retention-days") {
        bundle.retention_days = days
            .to_str()
            .and_then(|text| text.parse().ok())
            .filter(|days| *days <= 3650)
            .ok_or_else(|| {
                Error::Usage(
                    "--retention-days takes a number of days from 0 (keep none) to 3650".into(),
                )
            })?;
    }
    let mut crash = agent::crash_point(order)?;
    if !settings.state_dir.is_dir() {
        return Err(Error::Enrolment(format!(
            "the state directory {} is missing; create it for the user that runs the agent",
            settings.state_dir.display()
        ))
        .into());
    }
    if notice::stands(&settings.actor_dir()) {
        return Err(in_lost_mode().into());
    }
    let former = become_owner_of(&settings.state_dir)?;
    // Until this command ends: an agent that started meanwhile would claim under keys that are about to go.
    let _alone = Alone::take_for_command(&settings.state_dir)?;
    membership::settle(&settings.state_dir, &mut crash)?;
    if let Some(present) = Identity::load(&settings.state_dir)? {
        if is_unfinished(&settings, &present, &bundle) {
            return finish(former, &settings);
        }
        refuse_joined(&present, &bundle)?;
    }
    print(&consent_text(&bundle))?;
    if order.switch("--yes") == Switch::Off {
        ask()?;
    }
    let (identity, actor) = Identity::fresh(bundle, wallclock::unix_s());
    membership::join(&settings.state_dir, &identity, &actor, &mut crash)?;
    let lockable =
        former.as_root(|| actor_identity::serve(&settings.actor_dir(), &identity, &actor))?;
    if lockable.is_ok() {
        // The agent needs no copy of that key.
        durable::remove(&actor_identity::left_by_enrolment(&settings.state_dir))?;
    }
    print(&format!(
        "Consent recorded. Fingerprint of this phone: {}\nThe agent now claims the bundle: start or restart it (systemctl restart homingd-agent).\n",
        identity.public().fingerprint()
    ))?;
    if let Err(error) = lockable {
        print(&format!(
            "This phone cannot be locked from afar yet ({error}): run this command with the same bundle again, as root.\n"
        ))?;
    }
    // The phone has joined, whatever becomes of the PIN.
    if order.switch("--yes") == Switch::Off
        && let Err(error) = pin::offer(&settings.state_dir)
    {
        print(&format!("No Homing PIN was set: {error}\n"))?;
    }
    Ok(())
}

/// Whether an earlier call with this bundle was cut off before the privileged half took its part over.
fn is_unfinished(settings: &Settings, present: &Identity, bundle: &Bundle) -> bool {
    let (ours, theirs) = (&present.bundle, bundle);
    let same = (ours.address, ours.root, ours.epoch) == (theirs.address, theirs.root, theirs.epoch);
    same && actor_identity::left_by_enrolment(&settings.state_dir).exists()
}

fn finish(former: Former, settings: &Settings) -> Result<(), ExitError> {
    let (state_dir, actor_dir) = (&settings.state_dir, settings.actor_dir());
    let taken = former.as_root(|| actor_identity::take_over(state_dir, &actor_dir))?;
    taken?;
    print("This phone had joined already; from now on it can be locked from afar.\n")?;
    Ok(())
}

fn read_bundle(path: &Path) -> Result<Bundle, Error> {
    let mut bytes = Zeroizing::new(Vec::new());
    std::fs::File::open(path)
        .and_then(|file| file.take(LONGEST_BUNDLE).read_to_end(&mut bytes))
        .map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
    Bundle::decode(&bytes).map_err(|_| {
        Error::Enrolment(format!(
            "{} is not a bundle of Homing, or it is damaged: make one with `homing device add`",
            path.display()
        ))
    })
}

/// A phone that has joined takes one kind of bundle only: of the same phone, with a higher enrolment number.
fn refuse_joined(present: &Identity, bundle: &Bundle) -> Result<(), Error> {
    let (ours, theirs) = (&present.bundle, bundle);
    let same = ours.address == theirs.address && ours.root == theirs.root;
    let why = match theirs.epoch.cmp(&ours.epoch) {
        Ordering::Greater if same => return Ok(()),
        Ordering::Equal if same => "this phone has claimed this bundle already".to_owned(),
        Ordering::Less if same => format!(
            "this bundle is of enrolment {}, this phone has joined under {}: it is dead",
            theirs.epoch, ours.epoch
        ),
        _ => format!(
            "this phone already belongs to account {} as \"{}\"; take it out first: homingd leave {}",
            ours.address.account, ours.name, ours.name
        ),
    };
    Err(Error::Enrolment(why))
}

/// What a phone says that is not to change hands now.
pub(crate) fn in_lost_mode() -> Error {
    Error::Enrolment(
        "this phone is in lost mode: its owner ends that first (homing lost NAME --off)".into(),
    )
}

/// Who this process was before it became the agent's user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Former {
    /// The same user.
    Same,
    /// Root, which it can be again for what belongs to the privileged half; the agent's user and group.
    Root(Uid, Gid),
}

impl Former {
    /// Does something as root, where this process was that, and becomes the agent's user again.
    ///
    /// # Errors
    /// [`Error::Kernel`].
    pub(crate) fn as_root<R>(self, work: impl FnOnce() -> R) -> Result<R, Error> {
        let Self::Root(user, group) = self else {
            return Ok(work());
        };
        let failed = |errno: nix::errno::Errno| Error::Kernel {
            doing: "change between root and the user that owns the state directory",
            source: errno.into(),
        };
        seteuid(Uid::from_raw(0))
            .and_then(|()| setegid(Gid::from_raw(0)))
            .map_err(failed)?;
        let done = work();
        setegid(group)
            .and_then(|()| seteuid(user))
            .map_err(failed)?;
        Ok(done)
    }
}

/// Under sudo the keys must belong to the user that runs the agent, not to root: acts as the owner of the state directory
/// from now on. The bundle has been read by then, so it may lie where only root can.
pub(crate) fn become_owner_of(folder: &Path) -> Result<Former, Error> {
    let of_folder = |source| Error::Folder {
        path: folder.to_owned(),
        source,
    };
    let owner = std::fs::metadata(folder).map_err(of_folder)?;
    if !geteuid().is_root() || owner.uid() == 0 {
        return Ok(Former::Same);
    }
    let (user, group) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
    setgroups(&[])
        .and_then(|()| setegid(group))
        .and_then(|()| seteuid(user))
        .map(|()| Former::Root(user, group))
        .map_err(|errno| Error::Kernel {
            doing: "become the user that owns the state directory",
            source: errno.into(),
        })
}

/// What the person who carries the phone agrees to, in their words.
fn consent_text(bundle: &Bundle) -> String {
    let keep = match bundle.retention_days {
        0 => "The phone makes no movement history. A position that was asked for is not kept longer than it takes to show it."
            .to_owned(),
        days => format!(
            "The phone also makes a movement history: its position every few minutes while it moves, every hour while it \
             lies still, and once more before the battery is empty. Positions are kept for {days} days, on the phone and by \
             the owner, then deleted. To have no history: --retention-days 0."
        ),
    };
    format!(
        "This phone will join account {} as \"{}\".\n\
         Its owner, and those the owner allows, can then:\n  \
         - ask where this phone is, and read its battery and network state;\n  \
         - let it ring loudly, also when it is muted;\n  \
         - lock it and show a message on its screen until they unlock it, also after a restart.\n\
         {keep} Nobody else can read them, not even the broker.\n\
         Every order is written down on this phone: homingd ledger\n",
        bundle.address.account, bundle.name
    )
}

fn ask() -> Result<(), Error> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Err(Error::Enrolment("somebody must agree at the phone: run this on a terminal, or give --yes when they have agreed".into()));
    }
    print("Type \"yes\" to agree: ")?;
    std::io::stdout().flush().map_err(Error::Print)?;
    let mut line = String::new();
    input.lock().read_line(&mut line).map_err(Error::Print)?;
    if line.trim().eq_ignore_ascii_case("yes") {
        Ok(())
    } else {
        Err(Error::Enrolment(
            "nothing was changed: joining needs a \"yes\"".into(),
        ))
    }
}

/// Claims the bundle on every connection until the owner's answer verifies; returns when this phone is enrolled.
///
/// # Errors
/// [`Error::Replace`] when the answer cannot be stored.
pub(crate) async fn join<T: Transport>(
    transport: &mut T,
    identity: &mut Identity,
    state_dir: &Path,
    model: &str,
    crash: &mut CrashPoint,
) -> Result<Vec<Record>, Error> {
    let device = identity.bundle.address.device;
    loop {
        match transport.next().await {
            LinkEvent::Connected { .. } => {
                crash.pass()?;
                let payload = scribe::claim(identity, model).map_err(|source| Error::Damaged {
                    what: "the bundle".into(),
                    source,
                })?;
                let topic = Topic::Device(device, Channel::Enrol).to_string();
                tracing::info!(
                    "claiming the bundle; fingerprint {}",
                    identity.public().fingerprint()
                );
                // A claim that is lost is made again on the next connection.
                if let Err(reason) = transport.publish(Publication {
                    topic,
                    payload,
                    retention: Retention::Retained,
                }) {
                    tracing::warn!("the claim was not sent: {reason}");
                }
            }
            LinkEvent::Disconnected { reason, retry_in } => {
                tracing::info!(
                    "not connected: {reason}; next attempt in {} s",
                    retry_in.as_secs()
                );
            }
            LinkEvent::Message(delivery) => {
                let facts = accept(identity, state_dir, &delivery.payload, crash)?;
                transport.acknowledge(delivery.acknowledgement);
                crash.pass()?;
                if let Some(facts) = facts {
                    let topic = Topic::Device(device, Channel::Enrol).to_string();
                    // The retained claim has done its work; an empty retained message removes it.
                    if let Err(reason) = transport.publish(Publication {
                        topic,
                        payload: Vec::new(),
                        retention: Retention::Retained,
                    }) {
                        tracing::debug!("the claim stays at the broker: {reason}");
                    }
                    return Ok(facts);
                }
            }
            LinkEvent::SubscriptionRefused { filter, reason } => {
                tracing::error!("the broker refused {filter}: {reason}")
            }
            LinkEvent::PublishRefused { reason, .. } => {
                tracing::error!("the broker refused the claim: {reason}")
            }
            LinkEvent::Published(_) | LinkEvent::Unheard(_) => {}
        }
    }
}

/// Takes the owner's answer, if this is it: the certificate is on the disk before anything relies on it.
fn accept(
    identity: &mut Identity,
    state_dir: &Path,
    payload: &[u8],
    crash: &mut CrashPoint,
) -> Result<Option<Vec<Record>>, Error> {
    let bundle = &identity.bundle;
    if !matches!(Header::read(payload), Ok(header) if header.kind == MessageType::Enrolment) {
        return Ok(None);
    }
    let (answer, certificate, key_set) = match Answer::open(
        payload,
        &bundle.address,
        &identity.kem,
        &bundle.secret,
        &bundle.root,
    ) {
        Ok(parts) => parts,
        Err(fault) => {
            tracing::warn!("an answer that is not our owner's: {fault}");
            return Ok(None);
        }
    };
    if certificate.keys != identity.public() || certificate.epoch != bundle.epoch {
        tracing::error!(
            "the owner has certified other keys for this bundle: somebody else claimed it first"
        );
        return Ok(None);
    }
    let facts = first_facts(bundle, &answer.key_set, &key_set)?;
    // The facts are kept beside the certificate until the journal has them, so a power cut here loses nothing.
    identity.certificate = Some(answer.certificate);
    identity.first_key_set = answer.key_set;
    identity.bundle.secret = Psk(Zeroizing::new([0; 32]));
    crash.pass()?;
    identity.store(state_dir)?;
    crash.pass()?;
    tracing::info!("the owner has answered: this phone is enrolled");
    Ok(Some(facts))
}

/// The journal's first rows.
///
/// # Errors
/// [`Error::Damaged`].
pub(crate) fn first_facts(
    bundle: &Bundle,
    signed_key_set: &[u8],
    key_set: &KeySet,
) -> Result<Vec<Record>, Error> {
    let authority = AuthorityList::verify(&bundle.authority, &bundle.root, bundle.address.account)
        .map_err(|source| Error::Damaged {
            what: "the bundle".into(),
            source,
        })?;
    Ok(vec![
        Record::Authority {
            version: authority.version,
            signed: bundle.authority.clone(),
        },
        Record::KeySet {
            version: key_set.version,
            signed: signed_key_set.to_vec(),
        },
    ])
}
