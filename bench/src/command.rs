//! From the owner's publish to the effect in the hardware and the signed answer, near and over a bad network. It must not count the owner's signing, nor the receiver's time to a fix.

use std::time::{Duration, Instant};

use e2e::Household;
use homing_owner::delivery::State;
use homing_protocol::command::Op;
use serde_json::json;

use crate::echo::{Disk, Echo};
use crate::error::Error;
use crate::house::{House, Phone, agent_id, local, owner_credentials};
use crate::owner::{Client, Sent};
use crate::process;
use crate::record::Record;
use crate::relay::{Hardware, Relay};
use crate::samples::Samples;
use crate::weather::{Dice, SEED, Stall};

/// How long one answer may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Each way of the far network: a round trip of 300 ms.
const FAR: Duration = Duration::from_millis(150);
/// How often the owner's command line is called.
const CALLS: usize = 20;

/// What is ordered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Answered at once.
    Status,
    /// Powers the receiver; done with its fix.
    Locate,
    /// Opens the loudspeaker; then stopped.
    Ring,
}

/// What the network is like besides its delay.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weather {
    Calm,
    Stalls,
}

/// The figures of one kind of order under one weather.
#[derive(Default)]
struct Series {
    echo: Samples,
    fsync: Samples,
    effect: Samples,
    answer: Samples,
    own: Samples,
    silence: Samples,
}

struct Bench {
    house: House,
    phone: Phone,
    relay: Relay,
    client: Client,
    echo: Echo,
    echo_line: crate::house::Line,
    disk: Disk,
    dice: Dice,
    record: Record,
}

/// Measures everything.
///
/// # Errors
/// An order that is not answered, and whatever keeps the household from being built.
pub(crate) async fn run(orders: usize) -> Result<(), Error> {
    let mut bench = Bench::build().await?;
    bench.record.setting("orders_of_each_kind", orders);
    for kind in [Kind::Status, Kind::Locate, Kind::Ring] {
        let series = bench.series("near", kind, orders, Weather::Calm).await?;
        bench.ratios(kind, &series);
    }
    bench.command_line()?;
    for proxy in [&bench.phone.line.proxy, &bench.echo_line.proxy] {
        proxy.delay(FAR);
    }
    for (name, weather) in [("far", Weather::Calm), ("stalls", Weather::Stalls)] {
        for kind in [Kind::Status, Kind::Ring] {
            bench.series(name, kind, orders, weather).await?;
        }
    }
    bench.finish()
}

impl Bench {
    async fn build() -> Result<Self, Error> {
        eprintln!("command: building a household");
        let house = House::build();
        let Household { sim, scratch, .. } = &house.household;
        let relay = Relay::start(scratch.path(), sim.socket())?;
        let socket = relay.socket().display();
        let mut phone = house.phone("phone", &format!("[hal.sim]\nsocket = \"{socket}\"\n"))?;
        phone.handset.start_siren();
        sim.ask(json!({"set": "position", "first_fix_ms": 0, "noise_m": 0}));
        let echo_line = house.line("echo")?;
        let account = house.unlock()?;
        let papers = owner_credentials(&account)?;
        let broker = house.broker().port();
        let (endpoint, device) = (local(broker), phone.line.device);
        let mut client = Client::connect(&account, papers.clone(), endpoint, device).await?;
        // As long as an order; its content means nothing to the echo.
        let (_, payload) = client.seal(Op::Status)?;
        let mut record = Record::new("command");
        record.setting("message_bytes", payload.len());
        record.setting("seed", SEED);
        let echo = Echo::start(&echo_line, &account, papers, broker, payload).await?;
        let disk = Disk::new(house.household.scratch.path())?;
        Ok(Self {
            house,
            phone,
            relay,
            client,
            echo,
            echo_line,
            disk,
            dice: Dice::new(SEED),
            record,
        })
    }

    async fn series(
        &mut self,
        place: &str,
        kind: Kind,
        orders: usize,
        weather: Weather,
    ) -> Result<Series, Error> {
        eprintln!("command: {orders} × {} ({place})", kind.word());
        let mut series = Series::default();
        for _ in 0..orders {
            series.fsync.add(self.disk.commit()?);
            series.echo.add(self.echo.exchange(PATIENCE).await?);
            self.one(kind, weather, &mut series).await?;
            // What follows an order (a beacon, a confirmation) is over before the next one.
            let pause = self.dice.between(120, 220);
            self.client.rest(pause).await?;
        }
        let name = |what: &str| format!("{place}.{}.{what}", kind.word());
        let record = &mut self.record;
        record.figure(&name("echo"), "ms", &series.echo);
        record.figure(&name("fsync"), "ms", &series.fsync);
        if kind != Kind::Status {
            record.figure(&name("effect"), "ms", &series.effect);
        }
        record.figure(&name("answer"), "ms", &series.answer);
        match kind {
            Kind::Status => {}
            Kind::Locate => record.figure(&name("answer_without_receiver"), "ms", &series.own),
            Kind::Ring => record.figure(&name("stop_to_silence"), "ms", &series.silence),
        }
        Ok(series)
    }

