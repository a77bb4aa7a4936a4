//! A broker that is known by its name alone, in a network of the test's own with a resolver that the test controls: the name fails and comes back, and it moves to another address. It must not use the machine's network.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use homing_link::{Disconnect, LinkEvent, MqttLink, SessionKind, Transport};

use crate::{
    connected,
    household::ALWAYS,
    live,
    mosquitto::{Mosquitto, OWNER},
    proxy::Proxy,
    published, run, settings, wait_for,
    weather::Numbers,
};

const NAME: &str = "broker.homing.test";
/// Set where the test is in its own network.
pub(crate) const INSIDE: &str = "HOMING_TEST_OWN_NETWORK";
/// Where the broker can be reached; each is a site of its own.
const SITES: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)];
/// Changes in one schedule, and schedules in each run.
const CHANGES: u32 = 8;
const SCHEDULES: u64 = 4;
/// Design: a network event to the first word of the broker.
const RECONNECT: Duration = Duration::from_secs(2);

/// What the resolver says of the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    At(Ipv4Addr),
    /// RFC 1035 §4.1.1, RCODE 3.
    NoSuchName,
    /// RCODE 2.
    ServerFails,
    Nothing,
}

/// A DNS server for one name on 127.0.0.1:53; it lives as long as the process.
fn resolver() -> Arc<Mutex<Answer>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).expect("port 53 of this network");
    let zone = Arc::new(Mutex::new(Answer::NoSuchName));
    let shared = Arc::clone(&zone);
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            let answer = *shared.lock().expect("not poisoned");
            if let Some(reply) = reply(&query[..length], answer) {
                let _ = socket.send_to(&reply, from);
            }
        }
    });
    zone
}

/// The reply to a query with one question (RFC 1035 §4), `None` for none.
fn reply(query: &[u8], answer: Answer) -> Option<Vec<u8>> {
    let name = query.get(12..)?.iter().position(|byte| *byte == 0)?;
    let question = query.get(12..12 + name + 5)?;
    let is_ipv4 = question[name + 1..name + 3] == [0, 1];
    let (code, address) = match answer {
        Answer::At(address) => (0, is_ipv4.then_some(address)),
        Answer::NoSuchName => (3, None),
        Answer::ServerFails => (2, None),
        Answer::Nothing => return None,
    };
    let mut reply = query[..2].to_vec();
    reply.extend([
        0x85,
        0x80 | code,
        0,
        1,
        0,
        u8::from(address.is_some()),
        0,
        0,
        0,
        0,
    ]);
    reply.extend(question);
    if let Some(address) = address {
        // The name by reference, type A, class IN, to be kept for 0 s, four bytes.
        reply.extend([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        reply.extend(address.octets());
    }
    Some(reply)
}

/// Runs this test once more in a network and with a resolver of its own; `false` where the kernel gives none.
fn in_own_network(test: &str) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("resolv.conf");
    std::fs::write(
        &config,
        "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
    )
    .expect("a file");
    let script = r#"ip link set lo up && mount --bind "$0" /etc/resolv.conf && exec "$1" --exact --nocapture "$2""#;
    let output = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "--net",
            "sh",
            "-c",
            script,
        ])
        .arg(&config)
        .arg(std::env::current_exe().expect("this program"))
        .arg(test)
        .env(INSIDE, "1")
        .output();
    let mut said = String::new();
    match output {
        Ok(output) => {
            let _ = write!(
                said,
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            if output.status.success() {
                eprintln!("{said}");
                return true;
            }
            // Beyond these the test itself had begun.
            let forbidden = ["unshare:", "mount:", "ip: not found", "RTNETLINK"];
            assert!(forbidden.iter().any(|word| said.contains(word)), "{said}");
        }
        Err(error) => said = error.to_string(),
    }
    eprintln!(
        "SKIPPED: no network of its own can be had here: {}",
        said.trim()
    );
    false
}

/// A phone that knows its broker by name, and the world around it.
struct World {
    zone: Arc<Mutex<Answer>>,
    sites: [Proxy; 2],
    at: usize,
    link: MqttLink,
    topic: String,
    sent: u32,
    reconnects: Vec<Duration>,
}

impl World {
    fn say(&self, answer: Answer) {
        *self.zone.lock().expect("not poisoned") = answer;
    }

    /// The broker moves to the other site; the old one swallows what still comes.
    fn move_away(&mut self) {
        self.sites[self.at].stall();
        self.at = 1 - self.at;
        self.sites[self.at].resume();
    }

