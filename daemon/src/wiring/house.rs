//! An owner's house, and a phone whose agent is real but for its broker; dropped, it leaves nothing behind.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use homing_hal::Backend;
use homing_hal::sim::serve::Simulator;
use homing_hal::sim::track::Place;
use homing_hal::sim::world::World;
use homing_link::loopback::{Hub, Loopback};
use homing_link::{Publication, Retention, Transport};
use homing_protocol::authority::{
    self, AuthorityList, Capabilities, Capability, ClientKind, Entry,
};
use homing_protocol::beacon::Beacon;
use homing_protocol::certificate::DeviceCertificate;
use homing_protocol::command::{BeaconReference, Command, Op};
use homing_protocol::enrolment::{Answer, Bundle};
use homing_protocol::envelope::{Address, MessageType};
use homing_protocol::id::{AccountId, CommandId, DeviceId, SessionId};
use homing_protocol::keys::{KemSecret, Psk, SigningKey};
use homing_protocol::readers::{KeySet, Reader, Reads};
use homing_protocol::receipt::{CommandState, Receipt};
use homing_protocol::report::{Report, ReportAck};
use homing_protocol::topic::{Channel, Topic, device_filters};
use nix::time::{ClockId, clock_gettime};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::agent::{assemble, open_state, outlast};
use crate::brain::Brain;
use crate::config::Settings;
use crate::keystore::{Identity, randomness};
use crate::worker::Input;

/// How long a test waits for what must happen at all.
const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const ADDRESS: Address = Address {
    account: AccountId([0xaa; 16]),
    device: DeviceId([0xbb; 16]),
};

/// The owner's keys.
#[derive(Clone)]
pub(crate) struct Owner {
    pub(crate) root: SigningKey,
    pub(crate) client: SigningKey,
    /// A second client, in no list at first.
    pub(crate) guest: SigningKey,
    pub(crate) reader: KemSecret,
    pub(crate) claims: KemSecret,
}

impl Owner {
    pub(crate) fn new() -> Self {
        let rng = &mut randomness();
        Self {
            root: SigningKey::generate(rng),
            client: SigningKey::generate(rng),
            guest: SigningKey::generate(rng),
            reader: KemSecret::generate(rng),
            claims: KemSecret::generate(rng),
        }
    }

    /// The ROOT-signed list of these clients.
    pub(crate) fn list(&self, version: u64, clients: &[(&SigningKey, Capabilities)]) -> Vec<u8> {
        let entries = clients.iter().map(|(key, capabilities)| Entry {
            key: key.public(),
            kind: ClientKind::CommandLine,
            capabilities: *capabilities,
        });
        let list = AuthorityList {
            account: ADDRESS.account,
            version,
            entries: entries.collect(),
        };
        list.sign(&self.root).unwrap()
    }

    pub(crate) fn key_set(&self, version: u64) -> Vec<u8> {
        let readers = vec![Reader {
            client: self.client.public().client_id(),
            key: self.reader.public(),
            reads: Reads::Positions,
        }];
        let address = ADDRESS;
        KeySet {
            address,
            version,
            readers,
        }
        .sign(&self.root)
        .unwrap()
    }

    pub(crate) fn bundle(&self, secret: Psk) -> Bundle {
        Bundle {
            address: ADDRESS,
            epoch: 1,
            name: "test phone".into(),
            broker: "mqtts://127.0.0.1:8883".into(),
            ca_pem: String::new(),
            tls_certificate_pem: String::new(),
            tls_key_pem: zeroize::Zeroizing::new(String::new()),
            root: self.root.public(),
            authority: self.list(1, &[(&self.client, Capabilities::full())]),
            owner: self.claims.public(),
            secret,
            retention_days: 30,
        }
    }

    /// The answer to a claim of these keys.
    pub(crate) fn answer(&self, identity: &Identity, secret: &Psk) -> Vec<u8> {
        let certificate = DeviceCertificate {
            address: ADDRESS,
            epoch: 1,
            keys: identity.public(),
        };
        let answer = Answer {
            certificate: certificate.sign(&self.root),
            key_set: self.key_set(1),
        };
        let device = identity.kem.public();
        answer
            .seal(&ADDRESS, &device, secret, &mut randomness())
            .unwrap()
    }
}

/// A phone that has joined, with its agent and its broker.
pub(crate) struct Phone {
    pub(crate) owner: Owner,
    pub(crate) identity: Identity,
    pub(crate) hub: Hub,
    pub(crate) brain: Brain<Loopback>,
    inputs: UnboundedReceiver<Input>,
    settings: Settings,
    sequence: u64,
    /// Given up last, after everything that lies in it is closed.
    _folder: Option<TempDir>,
}

/// A phone whose agent does not run.
pub(crate) struct Stopped {
    pub(crate) identity: Identity,
    pub(crate) settings: Settings,
    _folder: Option<TempDir>,
}

