//! Every flow with marked secrets, and then a search for them: in what was said, in arguments and environments, on every disk, and at the broker. Positions are searched for as well. It knows where secrets may lie, and accepts them nowhere else.

use e2e::{Answer, Household, Intruder, Owner, PASSPHRASE, PATIENCE, PHONE, Receiver, wait_until};
use homing_protocol::cbor::{self, Fields};
use homing_protocol::enrolment::Bundle;
use homing_protocol::keyring::{Keyring, KitSecret, RecoveryCode};
use homing_protocol::keys::SigningKey;
use serde_json::json;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Where the phone lies: no clock shows 67 seconds, nor 120.
const PLACE: (f64, f64) = (67.855_799_5, 120.225_285_1);
const POSITION: &str = "the position";
/// The same in 10⁻⁷ degrees.
const PLACE_E7: [i32; 2] = [678_557_995, 1_202_252_851];

/// Looks at the arguments and environments of our programs while they run.
struct Watchman {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<BTreeSet<Vec<u8>>>,
}

impl Watchman {
    fn start(household: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (ends, of) = (Arc::clone(&stop), household.display().to_string());
        let thread = std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !ends.load(Ordering::Relaxed) {
                for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
                    let read = |name| std::fs::read(process.path().join(name)).unwrap_or_default();
                    let line = read("cmdline");
                    // Each of ours is told a folder of this household.
                    if String::from_utf8_lossy(&line).contains(&of) {
                        seen.insert([line, read("environ")].concat());
                    }
                }
                std::thread::park_timeout(Duration::from_millis(20));
            }
            seen
        });
        Self { stop, thread }
    }

    fn end(self) -> BTreeSet<Vec<u8>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        self.thread.join().unwrap()
    }
}

/// One secret, its forms, and the files that may hold it, by the end of their path.
struct Secret {
    name: &'static str,
    forms: Vec<Vec<u8>>,
    stores: &'static [&'static str],
}

impl Secret {
    /// A text that is searched for as it is.
    fn text(name: &'static str, text: &str, stores: &'static [&'static str]) -> Self {
        assert!(text.len() >= 16, "{name} is too short to be searched for");
        Self {
            name,
            forms: vec![text.as_bytes().to_vec()],
            stores,
        }
    }

    /// Bytes, searched for as they are, in hexadecimal and in base64.
    fn bytes(name: &'static str, bytes: &[u8], stores: &'static [&'static str]) -> Self {
        let hex = |upper: bool| -> String {
            let digit = |byte: &u8| match upper {
                true => format!("{byte:02X}"),
                false => format!("{byte:02x}"),
            };
            bytes.iter().map(digit).collect()
        };
        let texts = [hex(false), hex(true), base64(bytes)];
        let forms = texts.into_iter().map(String::into_bytes);
        Self {
            name,
            forms: forms.chain([bytes.to_vec()]).collect(),
            stores,
        }
    }

    /// A private key in PEM: the first line of its body names it.
    fn pem(name: &'static str, pem: &str, stores: &'static [&'static str]) -> Self {
        let begin = pem.find("PRIVATE KEY-----\n").unwrap();
        let body = pem[begin..].lines().nth(1).unwrap();
        Self::text(name, body, stores)
    }
}

/// All forms of all secrets by their first byte, so that one pass over a file looks for everything.
struct Search<'a> {
    secrets: &'a [Secret],
    by_first: Vec<Vec<(&'a Secret, &'a [u8])>>,
}

impl<'a> Search<'a> {
    fn new(secrets: &'a [Secret]) -> Self {
        let mut by_first = vec![Vec::new(); 256];
        for secret in secrets {
            for form in &secret.forms {
                by_first[usize::from(form[0])].push((secret, form.as_slice()));
            }
        }
        Self { secrets, by_first }
    }

    /// The names of those that are in there.
    fn hits(&self, content: &[u8]) -> BTreeSet<&'static str> {
        let places = content.iter().enumerate();
        places
            .flat_map(|(at, first)| {
                let candidates = self.by_first[usize::from(*first)].iter();
                candidates.filter(move |(_, form)| content[at..].starts_with(form))
            })
            .map(|(secret, _)| secret.name)
            .collect()
    }
}

fn contains(content: &[u8], form: &[u8]) -> bool {
    content.windows(form.len()).any(|window| window == form)
}

/// Without the last group, which depends on what follows.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = bytes.chunks_exact(3).flat_map(|group| {
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        [18, 12, 6, 0].map(|shift| char::from(DIGITS[(bits >> shift) as usize & 63]))
    });
    groups.collect()
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path()),
            Ok(kind) if kind.is_file() => vec![entry.path()],
            _ => Vec::new(),
        })
        .collect()
}

