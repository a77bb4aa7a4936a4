//! An owner's house with two clients and a delegate that may only locate, and a phone whose journal is a list; it must not judge anything itself.

use homing_policy::{
    Batch, Effect, Event, Journal, NonceMaker, Now, Outgoing, Record, SirenPhase, State, codec,
    decide,
};
use homing_protocol::Refusal;
use homing_protocol::authority::{AuthorityList, Capabilities, Capability, ClientKind, Entry};
use homing_protocol::beacon::ClockTrust;
use homing_protocol::command::{self, BeaconReference, Command, Op, Verified};
use homing_protocol::envelope::Address;
use homing_protocol::id::{
    AccountId, BeaconNonce, BootId, ClientId, CommandId, DeviceId, SessionId,
};
use homing_protocol::keys::{KemSecret, SigningKey};
use homing_protocol::rand_core::UnwrapErr;
use homing_protocol::receipt::CommandState;

/// 2026-01-01 00:00 UTC.
pub(crate) const TODAY: u64 = 1_767_225_600;
pub(crate) const DAY: u64 = 86_400;
pub(crate) const HOUR_MS: u64 = 3_600_000;
const ADDRESS: Address = Address {
    account: AccountId([1; 16]),
    device: DeviceId([2; 16]),
};

/// An order before it is signed.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) client: u8,
    pub(crate) session: u8,
    pub(crate) seq: u64,
    pub(crate) id: u8,
    pub(crate) op: Op,
    pub(crate) issued_at: u64,
    pub(crate) not_after: Option<u64>,
    pub(crate) beacon: Option<BeaconReference>,
}

/// An order of the first client's first session, which quotes the first beacon and never expires.
pub(crate) fn order(seq: u64, id: u8, op: Op) -> Order {
    Order {
        client: 0,
        session: 1,
        seq,
        id,
        op,
        issued_at: TODAY,
        not_after: None,
        beacon: Some(quoting(1)),
    }
}

pub(crate) fn ring(seq: u64, id: u8) -> Order {
    order(seq, id, Op::Ring { for_s: 60 })
}

pub(crate) fn locate(seq: u64, id: u8) -> Order {
    order(seq, id, Op::Locate { search_s: 30 })
}

pub(crate) fn stop(seq: u64, id: u8, rings: &[u8]) -> Order {
    let rings = rings.iter().map(|ring| command_id(*ring)).collect();
    order(seq, id, Op::RingStop { rings })
}

impl Order {
    pub(crate) fn by(mut self, client: u8, session: u8) -> Self {
        self.client = client;
        self.session = session;
        self
    }
    pub(crate) fn quoting(mut self, beacon: Option<BeaconReference>) -> Self {
        self.beacon = beacon;
        self
    }
    /// Given at this time of the owner's clock, pointless a day later.
    pub(crate) fn given_at(mut self, unix_s: u64) -> Self {
        self.issued_at = unix_s;
        self.not_after = Some(unix_s + DAY);
        self
    }
}

/// The beacon with this number, as [`Phone::beacon`] makes it.
pub(crate) fn quoting(counter: u64) -> BeaconReference {
    BeaconReference {
        counter,
        nonce: nonce(counter),
    }
}

pub(crate) fn nonce(counter: u64) -> BeaconNonce {
    let mut bytes = [7; 16];
    bytes[..8].copy_from_slice(&counter.to_be_bytes());
    BeaconNonce(bytes)
}

pub(crate) const fn command_id(id: u8) -> CommandId {
    CommandId([id; 16])
}

/// The keys of the house.
pub(crate) struct House {
    clients: [SigningKey; 3],
    device: KemSecret,
    list: AuthorityList,
}

impl House {
    pub(crate) fn new() -> Self {
        let clients = [[11; 32], [12; 32], [14; 32]].map(|seed| SigningKey::from_bytes(&seed));
        let entry = |(index, key): (usize, &SigningKey)| Entry {
            key: key.public(),
            kind: ClientKind::CommandLine,
            capabilities: match index {
                2 => Capabilities::of(&[Capability::Locate, Capability::ReadLocation]),
                _ => Capabilities::full(),
            },
        };
        Self {
            list: AuthorityList {
                account: ADDRESS.account,
                version: 1,
                entries: clients.iter().enumerate().map(entry).collect(),
            },
            clients,
            device: KemSecret::from_bytes(&[13; 32]),
        }
    }

    pub(crate) fn client(&self, client: u8) -> ClientId {
        self.clients[usize::from(client)].public().client_id()
    }

    pub(crate) fn command(&self, order: &Order) -> Command {
        Command {
            address: ADDRESS,
            epoch: 1,
            client: self.client(order.client),
            session: SessionId([order.session; 8]),
            seq: order.seq,
            id: command_id(order.id),
            op: order.op.clone(),
            issued_at: order.issued_at,
            not_after: order.not_after,
            beacon: order.beacon,
            authority_version: 1,
            binding: None,
            presence: None,
        }
    }

    /// Signed, sealed, opened and verified: there is no other way to a verified command.
    pub(crate) fn sign(&self, order: &Order) -> Verified {
        let key = &self.clients[usize::from(order.client)];
        let sealed = self
            .command(order)
            .seal(
                key,
                &self.device.public(),
                &mut UnwrapErr(getrandom::SysRng),
            )
            .unwrap();
        command::open(&sealed, &ADDRESS, 1, &self.device, &self.list).unwrap()
    }
}

/// A journal in memory that can be out of order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) records: Vec<Record>,
    pub(crate) sent: Vec<Outgoing>,
    pub(crate) is_broken: bool,
}

