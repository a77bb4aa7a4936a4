//! A phone's link over a network that is bad by a seed, before a real broker: whatever happens on the way, it reconnects, and everything handed over on either side arrives.

use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use homing_link::{Delivery, Drain, LinkEvent, MqttLink, SessionKind, Transport, drain::Drained};

use crate::{
    connected, live,
    mosquitto::{Mosquitto, OWNER},
    run, settings,
    weather::{self, Climate, Numbers},
};

/// Messages in either direction; more than a window.
const ROWS: u32 = 24;

/// One end: its link, what it has still to send, and what it has got.
struct End {
    link: MqttLink,
    topic: String,
    outbox: VecDeque<u32>,
    drain: Drain<u32>,
    got: BTreeSet<u32>,
    connects: u32,
}

impl End {
    fn new(link: MqttLink, topic: String) -> Self {
        Self {
            link,
            topic,
            outbox: (0..ROWS).collect(),
            drain: Drain::new(),
            got: BTreeSet::new(),
            connects: 0,
        }
    }

    fn hear(&mut self, event: LinkEvent) {
        if let Some(Drained::Published(row) | Drained::Unheard(row)) = self.drain.note(&event) {
            self.outbox.retain(|waiting| *waiting != row);
        }
        match event {
            LinkEvent::Connected { .. } => self.connects += 1,
            LinkEvent::Message(delivery) => self.take(delivery),
            LinkEvent::Disconnected { .. }
            | LinkEvent::Published(_)
            | LinkEvent::Unheard(_)
            | LinkEvent::PublishRefused { .. }
            | LinkEvent::SubscriptionRefused { .. } => {}
        }
    }

    fn take(&mut self, delivery: Delivery) {
        let row = delivery
            .payload
            .first_chunk()
            .map(|row| u32::from_be_bytes(*row));
        let row = row.filter(|row| *row < ROWS && delivery.payload.len() == length(*row));
        self.got.insert(row.expect("a message as it was sent"));
        self.link.acknowledge(delivery.acknowledgement);
    }

    fn send(&mut self) {
        let topic = &self.topic;
        let never = self
            .drain
            .fill(&mut self.link, self.outbox.iter().copied(), |row| {
                let mut payload = row.to_be_bytes().to_vec();
                payload.resize(length(*row), 7);
                Some(live(topic.clone(), payload))
            });
        assert!(never.is_empty());
    }

    fn has_everything(&self) -> bool {
        self.got.len() == ROWS as usize
    }
}

/// From a few bytes to the longest envelope, so that packets are cut everywhere.
fn length(row: u32) -> usize {
    [4, 572, 1_036, 4_156][row as usize % 4]
}

/// What one schedule came to.
#[derive(Debug)]
struct Lived {
    connects: u32,
    took: Duration,
}

async fn live_through(
    broker: SocketAddr,
    household: &crate::household::Household,
    seed: u64,
    climate: Climate,
) -> Lived {
    let began = Instant::now();
    let phone = household.client(&format!("{seed:032x}"));
    let shard = phone.name[..2].to_owned();
    let below = format!("homing/v1/{shard}/{}", phone.name);
    let proxy = weather::bad(broker, seed, climate).await;
    let mut with = settings(proxy, &household.ca_pem(), &phone);
    with.session = SessionKind::Persistent {
        expiry: Duration::from_secs(86_400),
    };
    with.subscriptions = vec![format!("{below}/cmd")];
    with.keep_alive = Duration::from_secs(5);
    with.connect_timeout = Duration::from_secs(4);
    let mut of_owner = settings(broker, &household.ca_pem(), &household.client(OWNER));
    of_owner.client_id = format!("{OWNER}-{seed}");
    of_owner.subscriptions = vec![format!("{below}/up/#")];
    let mut owner = MqttLink::start(of_owner).expect("settings");
    connected(&mut owner).await;
    let mut owner = End::new(owner, format!("{below}/cmd"));
    let mut phone = End::new(
        MqttLink::start(with).expect("settings"),
        format!("{below}/up/report"),
    );
    let mut numbers = Numbers::new(seed ^ 0xC0FF_EE00);
    while !(phone.has_everything() && owner.has_everything()) {
        tokio::select! {
            event = phone.link.next() => phone.hear(event),
            event = owner.link.next() => owner.hear(event),
        }
        // A session that the broker does not have yet would lose what the owner sends.
        if phone.connects > 0 {
            owner.send();
        }
        phone.send();
        // Now and then the phone's network changes while it is at it, as long as the weather is bad.
        if phone.connects < climate.troubled && numbers.below(50) == 0 {
            phone.link.network_changed();
        }
    }
    Lived {
        connects: phone.connects,
        took: began.elapsed(),
    }
}