    /// The name is right again, the network changes, and the link finds its way.
    async fn find_again(&mut self) {
        self.say(Answer::At(SITES[self.at]));
        let began = Instant::now();
        self.link.network_changed();
        connected(&mut self.link).await;
        self.reconnects.push(began.elapsed());
        let row = self.sent.to_be_bytes().to_vec();
        self.sent += 1;
        let token = self.link.publish(live(self.topic.clone(), row));
        published(&mut self.link, token.expect("room for one")).await;
    }

    /// The name fails in this way; the phone loses its network and cannot find the broker.
    async fn lose_the_name(&mut self, how: Answer) {
        self.say(how);
        self.link.network_changed();
        wait_for(
            &mut self.link,
            "a look-up that fails",
            |event| match event {
                LinkEvent::Disconnected {
                    reason: Disconnect::NameNotFound,
                    ..
                } => Ok(()),
                other => Err(other),
            },
        )
        .await;
    }
}

async fn live_through(broker: &Mosquitto, zone: &Arc<Mutex<Answer>>, seed: u64) -> Vec<Duration> {
    let phone = broker.household.client(&format!("{seed:032x}"));
    let below = format!("homing/v1/{}/{}", &phone.name[..2], phone.name);
    let mut of_owner = settings(
        broker.address(),
        &broker.household.ca_pem(),
        &broker.household.client(OWNER),
    );
    of_owner.client_id = format!("{OWNER}-{seed}");
    of_owner.subscriptions = vec![format!("{below}/up/#")];
    let mut owner = MqttLink::start(of_owner).expect("settings");
    connected(&mut owner).await;
    // Both sites have one port, as one broker behind a name has.
    let first = Proxy::at((SITES[0], 0).into(), broker.address());
    let second = Proxy::at((SITES[1], first.address().port()).into(), broker.address());
    second.stall();
    let anywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, first.address().port()));
    let mut with = settings(anywhere, &broker.household.ca_pem(), &phone);
    with.endpoint.host = NAME.to_owned();
    with.session = SessionKind::Persistent {
        expiry: Duration::from_secs(3_600),
    };
    // What does not come back within this is given up: only the network's change may help.
    with.connect_timeout = Duration::from_secs(60);
    *zone.lock().expect("not poisoned") = Answer::NoSuchName;
    let mut world = World {
        zone: Arc::clone(zone),
        sites: [first, second],
        at: 0,
        link: MqttLink::start(with).expect("settings"),
        topic: format!("{below}/up/report"),
        sent: 0,
        reconnects: Vec::new(),
    };
    // It starts before there is anybody to ask.
    world.lose_the_name(Answer::NoSuchName).await;
    world.find_again().await;
    let mut numbers = Numbers::new(seed);
    for _ in 0..CHANGES {
        if numbers.below(2) == 0 {
            world.move_away();
        }
        match numbers.below(4) {
            0 => world.lose_the_name(Answer::NoSuchName).await,
            1 => world.lose_the_name(Answer::ServerFails).await,
            2 => world.lose_the_name(Answer::Nothing).await,
            _ => {}
        }
        world.find_again().await;
    }
    let mut heard = Vec::new();
    while heard.len() < world.sent as usize {
        let delivery = crate::message(&mut owner).await;
        heard.push(delivery.payload.clone());
        owner.acknowledge(delivery.acknowledgement);
    }
    world.reconnects
}

#[test]
fn a_broker_whose_name_fails_and_moves_is_found_again_and_nothing_is_lost() {
    if std::env::var_os(INSIDE).is_none() {
        in_own_network(
            "names::a_broker_whose_name_fails_and_moves_is_found_again_and_nothing_is_lost",
        );
        return;
    }
    let Some(broker) = Mosquitto::start_named(&[NAME, "127.0.0.1"], ALWAYS) else {
        return;
    };
    let zone = resolver();
    let mut reconnects = Vec::new();
    for seed in 1..=SCHEDULES {
        reconnects.extend(run(live_through(&broker, &zone, seed)));
    }
    reconnects.sort_unstable();
    let (median, worst) = (
        reconnects[reconnects.len() / 2],
        reconnects[reconnects.len() - 1],
    );
    eprintln!(
        "{} network changes: connected again after {median:?}, at worst {worst:?}",
        reconnects.len()
    );
    // One may meet a crowded machine; half of them may not.
    assert!(median <= RECONNECT, "{reconnects:?}");
}
