//! The family and its broker: two phones, three clients, the messages between them, and time. It must not choose what happens.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use homing_link::loopback::{Answer, Hub};
use homing_link::{Publication, Retention, SessionPresence};
use homing_oracle::{Beacon, Expected, Fact, Meaning, Receipt};
use homing_owner::phone::Phone;
use homing_protocol::certificate::DeviceCertificate;
use homing_protocol::envelope::Address;
use homing_protocol::id::{CommandId, DeviceId};
use homing_protocol::keys::Psk;
use homing_protocol::topic::{Channel, Topic};
use tempfile::TempDir;

use super::account::{Account, Known, Order};
use super::family::{CLIENTS, DELEGATE, Delegate, Family, Size};
use super::handset::{Facts, Handset, TODAY_S};
use crate::keystore::{Identity, randomness};
use crate::wiring::house::ADDRESS;

/// What clients listen to.
pub(super) const LISTENS: &str = "homing/v1/+/+/up/+";
/// Turns until everybody must have come to rest: many, for a storm is a fault of its own.
const MOST_TURNS: u32 = 400;
/// When every world begins, milliseconds: its phones have been on for a while.
const BEGINNING_MS: u64 = 1_000_000;

/// The phones' addresses.
pub(super) fn address(which: usize) -> Address {
    let device = DeviceId(if which == 0 { [0xbb; 16] } else { [0xcc; 16] });
    Address {
        account: ADDRESS.account,
        device,
    }
}

/// Keys and folders of a family that has just joined; every world begins with a copy.
pub(super) struct Template {
    family: Family,
    identities: [Identity; 2],
    folder: TempDir,
}

fn quick_folder() -> TempDir {
    // What survives a kill lies in the page cache anyway; a disk would only cost time.
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).expect("folder")
    } else {
        tempfile::tempdir().expect("folder")
    }
}

impl Template {
    pub(super) fn new(size: Size) -> Self {
        let (family, folder) = (Family::new(size), quick_folder());
        let identities = [0, 1].map(|which| {
            let mut bundle = family.keys.bundle(Psk::generate(&mut randomness()));
            bundle.address = address(which);
            bundle.authority = family.list(1, Delegate::Listed);
            let place = folder.path().join(which.to_string());
            std::fs::create_dir_all(&place).expect("folder");
            let mut identity = Identity::create(&place, bundle, 1).expect("identity");
            let certificate = DeviceCertificate {
                address: address(which),
                epoch: 1,
                keys: identity.public(),
            };
            identity.certificate = Some(certificate.sign(&family.keys.root));
            identity.first_key_set = family.key_set(address(which), 1);
            identity.store(&place).expect("stored");
            // The reserve for a full disk as a hole: there is plenty of space here.
            let reserve = std::fs::File::create(place.join("reserve")).expect("file");
            reserve.set_len(1024 * 1024).expect("size");
            let settings = crate::config::Settings {
                state_dir: place,
                ..crate::config::Settings::default()
            };
            drop(crate::agent::open_state(&settings, &identity, None).expect("journal"));
            identity
        });
        Self {
            family,
            identities,
            folder,
        }
    }
}

/// A template for each kind of schedule.
pub(super) struct Templates {
    alone: Template,
    company: Template,
}

impl Templates {
    pub(super) fn new() -> Self {
        Self {
            alone: Template::new(Size::Alone),
            company: Template::new(Size::Company),
        }
    }

    /// The one that this schedule needs.
    pub(super) const fn of(&self, size: Size) -> &Template {
        match size {
            Size::Alone => &self.alone,
            Size::Company => &self.company,
        }
    }
}