const KITS: &[&str] = &[
    "kit.json",
    "homing-recovery-kit.json",
    "homing.db",
    "homing.db-wal",
];
const OWNERS: &[&str] = &["homing.db", "homing.db-wal"];
const ACTOR: &[&str] = &[
    "phone/state/actor/identity.cbor",
    "phone/state/actor/identity.copy.cbor",
];
const PHONES: &[&str] = &["phone/state/identity/identity.cbor", "phone.homing"];

/// What the owner knows or holds.
fn of_the_owner(household: &Household, keyring: &[u8]) -> Vec<Secret> {
    let word = |name: &str| household.founding[name].as_str().unwrap().to_owned();
    let (kit_text, code_text) = (word("kit_secret"), word("recovery_code"));
    let kit = KitSecret::from_text(&kit_text).unwrap();
    let code = RecoveryCode::from_text(&code_text).unwrap();
    let keyring = Keyring::parse(keyring).unwrap();
    let (find, full, _) = keyring.open_full(PASSPHRASE, &kit).unwrap();
    let home = household.owner.home();
    let broker = std::fs::read_to_string(home.join("broker/broker.key")).unwrap();
    let mut secrets = vec![
        Secret::text("the passphrase", PASSPHRASE, &[]),
        Secret::text("the kit secret", &kit_text, KITS),
        Secret::bytes("the kit secret's bytes", &*kit.0, KITS),
        Secret::text("the recovery code", &code_text, &[]),
        Secret::bytes("the recovery code's bytes", &*code.0, &[]),
        Secret::bytes("ROOT", &*full.root.to_bytes(), &[]),
        Secret::pem("the household's key", &full.ca_key_pem, &[]),
        Secret::bytes("the find client's key", &*find.signing.to_bytes(), &[]),
        Secret::bytes(
            "the find client's reading key",
            &*find.reading.to_bytes(),
            &[],
        ),
        Secret::pem("the broker's key", &broker, &["owner/broker/broker.key"]),
    ];
    secrets.extend(keys_of_the_client(household, &*kit.0));
    secrets
}

/// The owner client's own keys follow the kit secret in its database (SQLite keeps a row's values in order).
fn keys_of_the_client(household: &Household, kit: &[u8]) -> Vec<Secret> {
    let id = household.owner.json(&["status"])["client"].clone();
    let mut stored = Vec::new();
    for name in OWNERS {
        stored.extend(std::fs::read(household.owner.home().join(name)).unwrap_or_default());
    }
    let places = (0..stored.len().saturating_sub(80)).filter(|at| stored[*at..].starts_with(kit));
    let keys = places
        .map(|at| stored[at + 16..at + 80].to_vec())
        .find(|keys| {
            let signing = SigningKey::from_bytes(keys[..32].try_into().unwrap());
            json!(signing.public().client_id().to_string()) == id
        })
        .expect("the client's keys lie behind the kit secret");
    let text = String::from_utf8_lossy(&stored);
    let pem = text.find("-----BEGIN PRIVATE KEY-----\n").unwrap();
    vec![
        Secret::bytes("the client's key", &keys[..32], OWNERS),
        Secret::bytes("the client's reading key", &keys[32..], OWNERS),
        Secret::pem("the client's TLS key", &text[pem..], OWNERS),
    ]
}

