//! `homingd leave`: takes this phone out of its account, by whoever has root on it and types its name. The owner is told first; it must not leave anything of the account behind.

use std::time::Duration;

use homing_link::{LinkEvent, MqttLink, Publication, Retention, Transport};
use homing_policy::{Event, NonceMaker, Now, decide};
use homing_protocol::beacon::{Beacon, Status};
use homing_protocol::id::{BeaconNonce, BootId};
use homing_protocol::measure::{Battery, Charging, Metered, NetworkKind};
use homing_protocol::topic::{Channel, Topic};

use crate::actor::{self, notice};
use crate::alone::Alone;
use crate::args::{Order, Switch};
use crate::config::Settings;
use crate::error::Error;
use crate::exit::ExitError;
use crate::keystore::{Identity, randomness};
use crate::siren::intent;
use crate::{agent, boottime, config, enrol, membership, pin, print, wallclock};

/// How long the broker is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long an orderly end of the connection may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// `homingd leave NAME [--untold]`.
///
/// # Errors
/// Not joined, another name, the agent is running, the owner cannot be told, a state directory that cannot be written.
pub(crate) fn run(order: &Order) -> Result<(), ExitError> {
    let settings = config::load(&order.source)?.settings;
    let mut crash = agent::crash_point(order)?;
    if !settings.state_dir.is_dir() {
        return Err(of_nobody().into());
    }
    let actor_dir = settings.actor_dir();
    if notice::stands(&actor_dir) {
        return Err(enrol::in_lost_mode().into());
    }
    let former = enrol::become_owner_of(&settings.state_dir)?;
    let alone = Alone::take_for_command(&settings.state_dir)?;
    membership::settle(&settings.state_dir, &mut crash)?;
    let Some(identity) = Identity::load(&settings.state_dir)? else {
        return Err(of_nobody().into());
    };
    let name = &identity.bundle.name;
    if order
        .operands
        .first()
        .is_none_or(|typed| typed != name.as_str())
    {
        return Err(Error::Usage(format!(
            "this phone is called \"{name}\": type that name to take it out of its account"
        ))
        .into());
    }
    let told = if identity.certificate.is_some() {
        tell(&settings, &identity, &alone)
    } else {
        // The owner has not answered yet: there is nobody who counts on it.
        Ok(())
    };
    match told {
        Err(why) if order.switch("--untold") == Switch::Off => {
            return Err(Error::Enrolment(format!(
                "the owner could not be told ({why}); nothing was changed. Connect the phone and try again, or give --untold"
            ))
            .into());
        }
        Err(_) => {
            // Else this would be the way past the PIN that nobody hears of.
            pin::pass_where_set(&settings.state_dir)?;
            print("The owner was not told: tell them yourself.\n")?;
        }
        Ok(()) => {}
    }
    membership::leave(&settings.state_dir, &mut crash)?;
    if let Err(error) = former.as_root(|| actor::identity::forget(&actor_dir))? {
        // It serves nobody any more: nothing that the old owner signed reaches it without an agent.
        print(&format!(
            "What the privileged half knew of the owner stays behind: {error}\n"
        ))?;
    }
    alone.remove()?;
    print(&format!(
        "This phone has left account {}: keys, positions, orders and ledger are removed. Nobody can find it any more.\n",
        identity.bundle.address.account
    ))?;
    Ok(())
}

fn of_nobody() -> Error {
    Error::Enrolment("this phone belongs to no account".into())
}

/// The last beacon: retained, so that an owner who is away reads it later.
fn tell(settings: &Settings, identity: &Identity, alone: &Alone) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::Kernel {
            doing: "start the event loop",
            source,
        })?;
    let payload = farewell(settings, identity, alone)?;
    let publication = Publication {
        topic: Topic::Device(identity.bundle.address.device, Channel::Beacon).to_string(),
        payload,
        retention: Retention::Retained,
    };
    let link = agent::link_settings(settings, identity)?;
    runtime.block_on(async {
        let mut transport = MqttLink::start(link)?;
        let sent = tokio::time::timeout(PATIENCE, publish(&mut transport, publication)).await;
        transport.close(GOODBYE).await;
        sent.unwrap_or_else(|_| {
            Err(Error::Enrolment(
                "the broker did not answer within 20 s".into(),
            ))
        })
    })
}

async fn publish(transport: &mut MqttLink, publication: Publication) -> Result<(), Error> {
    let mut token = None;
    loop {
        match transport.next().await {
            LinkEvent::Connected { .. } => {
                token = transport.publish(publication.clone()).ok();
            }
            LinkEvent::Published(done) | LinkEvent::Unheard(done) if token == Some(done) => {
                return Ok(());
            }
            LinkEvent::PublishRefused { reason, .. } => {
                return Err(Error::Enrolment(format!("the broker refused it: {reason}")));
            }
            // Orders that come now stay at the broker: they are of nobody's concern any more.
            _ => {}
        }
    }
}

fn farewell(settings: &Settings, identity: &Identity, alone: &Alone) -> Result<Vec<u8>, Error> {
    let (mut journal, mut state, _) = agent::open_alone(alone.clone(), settings, identity, None)?;
    let boot_text = intent::boot_id(&homing_hal::Roots::default())?;
    let now = Now {
        boot: boot_text
            .replace('-', "")
            .parse()
            .unwrap_or(BootId([0; 16])),
        boottime_ms: boottime::now_ms()?,
        wall_unix_s: wallclock::unix_s(),
        clock: wallclock::trust(),
    };
    let nonce = BeaconNonce::random(&mut randomness());
    let last = Event::BeaconDue {
        nonce,
        maker: NonceMaker::Agent,
    };
    let _ = decide(&state, &now, &last).commit(&mut state, &mut journal)?;
    let beacon = Beacon {
        address: identity.bundle.address,
        epoch: identity.bundle.epoch,
        counter: state.beacons(),
        nonce,
        boot: now.boot,
        windows: state.windows(),
        authority_version: state.authority.0,
        key_set_version: state.key_set.0,
        receipts: state.receipts,
        receipt_chain: journal.chain_head(),
        next_contact_s: u32::MAX,
    };
    let status = Status {
        time_unix_s: now.wall_unix_s,
        clock: now.clock,
        battery: Battery {
            percent: None,
            charging: Charging::Unknown,
        },
        network: NetworkKind::Unknown,
        metered: Metered::Unknown,
        ring: None,
        reports: state.reports,
        presence: 0,
        free_mib: 0,
        refused: 0,
        set_back: state.set_back,
        left_at: Some(now.wall_unix_s),
        lists: None,
        lost: None,
    };
    journal
        .scribe
        .beacon(&beacon, &status)
        .map_err(|source| Error::Damaged {
            what: "the list of readers".into(),
            source,
        })
}