/// Everything.
pub(super) struct World {
    pub(super) hub: Hub,
    pub(super) phones: Vec<Handset>,
    pub(super) family: Family,
    /// The clients, of whom the others are there only once they are needed.
    pub(super) clients: Vec<Account>,
    pub(super) facts: Facts,
    time: Rc<RefCell<u64>>,
    /// What was published and not yet passed on or lost.
    pub(super) mail: Vec<Publication>,
    /// All that was ever published.
    pub(super) history: Vec<Publication>,
    /// Which order some bytes hold: whose, and for which phone.
    signed: HashMap<Vec<u8>, (usize, DeviceId, CommandId)>,
    /// Whether the newest list has the delegate.
    delegate: Delegate,
    /// What a storm was.
    pub(super) fault: Option<String>,
    _folder: TempDir,
}

/// Which client a number below twelve names: half of them the owner's first machine.
pub(super) const fn client_of(who: usize) -> usize {
    match who {
        0..6 => 0,
        6..9 => 1,
        _ => DELEGATE,
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("folder");
    for entry in std::fs::read_dir(from).expect("folder") {
        let entry = entry.expect("entry");
        let target: PathBuf = to.join(entry.file_name());
        if entry.file_type().expect("kind").is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_name() == "reserve" {
            let reserve = std::fs::File::create(target).expect("file");
            reserve.set_len(1024 * 1024).expect("size");
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

impl World {
    pub(super) fn new(template: &Template) -> Self {
        let (hub, facts) = (Hub::new(), Facts::default());
        hub.seize();
        let folder = quick_folder();
        copy(template.folder.path(), folder.path());
        let time = Rc::new(RefCell::new(BEGINNING_MS));
        let start = |which: usize| {
            let place = folder.path().join(which.to_string());
            let identity = template.identities[which].clone();
            Handset::start(&place, identity, &hub, &facts, &time)
        };
        let phones = vec![start(0), start(1)];
        let family = template.family.clone();
        let clients = family.clients.iter().map(|client| {
            let known = template.identities.iter().enumerate();
            let known = known.map(|(which, identity)| {
                let phone = Phone {
                    address: address(which),
                    epoch: 1,
                    keys: identity.public(),
                };
                Known::new(phone, identity.first_key_set.clone())
            });
            let list = family.list(1, Delegate::Listed);
            let mut account = Account::new(client.clone(), known.collect(), list, &facts);
            account.link = Some(hub.connect(client.name, &[LISTENS]));
            account
        });
        let clients = clients.collect();
        let mut world = Self {
            hub,
            phones,
            family,
            clients,
            facts,
            time,
            mail: Vec::new(),
            history: Vec::new(),
            signed: HashMap::new(),
            delegate: Delegate::Listed,
            fault: None,
            _folder: folder,
        };
        for who in 0..3 {
            world.hub.welcome(&world.name(who), SessionPresence::Fresh);
        }
        world.run();
        world
    }

    /// The name at the broker of who has that number, below twelve: phones, and clients in between.
    pub(super) fn name(&self, who: usize) -> String {
        match who % 3 {
            2 => self.clients[client_of(who)].client.name.to_owned(),
            which => self.phones[which].name(),
        }
    }

    /// Every order of any client.
    pub(super) fn orders(&self) -> impl Iterator<Item = &Order> {
        self.clients.iter().flat_map(|client| &client.orders)
    }

    /// Whether this client has anything to do here; the owner's first machine always has.
    fn is_needed(&self, client: usize) -> bool {
        client == 0 || !self.clients[client].orders.is_empty()
    }

    /// The owner's clock, milliseconds since 1970.
    pub(super) fn owner_ms(&self) -> i64 {
        let world = *self.time.borrow() - BEGINNING_MS;
        i64::try_from(TODAY_S * 1_000 + world).expect("before the year 292 million")
    }

    /// Lets everybody act until nobody has anything to do at once.
    pub(super) fn run(&mut self) {
        for _ in 0..MOST_TURNS {
            let mut busy = false;
            for phone in &mut self.phones {
                busy |= phone.turn();
            }
            let now = self.owner_ms();
            for client in &mut self.clients {
                busy |= client.turn(now);
            }
            self.collect();
            if !busy {
                return;
            }
        }
        self.fault = Some("they never come to rest: a loop at the speed of the wire".into());
    }

    /// Takes what was published and acknowledged, for the broker and for the oracle.
    fn collect(&mut self) {
        for client in &self.clients {
            for publication in self.hub.take_published(client.client.name) {
                self.history.push(publication.clone());
                self.mail.push(publication);
            }
            for order in &client.orders {
                if let Some(envelope) = order.envelope()
                    && !self.signed.contains_key(envelope)
                {
                    let whose = (client.client.index, order.device, order.intent.id);
                    self.signed.insert(envelope.to_vec(), whose);
                }
            }
        }
        for which in 0..self.phones.len() {
            let name = self.phones[which].name();
            for publication in self.hub.take_published(&name) {
                self.watch(which, &publication);
                self.history.push(publication.clone());
                self.mail.push(publication);
            }
            for publication in self.hub.take_acknowledged(&name) {
                self.acknowledged(which, &publication);
            }
        }
    }

    fn acknowledged(&mut self, which: usize, publication: &Publication) {
        let phone = &self.phones[which];
        let device = phone.address.device;
        let Some((client, of, id)) = self.signed.get(&publication.payload) else {
            return;
        };
        let addressed = matches!(Topic::parse(&publication.topic), Some(Topic::Device(to, Channel::Command | Channel::Authority)) if to == device);
        // Who stands in no list is a stranger, to whom nobody promises anything.
        let signer = &self.family.clients[*client].signing;
        let in_force = &phone.brain().authority;
        let is_listed = in_force.entry(signer.public().client_id()).is_some();
        // What waits for its list has been taken from the broker, but nobody claims anything yet.
        let parked = phone.brain().parked.contains(&publication.payload);
        if addressed && *of == device && is_listed && !parked {
            self.facts
                .borrow_mut()
                .push(Fact::Acknowledged(device, *id));
        }
    }

    /// What a phone says, as anybody can see it who has the keys.
    fn watch(&self, which: usize, publication: &Publication) {
        let phone = &self.clients[0].phones[which].phone;
        let device = phone.address.device;
        let reader = &self.family.clients[0].reading;
        let fact = match Topic::parse(&publication.topic) {
            Some(Topic::Device(_, Channel::Receipt)) => {
                let answer = phone.hear_receipt(&publication.payload, reader);
                let answer = answer.expect("a phone's own receipt");
                let meaning = match answer.meaning(0) {
                    homing_owner::phone::Meaning::Step(_) => Meaning::Step,
                    homing_owner::phone::Meaning::SignAgain(_) => Meaning::SignAgain,
                };
                Fact::Published(Receipt {
                    phone: device,
                    counter: answer.receipt.counter,
                    command: answer.receipt.command,
                    state: answer.receipt.state,
                    meaning,
                })
            }
            Some(Topic::Device(_, Channel::Beacon)) => {
                let heard = phone.hear_beacon(&publication.payload, reader);
                let beacon = heard.expect("a phone's own beacon").beacon;
                Fact::Beaconed(
                    device,
                    Beacon {
                        counter: beacon.counter,
                        nonce: beacon.nonce,
                        receipts: beacon.receipts,
                        authority: beacon.authority_version,
                        key_set: beacon.key_set_version,
                    },
                )
            }
            _ => return,
        };
        self.facts.borrow_mut().push(fact);
    }

    /// Passes a message on to whoever listens to its topic.
    pub(super) fn deliver(&self, publication: &Publication) {
        match Topic::parse(&publication.topic) {
            Some(Topic::Device(device, Channel::Command | Channel::Authority)) => {
                self.hub.hand_over(&device.to_string(), publication);
            }
            _ => {
                for client in 0..CLIENTS {
                    let name = self.family.clients[client].name;
                    if self.is_needed(client) {
                        self.hub.hand_over(name, publication);
                    }
                }
            }
        }
    }

    /// Time passes.
    pub(super) fn later(&mut self, ms: u64) {
        *self.time.borrow_mut() += ms;
        for phone in &mut self.phones {
            phone.tick();
        }
    }

    /// The names at the broker of all who are needed here.
    fn names(&self) -> Vec<String> {
        let clients = (0..CLIENTS).filter(|client| self.is_needed(*client));
        let clients = clients.map(|client| self.family.clients[client].name.to_owned());
        let phones = self.phones.iter().map(Handset::name);
        phones.chain(clients).collect()
    }

    /// ROOT signs a newer authority list.
    pub(super) fn sign_list(&mut self, delegate: Delegate) {
        let version = self.clients[0].authority.0 + 1;
        let signed = self.family.list(version, delegate);
        for client in &mut self.clients {
            client.authority = (version, signed.clone());
        }
        self.delegate = delegate;
    }

    /// ROOT signs a newer key set of a phone.
    pub(super) fn sign_key_set(&mut self, which: usize) {
        let known = &mut self.clients[0].phones[which];
        let version = known.key_set.0 + 1;
        known.key_set = (version, self.family.key_set(address(which), version));
    }

    /// Everybody behaves once: the broker passes on and answers, sirens and searches do what they were ordered.
    pub(super) fn behave(&mut self) {
        for name in self.names() {
            if !self.hub.is_online(&name) {
                self.hub.welcome(&name, SessionPresence::Fresh);
            }
            while self.hub.unanswered(&name) > 0 {
                self.hub.answer(&name, 0, Answer::Published);
            }
        }
        for publication in std::mem::take(&mut self.mail) {
            let live = Publication {
                retention: Retention::Live,
                ..publication
            };
            self.deliver(&live);
        }
        for phone in &mut self.phones {
            phone.siren();
            phone.find(Ok(7));
        }
        self.run();
    }

    /// From here on everybody behaves, until all is done or it has taken too long.
    pub(super) fn settle(&mut self) {
        for phone in &mut self.phones {
            phone.repair_disk();
        }
        // Who was put out is never answered: all shall have an end here.
        if self.delegate == Delegate::PutOut && self.is_needed(DELEGATE) {
            self.sign_list(Delegate::Listed);
        }
        for round in 0..600u64 {
            self.behave();
            if self.fault.is_some() || (self.mail.is_empty() && self.is_over()) {
                break;
            }
            self.later(match round {
                0..8 => 1_000,
                8..24 => 5_000,
                _ => 61_000,
            });
        }
        self.look(Expected::AllDelivered);
    }

    fn is_over(&self) -> bool {
        let mut ended = self.orders().map(|order| order.progress.state().is_final());
        let stored = self.phones.iter().zip(&self.clients[0].phones);
        let mut stored = stored.map(|(phone, known)| {
            let reports = phone.brain().state.reports;
            reports == 0 || known.has_all(reports)
        });
        ended.all(|ended| ended)
            && stored.all(|stored| stored)
            && self.phones.iter().all(|phone| !phone.is_sounding())
    }

    /// Tells the oracle how things stand.
    pub(super) fn look(&mut self, expected: Expected) {
        for phone in &self.phones {
            let device = phone.address.device;
            let open = self.orders();
            let open = open.filter(|order| !order.progress.state().is_final());
            let asked: BTreeSet<CommandId> = open.map(|order| order.intent.id).collect();
            let mut facts = self.facts.borrow_mut();
            facts.push(Fact::Journal(device, phone.journal()));
            facts.push(Fact::AtRest(device, phone.rest(asked, expected)));
        }
        for known in self.clients.iter().flat_map(|client| &client.phones) {
            if known.broken {
                self.fault = Some(format!(
                    "{} signed two histories",
                    known.phone.address.device
                ));
            }
        }
    }
}
