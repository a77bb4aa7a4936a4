//! A household and a phone for tests, played with the protocol's own words. Never part of the program.
use crate::clock::UnixMs;
use crate::exchange::rng;
use crate::household::Authority;
use crate::store::{Newcomer, Store};
use homing_link::loopback::{Hub, Loopback};
use homing_link::{LinkEvent, Publication, Retention, Transport};
use homing_owner::account::{ClientKeys, Household, Kit, Unlocked};
use homing_owner::enrol::{Invitation, Verdict};
use homing_owner::sign::Intent;
use homing_protocol::authority::AuthorityList;
use homing_protocol::beacon::{Beacon, ClockTrust, Status, Window};
use homing_protocol::certificate::DeviceKeys;
use homing_protocol::command::{self, Command, Op};
use homing_protocol::enrolment::Claim;
use homing_protocol::envelope::{Address, Header, MessageType};
use homing_protocol::id::{BeaconNonce, BootId, CommandId, DeviceId, SessionId};
use homing_protocol::keyring::{KitSecret, PassphraseCost, RecoveryCode};
use homing_protocol::keys::{KemPublic, KemSecret, Psk, SigningKey};
use homing_protocol::measure::{Battery, Charging, Metered, NetworkKind, Position, PositionSource};
use homing_protocol::receipt::{CommandState, Detail, Receipt};
use homing_protocol::report::{Report, ReportAck};
use homing_protocol::topic::{Channel, Topic};
use std::time::Duration;
use tempfile::TempDir;

/// The passphrase of every pretended account.
pub(crate) const PASSPHRASE: &str = "correct horse battery";

/// An owner's machine with an account and one invited phone.
pub(crate) struct Pretended {
    /// Its state lives here.
    pub(crate) home: TempDir,
    /// The account, unlocked.
    pub(crate) account: Unlocked,
    /// This client.
    pub(crate) client: ClientKeys,
    /// What the owner keeps of the bundle.
    pub(crate) invitation: Invitation,
    /// The phone.
    pub(crate) phone: PretendedPhone,
}

/// A phone's keys and counters.
pub(crate) struct PretendedPhone {
    agent: SigningKey,
    /// ACT_SIG: what an agent that was taken over does not have.
    pub(crate) actor: SigningKey,
    kem: KemSecret,
    /// Its public keys.
    pub(crate) keys: DeviceKeys,
    address: Address,
    readers: Vec<KemPublic>,
    receipts: u64,
    head: [u8; 32],
}

/// Makes an account with a phone that was invited and, unless told otherwise by `enrol`, has not joined.
pub(crate) fn household() -> Pretended {
    let home = tempfile::tempdir().expect("folder");
    let client = ClientKeys::generate(&mut rng());
    let kit = Kit {
        secret: KitSecret::generate(&mut rng()),
        code: RecoveryCode::generate(&mut rng()),
    };
    let authority = Authority::generate("localhost").expect("authority");
    let house = Household {
        broker: "mqtts://localhost",
        ca_pem: authority.certificate(),
        ca_key_pem: &authority.key(),
        crl_pem: &authority.revocation_list(1, &[]).expect("list"),
    };
    let cost = PassphraseCost::FLOOR;
    let mut account =
        Unlocked::create(&house, PASSPHRASE, &kit, cost, &client, &mut rng()).expect("account");
    let blob = account.wrap_next(&mut rng()).expect("wrapped");
    let address = Address {
        account: account.find.account,
        device: DeviceId::random(&mut rng()),
    };
    let invitation = Invitation {
        address,
        epoch: 1,
        secret: Psk::generate(&mut rng()),
        key_sets: 0,
    };
    let mut store = Store::create(home.path()).expect("state");
    let newcomer = Newcomer {
        kit: Some(&kit.secret),
        client: &client,
        tls_certificate: "CERTIFICATE",
        tls_key: "KEY",
        session: SessionId::random(&mut rng()),
        crl_number: 1,
    };
    store
        .begin_account(&(&account).into(), &blob, &newcomer)
        .expect("stored");
    store.keyring_published(&blob).expect("marked");
    store
        .invite(&invitation, "pocket", &[1; 16])
        .expect("invited");
    let phone = PretendedPhone::new(address, vec![client.reading.public()]);
    Pretended {
        home,
        account,
        client,
        invitation,
        phone,
    }
}