    async fn one(
        &mut self,
        kind: Kind,
        weather: Weather,
        series: &mut Series,
    ) -> Result<(), Error> {
        self.relay.forget();
        let order = self.client.order(kind.op())?;
        let answered = self.answer(order, kind.wanted(), weather).await?;
        series.answer.add(answered - order.at);
        match kind {
            Kind::Status => {}
            Kind::Locate => {
                let began = self.relay.touched(Hardware::Receiver, PATIENCE)?;
                let fixed = self.relay.released(Hardware::Receiver, PATIENCE)?;
                series.effect.add(began - order.at);
                let receiver = fixed - began;
                series
                    .own
                    .add((answered - order.at).saturating_sub(receiver));
            }
            Kind::Ring => {
                let began = self.relay.touched(Hardware::Loudspeaker, PATIENCE)?;
                series.effect.add(began - order.at);
                let stop = self.client.order(Op::RingStop {
                    rings: vec![order.id],
                })?;
                let silent = self.answer(stop, State::Done, Weather::Calm).await?;
                series.silence.add(silent - stop.at);
            }
        }
        Ok(())
    }

    async fn answer(
        &mut self,
        order: Sent,
        wanted: State,
        weather: Weather,
    ) -> Result<Instant, Error> {
        let stall = match weather {
            Weather::Calm => None,
            Weather::Stalls => Stall::draw(&mut self.dice),
        };
        let proxy = &self.phone.line.proxy;
        let storm = async {
            if let Some(stall) = stall {
                stall.strike(proxy).await;
            }
        };
        let (answered, ()) = tokio::join!(self.client.answer(order, wanted, PATIENCE), storm);
        answered
    }

    /// How often the bare echo and the fsyncs fit into what an order took (design 07).
    fn ratios(&mut self, kind: Kind, series: &Series) {
        for (name, share) in [("median", 0.5), ("p99", 0.99)] {
            let of = |samples: &Samples| samples.quantile(share);
            let (echo, fsync) = (of(&series.echo), of(&series.fsync));
            let mut note = |what: &str, took: f64, fsyncs: f64| {
                let name = format!("near.{}.{what}_ratio_{name}", kind.word());
                let allowed = 2.0 * echo + fsyncs * fsync;
                self.record.number(&name, "×", took / allowed);
            };
            match kind {
                Kind::Status => note("answer", of(&series.answer), 3.0),
                Kind::Locate => {
                    note("effect", of(&series.effect), 1.0);
                    note("answer", of(&series.own), 3.0);
                }
                Kind::Ring => {
                    note("effect", of(&series.effect), 1.0);
                    note("answer", of(&series.answer), 3.0);
                }
            }
        }
    }

    /// The same ring as a person gives it: a new process that connects, sends, and waits for the phone's word.
    fn command_line(&mut self) -> Result<(), Error> {
        eprintln!("command: {CALLS} × homing ring");
        let (mut effect, mut whole) = (Samples::default(), Samples::default());
        let owner = &self.house.household.owner;
        for _ in 0..CALLS {
            self.relay.forget();
            let began = Instant::now();
            let _ = owner
                .homing(&["ring", &self.phone.line.name, "--for", "30s"])
                .expect_success();
            whole.add(began.elapsed());
            let touched = self.relay.touched(Hardware::Loudspeaker, PATIENCE)?;
            effect.add(touched - began);
            let _ = owner
                .homing(&["ring", &self.phone.line.name, "--stop"])
                .expect_success();
        }
        self.record
            .figure("command_line.ring.effect", "ms", &effect);
        self.record.figure("command_line.ring.whole", "ms", &whole);
        Ok(())
    }

    fn finish(mut self) -> Result<(), Error> {
        let after = process::footprint(agent_id(&mut self.phone.handset)?)?;
        let mib = |kib: u64| kib as f64 / 1024.0;
        self.record
            .number("agent_after_all_orders.rss", "MiB", mib(after.rss_kib));
        self.record.number(
            "agent_after_all_orders.anonymous",
            "MiB",
            mib(after.anonymous_kib),
        );
        self.record.write(self.house.household.scratch.path())
    }
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Locate => "locate",
            Self::Ring => "ring",
        }
    }

    const fn op(self) -> Op {
        match self {
            Self::Status => Op::Status,
            Self::Locate => Op::Locate { search_s: 30 },
            Self::Ring => Op::Ring { for_s: 30 },
        }
    }

    /// The answer that is waited for.
    const fn wanted(self) -> State {
        match self {
            Self::Status | Self::Locate => State::Done,
            Self::Ring => State::Running,
        }
    }
}
