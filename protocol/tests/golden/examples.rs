//! The examples: each message made once with fixed keys and fixed random bytes, with every step of its making. Checks nothing itself.

use crate::json::{Json, hex, object};
use crate::sample::{Draws, EPOCH, address, kem, secret, short, signing};
use ciborium::Value;
use homing_protocol::authority::{
    self, AuthorityList, Capabilities, Capability, ClientKind, Entry,
};
use homing_protocol::cbor;
use homing_protocol::certificate::{DeviceCertificate, DeviceKeys};
use homing_protocol::command::{BeaconReference, Command, Op};
use homing_protocol::enrolment::{Answer, Claim};
use homing_protocol::envelope::{self, Address, MessageType};
use homing_protocol::id::{BeaconNonce, CommandId, SessionId};
use homing_protocol::keys::{KemPublic, Psk};
use homing_protocol::lost::CodeVerifier;
use homing_protocol::readers::{KeySet, Reader, Reads, open_as_reader};
use homing_protocol::report::ReportAck;
use homing_protocol::signed::Unverified;

/// One example.
pub(crate) struct Example {
    /// The file's name without its ending.
    pub(crate) name: &'static str,
    /// Who signs, who opens, what it says.
    pub(crate) inputs: Json,
    /// The bytes of each step, the last one is what travels.
    pub(crate) steps: Vec<(&'static str, Vec<u8>)>,
    /// The random bytes in the order in which they were drawn.
    pub(crate) random: Vec<Vec<u8>>,
}

impl Example {
    /// The file's text.
    pub(crate) fn file(self) -> String {
        let steps = self
            .steps
            .into_iter()
            .map(|(name, bytes)| (name, Json::Text(hex(&bytes))))
            .collect();
        let random: Json = self.random.iter().map(Vec::as_slice).collect();
        object! { "name": self.name, "inputs": self.inputs, "random": random, "steps": Json::Object(steps) }.file()
    }
}

/// What an Ed25519 signature is made over (RFC 9052 §4.4).
pub(crate) fn to_be_signed(context: &[u8], payload: &[u8]) -> Vec<u8> {
    cbor::encode(&Value::Array(vec![
        Value::Text("Signature1".into()),
        Value::Bytes(vec![0xa1, 0x01, 0x32]),
        Value::Bytes(context.to_vec()),
        Value::Bytes(payload.to_vec()),
    ]))
}

/// The steps of a signed message.
pub(crate) fn signed_steps(context: &[u8], message: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let payload = Unverified::parse(message)
        .expect("made here")
        .payload()
        .to_vec();
    vec![
        ("context", context.to_vec()),
        ("payload", payload.clone()),
        ("to_be_signed", to_be_signed(context, &payload)),
        ("signed", message.to_vec()),
    ]
}

/// The steps of what is signed and sealed to `recipient`.
fn sealed_steps(
    kind: MessageType,
    recipient: &str,
    psk: Option<&Psk>,
    envelope: Vec<u8>,
) -> Vec<(&'static str, Vec<u8>)> {
    let (_, message) =
        envelope::open(&envelope, &address(), &kem(recipient), psk).expect("made here");
    let context = match kind {
        MessageType::Authority => Address::account_context(address().account, kind),
        _ => address().context(kind),
    };
    let mut steps = signed_steps(&context, &message);
    steps.push(("envelope", envelope));
    steps
}

/// The steps of what the phone signs, with `field` of its payload sealed to the readers.
pub(crate) fn carried_steps(
    kind: MessageType,
    signer: &str,
    field: i64,
    envelope: Vec<u8>,
) -> Vec<(&'static str, Vec<u8>)> {
    let context = address().context(kind);
    let message = envelope::carried(&envelope, kind, signing(signer).public().key_id())
        .expect("made here")
        .to_vec();
    let mut steps = signed_steps(&context, &message);
    let value = cbor::decode(&steps[1].1).expect("made here");
    let sealed = cbor::Fields::of(&value)
        .and_then(|mut fields| fields.blob(field).map(<[u8]>::to_vec))
        .expect("made here");
    let plain = open_as_reader(&sealed, &context, &kem("owner")).expect("sealed to the owner");
    steps.splice(
        0..0,
        [
            ("plain_for_readers", plain.to_vec()),
            ("sealed_to_readers", sealed),
        ],
    );
    steps.push(("envelope", envelope));
    steps
}

/// The sample phone's public keys.
pub(crate) fn device_keys() -> DeviceKeys {
    DeviceKeys {
        agent: signing("agent").public(),
        kem: kem("device").public(),
        actor: signing("actor").public(),
    }
}

/// The sample list: the owner, the passphrase's find client, a partner who may locate and ring.
pub(crate) fn authority() -> AuthorityList {
    let entry = |name, kind, capabilities| Entry {
        key: signing(name).public(),
        kind,
        capabilities,
    };
    AuthorityList {
        account: address().account,
        version: 7,
        entries: vec![
            entry("owner", ClientKind::CommandLine, Capabilities::full()),
            entry("find", ClientKind::Find, Capabilities::find()),
            entry(
                "partner",
                ClientKind::Browser,
                Capabilities::of(&[Capability::Locate, Capability::Ring]),
            ),
        ],
    }
}

/// The sample readers: the owner reads positions, the partner only the status.
pub(crate) fn key_set() -> KeySet {
    let reader = |name, reads| Reader {
        client: signing(name).public().client_id(),
        key: kem(name).public(),
        reads,
    };
    KeySet {
        address: address(),
        version: 4,
        readers: vec![
            reader("owner", Reads::Positions),
            reader("partner", Reads::Status),
        ],
    }
}

/// The keys of those who may read this much.
pub(crate) fn readers(reads: Reads) -> Vec<KemPublic> {
    key_set().keys(reads)
}

/// The fields that every message of the sample phone has.
fn named(rest: Vec<(&'static str, Json)>) -> Json {
    let head = [
        ("account", Json::from(address().account.0)),
        ("device", Json::from(address().device.0)),
        ("epoch", Json::from(EPOCH)),
    ];
    Json::Object(head.into_iter().chain(rest).collect())
}

/// Fields in front of others.
pub(crate) fn with(front: Vec<(&'static str, Json)>, rest: Vec<(&'static str, Json)>) -> Json {
    named(front.into_iter().chain(rest).collect())
}

/// The device certificate, as `authority`, `key-set` and `answer` made by ROOT.
pub(crate) fn root_signed() -> Vec<Example> {
    let root = signing("root");
    let certificate = DeviceCertificate {
        address: address(),
        epoch: EPOCH,
        keys: device_keys(),
    }
    .sign(&root);
    let list = authority().sign(&root).expect("short enough");
    let set = key_set().sign(&root).expect("short enough");
    let seal = |name: &'static str, kind, signed: &[u8], inputs| {
        let mut draws = Draws::new(name);
        let envelope = authority::seal_to_device(
            kind,
            signed,
            &address(),
            &kem("device").public(),
            &mut draws,
        )
        .expect("fits");
        Example {
            name,
            inputs,
            steps: sealed_steps(kind, "device", None, envelope),
            random: draws.taken,
        }
    };
    let (entries, readers) = (listed_entries(), listed_readers());
    vec![
        Example {
            name: "device-certificate",
            inputs: with(
                vec![("signer", "root".into())],
                vec![
                    ("agent", device_keys().agent.0.into()),
                    ("kem", device_keys().kem.0.into()),
                    ("actor", device_keys().actor.0.into()),
                    ("fingerprint", device_keys().fingerprint().into()),
                ],
            ),
            steps: signed_steps(
                &address().context(MessageType::DeviceCertificate),
                &certificate,
            ),
            random: Vec::new(),
        },
        seal(
            "authority",
            MessageType::Authority,
            &list,
            object! { "signer": "root", "recipient": "device", "account": address().account.0, "version": authority().version, "entries": entries },
        ),
        seal(
            "key-set",
            MessageType::KeySet,
            &set,
            object! { "signer": "root", "recipient": "device", "account": address().account.0, "device": address().device.0, "version": key_set().version, "readers": readers },
        ),
    ]
}

fn listed_entries() -> Json {
    authority().entries.iter().map(|entry| {
        object! { "key": entry.key.0, "kind": entry.kind as u8, "capabilities": entry.capabilities.bits(), "words": entry.capabilities.words().join(" ") }
    }).collect()
}

fn listed_readers() -> Json {
    key_set()
        .readers
        .iter()
        .map(|reader| {
            object! { "client": reader.client.0, "key": reader.key.0, "reads": reader.reads as u8 }
        })
        .collect()
}

/// The sample command with this operation.
pub(crate) fn command(name: &'static str, op: Op) -> Command {
    Command {
        address: address(),
        epoch: EPOCH,
        client: signing("owner").public().client_id(),
        session: SessionId(short("session")),
        seq: 41,
        id: CommandId(short(name)),
        op,
        issued_at: 1_790_000_000,
        not_after: Some(1_790_086_400),
        beacon: Some(BeaconReference {
            counter: 12,
            nonce: BeaconNonce(short("nonce")),
        }),
        authority_version: 7,
        binding: None,
        presence: None,
    }
}

fn command_example(name: &'static str, command: &Command, params: Json) -> Example {
    let mut draws = Draws::new(name);
    let envelope = command
        .seal(&signing("owner"), &kem("device").public(), &mut draws)
        .expect("fits");
    let beacon = command.beacon.map_or(
        Json::Null,
        |beacon| object! { "counter": beacon.counter, "nonce": beacon.nonce.0 },
    );
    let inputs = with(
        vec![("signer", "owner".into()), ("recipient", "device".into())],
        vec![
            ("client", command.client.0.into()),
            ("session", command.session.0.into()),
            ("seq", command.seq.into()),
            ("id", command.id.0.into()),
            ("op", command.op.word().into()),
            ("params", params),
            ("issued_at", command.issued_at.into()),
            ("not_after", command.not_after.into()),
            ("beacon", beacon),
            ("authority_version", command.authority_version.into()),
            ("binding", command.binding.into()),
            ("presence", command.presence.into()),
        ],
    );
    Example {
        name,
        inputs,
        steps: sealed_steps(MessageType::Command, "device", None, envelope),
        random: draws.taken,
    }
}

/// A command of each operation; `status` without the optional fields, and one with the fields that only later versions use.
pub(crate) fn commands() -> Vec<Example> {
    let rings = vec![
        CommandId(short("command-ring")),
        CommandId(short("an earlier ring")),
    ];
    let named: Json = rings.iter().map(|id| Json::from(id.0)).collect();
    let episodes: Json = [Json::from(short::<16>("command-lost"))]
        .into_iter()
        .collect();
    let bare = Command {
        not_after: None,
        beacon: None,
        ..command("command-status", Op::Status)
    };
    let bound = Command {
        binding: Some(short("binding")),
        presence: Some(5),
        ..command("command-bound", Op::Unknown { code: 900 })
    };
    vec![
        command_example(
            "command-locate",
            &command("command-locate", Op::Locate { search_s: 60 }),
            object! { "search_s": 60 },
        ),
        command_example(
            "command-ring",
            &command("command-ring", Op::Ring { for_s: 300 }),
            object! { "for_s": 300 },
        ),
        command_example(
            "command-ring-stop",
            &command("command-ring-stop", Op::RingStop { rings }),
            object! { "rings": named },
        ),
        command_example("command-status", &bare, object! {}),
        command_example(
            "command-resend-reports",
            &command(
                "command-resend-reports",
                Op::ResendReports {
                    first: 99,
                    last: 130,
                },
            ),
            object! { "first": 99u64, "last": 130u64 },
        ),
        command_example(
            "command-resume",
            &command(
                "command-resume",
                Op::Resume {
                    beacon: 120,
                    receipts: 9,
                    head: short("receipt chain"),
                    reports: 230,
                },
            ),
            object! { "beacon": 120u64, "receipts": 9u64, "head": short::<32>("receipt chain"), "reports": 230u64 },
        ),
        command_example(
            "command-lost",
            &command(
                "command-lost",
                Op::Lost {
                    message: "Please call. Bitte anrufen.".into(),
                    contact: Some("+49 30 1234567".into()),
                    code: Some(CodeVerifier::from_bytes(short("code verifier"))),
                },
            ),
            object! { "message": "Please call. Bitte anrufen.", "contact": "+49 30 1234567", "code": short::<32>("code verifier") },
        ),
        command_example(
            "command-lost-off",
            &command(
                "command-lost-off",
                Op::LostOff {
                    episodes: vec![CommandId(short("command-lost"))],
                },
            ),
            object! { "episodes": episodes },
        ),
        command_example("command-bound", &bound, object! { "op_code": 900 }),
    ]
}

/// What a reader and what an enrolling phone and its owner say.
pub(crate) fn acknowledgement_and_enrolment() -> Vec<Example> {
    let mut draws = Draws::new("report-ack");
    let ack = ReportAck {
        address: address(),
        epoch: EPOCH,
        client: signing("owner").public().client_id(),
        through: 130,
    };
    let envelope = ack
        .seal(&signing("owner"), &kem("device").public(), &mut draws)
        .expect("fits");
    let ack = Example {
        name: "report-ack",
        inputs: with(
            vec![("signer", "owner".into()), ("recipient", "device".into())],
            vec![
                ("client", ack.client.0.into()),
                ("through", ack.through.into()),
            ],
        ),
        steps: sealed_steps(MessageType::ReportAck, "device", None, envelope),
        random: draws.taken,
    };
    vec![ack, claim(), answer()]
}

fn claim() -> Example {
    let mut draws = Draws::new("enrolment-claim");
    let claim = Claim {
        address: address(),
        epoch: EPOCH,
        keys: device_keys(),
        consent_at: 1_789_999_000,
        retention_days: 30,
        model: "PinePhone".into(),
    };
    let envelope = claim
        .seal(
            &signing("agent"),
            &kem("owner").public(),
            &secret(),
            &mut draws,
        )
        .expect("fits");
    let inputs = with(
        vec![
            ("signer", "agent".into()),
            ("recipient", "owner".into()),
            ("psk", secret().0.into()),
        ],
        vec![
            ("agent", claim.keys.agent.0.into()),
            ("kem", claim.keys.kem.0.into()),
            ("actor", claim.keys.actor.0.into()),
            ("consent_at", claim.consent_at.into()),
            ("retention_days", claim.retention_days.into()),
            ("model", claim.model.into()),
        ],
    );
    Example {
        name: "enrolment-claim",
        inputs,
        steps: sealed_steps(MessageType::Enrolment, "owner", Some(&secret()), envelope),
        random: draws.taken,
    }
}

fn answer() -> Example {
    let mut draws = Draws::new("enrolment-answer");
    let root = signing("root");
    let answer = Answer {
        certificate: DeviceCertificate {
            address: address(),
            epoch: EPOCH,
            keys: device_keys(),
        }
        .sign(&root),
        key_set: key_set().sign(&root).expect("short enough"),
    };
    let envelope = answer
        .seal(&address(), &kem("device").public(), &secret(), &mut draws)
        .expect("fits");
    let (_, payload) =
        envelope::open(&envelope, &address(), &kem("device"), Some(&secret())).expect("made here");
    Example {
        name: "enrolment-answer",
        inputs: with(
            vec![("recipient", "device".into()), ("psk", secret().0.into())],
            vec![
                ("certificate", answer.certificate.as_slice().into()),
                ("key_set", answer.key_set.as_slice().into()),
            ],
        ),
        steps: vec![
            ("context", address().context(MessageType::Enrolment)),
            ("payload", payload.to_vec()),
            ("envelope", envelope),
        ],
        random: draws.taken,
    }
}