impl Pretended {
    /// Opens the state, as one more process.
    pub(crate) fn store(&self) -> Store {
        Store::open(self.home.path()).expect("state")
    }

    /// The phone's id.
    pub(crate) fn device(&self) -> DeviceId {
        self.invitation.address.device
    }

    /// The phone joins, without any broker.
    pub(crate) fn enrol(&self) {
        let bytes = self.phone.claim(&self.invitation, &self.client);
        let verdict = self
            .invitation
            .judge(&bytes, &self.client.reading, None)
            .expect("opened");
        let Verdict::First(claim) = verdict else {
            panic!("the first claim")
        };
        let mut store = self.store();
        let _ = store
            .claimed(self.device(), &claim, &bytes)
            .expect("stored");
        let reader = self.client.reader();
        let accepted = self
            .invitation
            .accept(&claim, &self.account, reader, &mut rng())
            .expect("accepted");
        store.enrolled(self.device(), &accepted).expect("stored");
    }

    /// Puts an order into the outbox, as one that was given long ago.
    pub(crate) fn order(&self, op: Op) -> CommandId {
        self.order_of(op, 1)
    }

    /// Puts an order into the outbox that was given then, seconds since 1970.
    pub(crate) fn order_of(&self, op: Op, issued_at_s: u64) -> CommandId {
        let at = i64::try_from(issued_at_s).expect("this age") * 1_000;
        let id = CommandId::random(&mut rng());
        let intent = Intent {
            id,
            op,
            issued_at_s,
            not_after_s: None,
        };
        self.store()
            .queue(self.device(), &intent, UnixMs(at))
            .expect("queued");
        id
    }

    /// The authority list in force.
    pub(crate) fn authority(&self) -> AuthorityList {
        self.account.authority().expect("list")
    }
}

impl PretendedPhone {
    pub(crate) fn new(address: Address, readers: Vec<KemPublic>) -> Self {
        let (agent, kem) = (
            SigningKey::generate(&mut rng()),
            KemSecret::generate(&mut rng()),
        );
        let actor = SigningKey::generate(&mut rng());
        let keys = DeviceKeys {
            agent: agent.public(),
            kem: kem.public(),
            actor: actor.public(),
        };
        Self {
            agent,
            actor,
            kem,
            keys,
            address,
            readers,
            receipts: 0,
            head: [0; 32],
        }
    }

    /// Joins the broker in memory.
    pub(crate) fn connect(&self, hub: &Hub) -> Loopback {
        let topics = [Channel::Command, Channel::Authority].map(|channel| self.topic(channel));
        hub.connect("phone", &[&topics[0], &topics[1]])
    }

    /// One of its topics.
    pub(crate) fn topic(&self, channel: Channel) -> String {
        Topic::Device(self.address.device, channel).to_string()
    }

    /// Wraps a payload for one of its topics.
    pub(crate) fn publication(&self, channel: Channel, payload: Vec<u8>) -> Publication {
        let retention = if channel == Channel::Beacon {
            Retention::Retained
        } else {
            Retention::Live
        };
        Publication {
            topic: self.topic(channel),
            payload,
            retention,
        }
    }

    pub(crate) fn claim(&self, invitation: &Invitation, owner: &ClientKeys) -> Vec<u8> {
        let claim = Claim {
            address: invitation.address,
            epoch: invitation.epoch,
            keys: self.keys,
            consent_at: 1,
            retention_days: 30,
            model: "pretended".into(),
        };
        claim
            .seal(
                &self.agent,
                &owner.reading.public(),
                &invitation.secret,
                &mut rng(),
            )
            .expect("sealed")
    }

    pub(crate) fn beacon(
        &self,
        counter: u64,
        windows: Vec<Window>,
        authority_version: u64,
    ) -> Vec<u8> {
        self.beacon_that_says(counter, windows, authority_version, |_| {})
    }