/// What the phone holds, and what brought it there.
fn of_the_phone(household: &Household) -> Vec<Secret> {
    let bundle = Bundle::decode(&std::fs::read(household.bundle()).unwrap()).unwrap();
    let state = household.handset.state();
    let identity = cbor::decode(&std::fs::read(state.join("identity/identity.cbor")).unwrap());
    let identity = identity.unwrap();
    let mut fields = Fields::of(&identity).unwrap();
    let (agent, kem) = (
        fields.bytes::<32>(2).unwrap(),
        fields.bytes::<32>(3).unwrap(),
    );
    let actor = actor_key(&std::fs::read(state.join("actor/identity.cbor")).unwrap());
    vec![
        // Spent, it is nowhere on the phone; the owner keeps it to notice a second claim.
        Secret::bytes(
            "the one-time secret",
            &*bundle.secret.0,
            &["phone.homing", "homing.db", "homing.db-wal"],
        ),
        Secret::pem("the phone's TLS key", &bundle.tls_key_pem, PHONES),
        Secret::bytes("DEV_SIG", &agent, PHONES),
        Secret::bytes("DEV_KEM", &kem, PHONES),
        Secret::bytes("ACT_SIG", &actor, ACTOR),
    ]
}

/// The position as text, as the protocol's bytes and as floating point. The phone remembers it in its journal.
fn position() -> Secret {
    let digits = ["67.85579", "120.22528", "678557995", "1202252851"];
    let texts = digits.map(|text| text.as_bytes().to_vec());
    let encoded = PLACE_E7.map(|e7| [&[0x1a][..], &e7.to_be_bytes()].concat());
    let floats = [PLACE.0.to_le_bytes(), PLACE.1.to_le_bytes()].map(|float| float.to_vec());
    Secret {
        name: POSITION,
        forms: texts.into_iter().chain(encoded).chain(floats).collect(),
        stores: &["phone/state/agent.db", "phone/state/agent.db-wal"],
    }
}

/// Everything an owner and a phone's user do, one after the other; what was said to whom.
fn every_flow(household: &mut Household) -> Vec<Answer> {
    household.sim.ask(
        json!({"set": "position", "lat": PLACE.0, "lon": PLACE.1, "noise_m": 0, "first_fix_ms": 0}),
    );
    household.handset.configure("log", "log = \"trace\"\n");
    household.enrol();
    household.start_watch();
    let kit = household
        .scratch
        .path()
        .join("kit.json")
        .display()
        .to_string();
    let other = household
        .scratch
        .path()
        .join("other.homing")
        .display()
        .to_string();
    let owner = &household.owner;
    let mut said: Vec<Answer> = [
        &["locate", PHONE][..],
        &["locate", PHONE, "--last", "--json"],
        &["ring", PHONE, "--for", "1m"],
        &["ring", PHONE, "--stop"],
        &["log", PHONE],
        &["devices", "--json"],
        &["device", "show", PHONE],
        &["status"],
        &["device", "add", "other", "--out", &other],
        &["device", "rename", "other", "another"],
        &["device", "revoke", "another"],
        &["kit", "--out", &kit],
        &["watch"],
    ]
    .iter()
    .map(|arguments| owner.homing(arguments))
    .collect();
    let shown = said[1].json();
    assert_eq!(
        (shown["latitude"].as_f64(), shown["longitude"].as_f64()),
        (Some(PLACE.0), Some(PLACE.1)),
        "{shown}"
    );
    let code = household.founding["recovery_code"].as_str().unwrap();
    for (name, way_in, flags) in [
        ("laptop", "a wrong passphrase", &["kit", "--show"][..]),
        ("second", PASSPHRASE, &["recover", "--kit", &kit]),
        ("third", code, &["recover", "--kit", &kit, "--code-fd", "0"]),
        (
            "third",
            PASSPHRASE,
            &["locate", PHONE, "--wait", "20s", "--json"],
        ),
    ] {
        let machine = Owner::new(&household.scratch.folder(name), way_in);
        said.push(machine.homing(flags));
    }
    for arguments in [
        &["status"][..],
        &["ledger", "--json"],
        &["doctor"],
        &["check-config"],
        &["enrol", &kit, "--yes"],
    ] {
        said.push(household.handset.homingd(arguments));
    }
    said
}