/// Lives through schedules, so many at a time; what the worst took.
fn all(seeds: std::ops::Range<u64>, at_once: usize, climate: Climate) -> Option<(u32, Duration)> {
    let broker = Mosquitto::start()?;
    // The watchdog needs three keep-alives for a half-open connection, and every connection may be one.
    let deadline = (Duration::from_secs(24) + climate.stall) * climate.troubled;
    Some(run(async {
        let (mut connects, mut longest) = (0, Duration::ZERO);
        let seeds: Vec<u64> = seeds.collect();
        for batch in seeds.chunks(at_once) {
            let mut lives: Vec<_> = batch
                .iter()
                .map(|seed| {
                    let life = live_through(broker.address(), &broker.household, *seed, climate);
                    Box::pin(tokio::time::timeout(deadline, life))
                })
                .collect();
            for (seed, life) in batch.iter().zip(join(&mut lives).await) {
                let lived = life.unwrap_or_else(|_| panic!("seed {seed} never came to its end"));
                connects += lived.connects;
                longest = longest.max(lived.took);
            }
        }
        (connects, longest)
    }))
}

/// Waits for all of them at once, on this one thread.
async fn join<F: Future + Unpin>(futures: &mut [F]) -> Vec<F::Output> {
    let mut done: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(output) = std::pin::Pin::new(future).poll(context)
            {
                *done = Some(output);
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[test]
fn a_hundred_bad_networks_lose_nothing_in_either_direction() {
    let climate = Climate {
        troubled: 5,
        stall: Duration::from_millis(400),
    };
    let Some((connects, _)) = all(0..100, 100, climate) else {
        return;
    };
    assert!(connects >= 150, "{connects}: the weather was too good");
}

/// Stalls of up to 30 s, worse weather, as many seeds as asked for: `cargo xtask campaign bad-network`.
#[test]
#[ignore = "by hand: cargo xtask campaign bad-network"]
fn a_campaign_of_bad_networks() {
    let told = |name, otherwise| {
        std::env::var(name).map_or(otherwise, |text| text.parse().expect("a whole number"))
    };
    let (count, seed): (u64, u64) = (
        told("HOMING_CAMPAIGN_COUNT", 100),
        told("HOMING_CAMPAIGN_SEED", 1),
    );
    let climate = Climate {
        troubled: 8,
        stall: Duration::from_secs(30),
    };
    let began = Instant::now();
    let (connects, longest) = all(seed..seed + count, 100, climate).expect("a mosquitto");
    let text = format!(
        "{{\n  \"campaign\": \"bad-network\",\n  \"seed\": {seed},\n  \"schedules\": {count},\n  \"messages\": {},\n  \"connections\": {connects},\n  \"lost\": 0,\n  \"longest_schedule_s\": {},\n  \"seconds\": {}\n}}\n",
        count * 2 * u64::from(ROWS),
        longest.as_secs(),
        began.elapsed().as_secs()
    );
    if let Ok(result) = std::env::var("HOMING_CAMPAIGN_RESULT") {
        std::fs::write(result, text).expect("the result is written");
    }
}