    /// A beacon whose status says something else as well.
    pub(crate) fn beacon_that_says(
        &self,
        counter: u64,
        windows: Vec<Window>,
        authority_version: u64,
        says: impl FnOnce(&mut Status),
    ) -> Vec<u8> {
        let beacon = Beacon {
            address: self.address,
            epoch: 1,
            counter,
            nonce: BeaconNonce([7; 16]),
            boot: BootId([8; 16]),
            windows,
            authority_version,
            key_set_version: 1,
            receipts: self.receipts,
            receipt_chain: self.head,
            next_contact_s: 900,
        };
        let mut status = Status {
            time_unix_s: 1_800_000_000,
            clock: ClockTrust::Unset,
            battery: Battery {
                percent: Some(75),
                charging: Charging::Discharging,
            },
            network: NetworkKind::Wifi,
            metered: Metered::No,
            ring: None,
            reports: 0,
            presence: 0,
            free_mib: 100,
            refused: 0,
            set_back: None,
            left_at: None,
            lists: None,
            lost: None,
        };
        says(&mut status);
        beacon
            .sign(&status, &self.agent, &self.readers, &mut rng())
            .expect("signed")
    }

    pub(crate) fn receipt(
        &mut self,
        command: &Command,
        state: CommandState,
        detail: &Detail,
    ) -> Vec<u8> {
        self.receipts += 1;
        let receipt = Receipt {
            address: self.address,
            epoch: 1,
            command: command.id,
            session: command.session,
            seq: command.seq,
            state,
            counter: self.receipts,
            previous: self.head,
        };
        let signed = receipt
            .sign(detail, &self.agent, &self.readers, &mut rng())
            .expect("signed");
        self.head = signed.head;
        signed.envelope
    }

    pub(crate) fn report(&self, first: u64, length: usize) -> Vec<u8> {
        let position = Position {
            time_unix_ms: Some(1),
            latitude_e7: 525_200_000,
            longitude_e7: 134_050_000,
            accuracy_dm: 80,
            altitude_dm: None,
            speed_cm_s: None,
            course_cdeg: None,
            source: PositionSource::Gnss,
            age_s: 0,
        };
        let report = Report {
            address: self.address,
            epoch: 1,
            first,
            positions: vec![position; length],
        };
        report
            .sign(&self.agent, &self.readers, &mut rng())
            .expect("signed")
    }

    /// Verifies a sealed order as the phone does.
    pub(crate) fn verify(&self, bytes: &[u8], list: &AuthorityList) -> Command {
        let verified = command::open(bytes, &self.address, 1, &self.kem, list).expect("verified");
        verified.command().clone()
    }

    /// Opens a report acknowledgement as the phone does.
    pub(crate) fn acknowledged(&self, bytes: &[u8], list: &AuthorityList) -> Option<u64> {
        ReportAck::open(bytes, &self.address, 1, &self.kem, list)
            .ok()
            .map(|ack| ack.through)
    }
}

/// An order of this house as the phone read it, for receipts that need one.
pub(crate) fn any_command(house: &Pretended) -> Command {
    Command {
        address: house.invitation.address,
        epoch: 1,
        client: house.client.id(),
        session: SessionId([1; 8]),
        seq: 1,
        id: CommandId([9; 16]),
        op: Op::Status,
        issued_at: 1,
        not_after: None,
        beacon: None,
        authority_version: 1,
        binding: None,
        presence: None,
    }
}

/// What an envelope says it is.
pub(crate) fn kind(bytes: &[u8]) -> Option<MessageType> {
    Header::read(bytes).ok().map(|header| header.kind)
}

/// The next message that comes in at a client of the broker in memory.
pub(crate) async fn message(link: &mut Loopback) -> Vec<u8> {
    let next = async {
        loop {
            if let LinkEvent::Message(delivery) = link.next().await {
                link.acknowledge(delivery.acknowledgement);
                return delivery.payload;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), next)
        .await
        .expect("a message within ten seconds")
}