#[test]
fn marked_secrets_and_positions_are_found_in_their_stores_and_nowhere_else() {
    let mut household = Household::without_phone(Receiver::Simulated);
    let watchman = Watchman::start(household.scratch.path());
    let port = household.broker.turn_hostile();
    let tap = Intruder::plain(&household.scratch.folder("tap"), port).listen(&["#"]);
    let said = every_flow(&mut household);

    let keyring = wait_until(PATIENCE, "the keyring at the broker", || {
        let all = tap.messages();
        let found = all
            .iter()
            .rfind(|message| message.topic.ends_with("/keyring"));
        found.map(|message| message.payload.clone())
    });
    let mut secrets = of_the_owner(&household, &keyring);
    secrets.extend(of_the_phone(&household));
    secrets.push(position());
    let search = Search::new(&secrets);
    household.handset.stop();
    household.broker.stop();
    let processes = watchman.end();

    for word in ["locate", "recover", "agent", "siren", "watch", "revoke"] {
        let seen = |line: &Vec<u8>| contains(line, word.as_bytes());
        assert!(processes.iter().any(seen), "{word} was not looked at");
    }
    let wire = tap.messages();
    assert!(wire.len() > 20, "there was something to be heard");
    drop(tap);
    for process in &processes {
        let line = String::from_utf8_lossy(process);
        assert!(search.hits(process).is_empty(), "{line}");
    }
    for message in &wire {
        let whole = [message.topic.as_bytes(), &message.payload].concat();
        let hits = search.hits(&whole);
        assert!(hits.is_empty(), "{hits:?} on {}", message.topic);
    }
    for answer in &said {
        let mut hits = search.hits(format!("{}{}", answer.stdout, answer.stderr).as_bytes());
        // The owner asked for it.
        let _ = answer.command.contains("locate") && hits.remove(POSITION);
        assert!(hits.is_empty(), "{hits:?} in {answer}");
    }
    on_every_disk(&household, &search);
}

/// Searches all files, and holds those with secrets to their modes.
fn on_every_disk(household: &Household, search: &Search<'_>) {
    let mut found = BTreeSet::new();
    for path in files(household.scratch.path()) {
        let name = path.display().to_string();
        // What the thief himself wrote down, in hexadecimal, was searched as the wire.
        if name.contains("/tap/") {
            continue;
        }
        let hits = search.hits(&std::fs::read(&path).unwrap());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        for secret in search.secrets.iter().filter(|it| hits.contains(it.name)) {
            let allowed = secret.stores.iter().any(|store| name.ends_with(store));
            assert!(allowed, "{} lies in {name}", secret.name);
            assert_eq!(mode & 0o077, 0, "{name} has mode {mode:o}");
        }
        found.extend(hits);
    }
    for secret in search.secrets.iter().filter(|it| !it.stores.is_empty()) {
        assert!(
            found.contains(secret.name),
            "{} was in none of its stores: the search is blind",
            secret.name
        );
    }
    let folders = [
        "laptop/owner",
        "second/owner",
        "phone/state/identity",
        "phone/state/actor",
    ];
    for folder in folders.map(|name| household.scratch.path().join(name)) {
        let mode = std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700, "{}", folder.display());
    }
    let journal = household.handset.state().join("agent.db");
    let mode = std::fs::metadata(journal).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
}

/// ACT_SIG in the file of the privileged half.
fn actor_key(identity: &[u8]) -> [u8; 32] {
    let value = homing_protocol::cbor::decode(identity).unwrap();
    let mut fields = homing_protocol::cbor::Fields::of(&value).unwrap();
    fields.bytes(1).unwrap()
}