impl Journal for Memory {
    type Error = &'static str;
    fn commit(&mut self, batch: Batch<'_>) -> Result<(), Self::Error> {
        if self.is_broken {
            return Err("the disk is gone");
        }
        for record in batch.records {
            assert_eq!(codec::decode(&codec::encode(record)).as_ref(), Ok(record));
        }
        self.records.extend_from_slice(batch.records);
        self.sent.extend_from_slice(batch.outgoing);
        Ok(())
    }
}

/// The judge with a journal and a clock.
#[derive(Clone, Debug)]
pub(crate) struct Phone {
    pub(crate) state: State,
    pub(crate) journal: Memory,
    pub(crate) now: Now,
    pub(crate) refusals: Vec<Refusal>,
    first: State,
}

impl Phone {
    /// A phone that has been up for an hour and has made its first beacon; its clock is not kept.
    pub(crate) fn new() -> Self {
        let first = State::new((1, b"list 1".to_vec()), (1, b"readers 1".to_vec()));
        let mut phone = Self {
            state: first.clone(),
            first,
            journal: Memory::default(),
            now: Now {
                boot: BootId([1; 16]),
                boottime_ms: HOUR_MS,
                wall_unix_s: TODAY,
                clock: ClockTrust::Unset,
            },
            refusals: Vec::new(),
        };
        phone.beacon();
        phone
    }

    /// Judges, commits and gives the effects; none when the journal fails.
    pub(crate) fn hear(&mut self, event: &Event<'_>) -> Vec<Effect> {
        let decision = decide(&self.state, &self.now, event);
        self.refusals.extend(decision.refusal());
        decision
            .commit(&mut self.state, &mut self.journal)
            .unwrap_or_default()
    }

    pub(crate) fn receive(&mut self, verified: &Verified) -> Vec<Effect> {
        self.hear(&Event::Command(verified))
    }

    pub(crate) fn beacon(&mut self) {
        let nonce = nonce(self.state.beacons() + 1);
        let _ = self.hear(&Event::BeaconDue {
            nonce,
            maker: NonceMaker::Actor,
        });
    }

    pub(crate) fn siren(&mut self, ring: u8, phase: SirenPhase<'_>) -> Vec<Effect> {
        let command = command_id(ring);
        self.hear(&Event::Siren { command, phase })
    }

    pub(crate) fn later(&mut self, ms: u64) {
        self.now.boottime_ms += ms;
        self.now.wall_unix_s = self.now.wall_unix_s.saturating_add(ms / 1000);
    }

    /// Trusts a wall clock that shows this.
    pub(crate) fn trust(&mut self, wall_unix_s: u64) {
        self.now.wall_unix_s = wall_unix_s;
        self.now.clock = ClockTrust::Synchronised;
    }

    /// The daemon ends and starts again: the journal is all that is left.
    pub(crate) fn restart(&mut self) -> Vec<Effect> {
        let mut state = self.first.clone();
        for record in &self.journal.records {
            state.apply(record);
        }
        assert_eq!(state, self.state, "the journal tells the state");
        self.hear(&Event::Started)
    }

    pub(crate) fn reboot(&mut self) -> Vec<Effect> {
        self.now.boot = BootId([self.now.boot.0[0] + 1; 16]);
        self.now.boottime_ms = 20_000;
        self.restart()
    }

    /// Every state that the owner was told for a command, in order.
    pub(crate) fn said(&self, id: u8) -> Vec<CommandState> {
        let told = self.journal.sent.iter();
        told.filter_map(|message| match message {
            Outgoing::Receipt { command, state, .. } if *command == command_id(id) => Some(*state),
            Outgoing::Receipt { .. } | Outgoing::Repeat { .. } | Outgoing::Report { .. } => None,
        })
        .collect()
    }

    /// The sentence of a command's newest receipt.
    pub(crate) fn told(&self, id: u8) -> Option<&str> {
        let newest = self
            .journal
            .sent
            .iter()
            .rev()
            .find_map(|message| match message {
                Outgoing::Receipt { command, text, .. } if *command == command_id(id) => Some(text),
                Outgoing::Receipt { .. } | Outgoing::Repeat { .. } | Outgoing::Report { .. } => {
                    None
                }
            });
        newest?.as_deref()
    }

    /// How often the newest receipt of a command was sent again.
    pub(crate) fn repeats(&self, id: u8) -> usize {
        let again = Outgoing::Repeat {
            command: command_id(id),
        };
        self.journal.sent.iter().filter(|m| **m == again).count()
    }

    /// The same facts in a fresh state give the same state.
    pub(crate) fn check_facts(&self) {
        let mut fresh = State::default();
        for fact in self.state.facts() {
            assert_eq!(codec::decode(&codec::encode(&fact)).as_ref(), Ok(&fact));
            fresh.apply(&fact);
        }
        assert_eq!(fresh, self.state, "the facts tell the state");
    }
}

/// Whether the siren is told to sound for this ring.
pub(crate) fn sounds(effects: &[Effect], id: u8) -> bool {
    effects
        .iter()
        .any(|effect| matches!(effect, Effect::Sound { ring, .. } if *ring == command_id(id)))
}

/// Whether the siren is told to sound for any ring.
pub(crate) fn is_loud(effects: &[Effect]) -> bool {
    effects
        .iter()
        .any(|effect| matches!(effect, Effect::Sound { .. }))
}

pub(crate) fn silences(effects: &[Effect]) -> bool {
    effects.contains(&Effect::Silence)
}

/// Whether a search begins for this order.
pub(crate) fn searches(effects: &[Effect], id: u8) -> bool {
    effects.iter().any(
        |effect| matches!(effect, Effect::Search { command, .. } if *command == command_id(id)),
    )
}