/// The settings of a simulated phone in a folder.
fn settings(folder: &Path) -> Settings {
    let mut settings = Settings {
        state_dir: folder.join("state"),
        runtime_dir: folder.join("run"),
        ..Settings::default()
    };
    settings.hal.backend = Backend::Sim;
    settings.hal.sim.socket = Some(folder.join("sim.sock"));
    std::fs::create_dir_all(&settings.state_dir).unwrap();
    std::fs::create_dir_all(&settings.runtime_dir).unwrap();
    settings
}

impl Phone {
    /// A phone of its own, connected; must be called inside a tokio runtime.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state_dir = folder.path().join("state");
        Self::in_folders(Some(folder), &state_dir).await
    }

    /// A phone with its state in this folder.
    pub(crate) async fn in_folders(folder: Option<TempDir>, state_dir: &Path) -> Self {
        let place = folder.as_ref().map_or(state_dir, TempDir::path);
        let mut settings = settings(place);
        settings.state_dir = state_dir.to_owned();
        let began = Instant::now();
        let world = World::new(1, Place::from([52.516_27, 13.377_70]), began);
        let socket = settings.hal.sim.socket.clone().unwrap();
        Simulator::new(world, began).serve(&socket).unwrap();
        let owner = Owner::new();
        let secret = Psk::generate(&mut randomness());
        let mut identity = Identity::create(state_dir, owner.bundle(secret), 1).unwrap();
        let certificate = DeviceCertificate {
            address: ADDRESS,
            epoch: 1,
            keys: identity.public(),
        };
        identity.certificate = Some(certificate.sign(&owner.root));
        identity.first_key_set = owner.key_set(1);
        identity.store(state_dir).unwrap();
        let hub = Hub::new();
        let (brain, inputs) = start(&settings, &identity, &hub);
        let mut phone = Self {
            owner,
            identity,
            hub,
            brain,
            inputs,
            settings,
            sequence: 0,
            _folder: folder,
        };
        phone.brain.start().unwrap();
        phone.until(|phone| phone.brain.state.beacons() == 1).await;
        phone
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.settings.state_dir.clone()
    }

    /// Kills the agent and starts it again: nothing but its files is left.
    pub(crate) fn restart(self) -> Self {
        let Self {
            owner,
            identity,
            hub,
            brain,
            inputs,
            settings,
            sequence,
            _folder,
        } = self;
        hub.cut(&ADDRESS.device.to_string());
        drop((brain, inputs));
        let identity = Identity::load(&settings.state_dir)
            .unwrap()
            .unwrap_or(identity);
        let (brain, inputs) = start(&settings, &identity, &hub);
        let mut phone = Self {
            owner,
            identity,
            hub,
            brain,
            inputs,
            settings,
            sequence,
            _folder,
        };
        phone.brain.start().unwrap();
        phone
    }

    /// Ends the agent and keeps its files.
    pub(crate) fn stop(self) -> Stopped {
        Stopped {
            identity: self.identity,
            settings: self.settings,
            _folder: self._folder,
        }
    }

    /// Lets the agent live until something holds.
    pub(crate) async fn until(&mut self, holds: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < end, "what must happen has not happened");
            let patience = self.brain.patience().min(Duration::from_millis(50));
            self.once(patience).await;
        }
    }

    /// Lets the agent live until it has nothing more to do at once.
    pub(crate) async fn settle(&mut self) {
        while self.once(Duration::from_millis(60)).await {}
    }

    /// Lets the agent take what lies before it.
    pub(crate) async fn settle_quickly(&mut self) {
        while self.once(Duration::ZERO).await {}
    }

    /// One turn of the agent's loop; whether something happened.
    async fn once(&mut self, patience: Duration) -> bool {
        let brain = &mut self.brain;
        let happened = tokio::select! {
            biased;
            event = brain.transport.next() => { outlast(brain.hear(event)).unwrap(); true }
            Some(input) = self.inputs.recv() => { outlast(brain.take_in(input)).unwrap(); true }
            () = tokio::time::sleep(patience) => false,
        };
        outlast(brain.tick()).unwrap();
        happened
    }

    /// A command of the owner's client under the next number, not yet sealed.
    pub(crate) fn command(&mut self, op: Op) -> Command {
        self.sequence += 1;
        let mark = self.brain.state.newest_beacon().unwrap();
        Command {
            address: ADDRESS,
            epoch: 1,
            client: self.owner.client.public().client_id(),
            session: SessionId([5; 8]),
            seq: self.sequence,
            id: CommandId::random(&mut randomness()),
            op,
            issued_at: 1_767_225_600,
            not_after: None,
            beacon: Some(BeaconReference {
                counter: mark.counter,
                nonce: mark.nonce,
            }),
            authority_version: 1,
            binding: None,
            presence: None,
        }
    }

    /// Signs and seals a command with a client's key.
    pub(crate) fn seal(&self, command: &Command, client: &SigningKey) -> Vec<u8> {
        command
            .seal(client, &self.identity.kem.public(), &mut randomness())
            .unwrap()
    }

    /// Publishes an order of the owner's client; gives its id and its bytes.
    pub(crate) fn order(&mut self, op: Op) -> (CommandId, Vec<u8>) {
        let command = self.command(op);
        let sealed = self.seal(&command, &self.owner.client);
        self.publish(Channel::Command, sealed.clone());
        (command.id, sealed)
    }

    pub(crate) fn publish(&self, channel: Channel, payload: Vec<u8>) {
        self.hub.inject(&Publication {
            topic: Topic::Device(ADDRESS.device, channel).to_string(),
            payload,
            retention: Retention::Live,
        });
    }

    /// Publishes what ROOT signed.
    pub(crate) fn publish_list(&self, kind: MessageType, signed: &[u8]) {
        let device = self.identity.kem.public();
        let sealed = authority::seal_to_device(kind, signed, &ADDRESS, &device, &mut randomness());
        self.publish(Channel::Authority, sealed.unwrap());
    }

    pub(crate) fn acknowledge_reports(&self, through: u64) {
        let ack = ReportAck {
            address: ADDRESS,
            epoch: 1,
            client: self.owner.client.public().client_id(),
            through,
        };
        let device = self.identity.kem.public();
        let sealed = ack
            .seal(&self.owner.client, &device, &mut randomness())
            .unwrap();
        self.publish(Channel::Command, sealed);
    }

    /// Everything the phone published on a channel so far, also what was lost.
    pub(crate) fn published(&self, channel: Channel) -> Vec<Vec<u8>> {
        let topic = Topic::Device(ADDRESS.device, channel).to_string();
        let seen = self.hub.seen().into_iter();
        seen.filter(|publication| publication.topic == topic)
            .map(|publication| publication.payload)
            .collect()
    }

    /// Every receipt published, verified.
    pub(crate) fn receipts(&self) -> Vec<Receipt> {
        let verify = |bytes: Vec<u8>| {
            Receipt::verify(&bytes, &ADDRESS, &self.identity.agent.public())
                .unwrap()
                .0
        };
        self.published(Channel::Receipt)
            .into_iter()
            .map(verify)
            .collect()
    }

    /// The states told for a command, in the order of publication.
    pub(crate) fn said(&self, id: CommandId) -> Vec<CommandState> {
        let receipts = self.receipts().into_iter();
        receipts
            .filter(|receipt| receipt.command == id)
            .map(|receipt| receipt.state)
            .collect()
    }

    pub(crate) fn reports(&self) -> Vec<Report> {
        let open = |bytes: Vec<u8>| {
            Report::open(
                &bytes,
                &ADDRESS,
                &self.identity.agent.public(),
                &self.owner.reader,
            )
            .unwrap()
        };
        self.published(Channel::Report)
            .into_iter()
            .map(open)
            .collect()
    }

    pub(crate) fn newest_beacon(&self) -> Beacon {
        let bytes = self.published(Channel::Beacon).pop().unwrap();
        Beacon::verify(&bytes, &ADDRESS, &self.identity.agent.public())
            .unwrap()
            .0
    }

    /// Whether the siren is ordered to sound.
    pub(crate) fn is_siren_ordered(&self) -> bool {
        self.brain.siren_folder.join("intent.json").exists()
    }

    /// The file for `homingd status`.
    pub(crate) fn status(&self) -> Value {
        let text = std::fs::read(self.settings.runtime_dir.join("status.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// Whether nothing is written any more, or it is again.
    pub(crate) fn set_disk(&self, disk: Disk) {
        let journal = self.brain.journal.database();
        let is_read_only = disk == Disk::ReadOnly;
        journal
            .pragma_update(None, "query_only", is_read_only)
            .unwrap();
    }
}

/// What the journal's disk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disk {
    Works,
    ReadOnly,
}

fn start(
    settings: &Settings,
    identity: &Identity,
    hub: &Hub,
) -> (Brain<Loopback>, UnboundedReceiver<Input>) {
    let (journal, state, authority) = open_state(settings, identity, None).unwrap();
    let filters = device_filters(ADDRESS.device);
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    let transport = hub.connect(&ADDRESS.device.to_string(), &filters);
    assemble(
        settings.clone(),
        identity,
        journal,
        state,
        authority,
        transport,
    )
    .unwrap()
}

pub(crate) fn ring() -> Op {
    Op::Ring { for_s: 60 }
}

pub(crate) fn locate() -> Op {
    Op::Locate { search_s: 10 }
}

/// The rights of a client that may only locate.
pub(crate) fn only_locate() -> Capabilities {
    Capabilities::of(&[Capability::Locate])
}

/// What this thread has computed so far: how long opening takes must not depend on what else the machine does.
pub(crate) fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map(Duration::from)
        .expect("Linux has had this clock since 2.6.12")
}

/// Runs a test's future with the clock and the drivers it needs.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(test);
}
