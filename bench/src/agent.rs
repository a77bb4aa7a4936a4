//! What an idle, connected agent costs, beside mosquitto_sub and a bare link on the same broker. It must not wake what it measures.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use e2e::{Handset, Proc, TcpProxy, foreign, ours, wait_until};
use homing_protocol::topic::device_filters;

use crate::error::{Error, unreadable};
use crate::house::{House, Line, PATIENCE, Phone, agent_id};
use crate::peer;
use crate::process::{self, Effort};
use crate::record::Record;
use crate::wakes::Listener;

/// Every client's keep-alive: homingd's default.
const KEEP_ALIVE: Duration = Duration::from_secs(240);
/// Twice homingd's default beacon interval: what a phone keeps to that lies still and that nobody asks.
const BEACON: Duration = Duration::from_secs(1800);
/// How long everybody rests before the watch begins.
const SETTLE: Duration = Duration::from_secs(15);
/// The real drivers: the simulator's driver for the network asks again each minute, a kernel never.
const DRIVERS: &str = "[hal]\nbackend = \"linux\"\n";
/// A second agent with a beacon a minute: the difference between the two is what a beacon costs.
const TALKATIVE: &str = "[hal]\nbackend = \"linux\"\n\n[beacon]\ninterval_s = 60\n";

/// Somebody who is watched.
struct Watched<'a> {
    name: &'static str,
    pid: u32,
    proxy: &'a TcpProxy,
    effort: Effort,
    bytes: u64,
    beacons: u64,
}

/// An agent of its own whose rests are listened to: what is traced costs more, and is not compared.
struct Heard {
    phone: Phone,
    listener: Listener,
    beacons: u64,
}

/// Everybody whose rests are listened to.
struct Rests {
    quiet: Heard,
    talkative: Heard,
    bare: Listener,
    since: SystemTime,
    _bare: (Line, Proc),
}

/// What an idle time cost.
#[derive(Clone, Copy, Debug)]
struct Cost {
    bytes: f64,
    switches: f64,
    processor_ms: f64,
    beacons: f64,
}

/// Measures for at least `minutes`, rounded up to whole keep-alives.
///
/// # Errors
/// Whatever keeps the household from being built, a process that ended meanwhile.
pub(crate) fn run(minutes: Duration) -> Result<(), Error> {
    let pings = minutes.as_secs().div_ceil(KEEP_ALIVE.as_secs());
    let watch = KEEP_ALIVE * u32::try_from(pings).unwrap_or(u32::MAX);
    eprintln!(
        "agent: building a household, then {} min of idleness",
        watch.as_secs() / 60
    );
    let house = House::build();
    let mut quiet = house.phone("quiet", DRIVERS)?;
    let mut talkative = house.phone("talkative", TALKATIVE)?;
    let (subscriber, bare) = (house.line("subscriber")?, house.line("bare")?);
    let scratch = house.household.scratch.path();
    let mut rests = Rests::build(&house)?;
    let peers = [
        start_subscriber(&subscriber, scratch)?,
        start_bare(&bare, scratch)?,
    ];
    let ids = [
        agent_id(&mut quiet.handset)?,
        agent_id(&mut talkative.handset)?,
    ];
    let mut record = Record::new("agent");
    record.setting("minutes", watch.as_secs() / 60);
    record.setting("keep_alive_s", KEEP_ALIVE.as_secs());
    record.setting("beacon_interval_s", BEACON.as_secs());
    rest(SETTLE);

    let watched = [
        Watched::new("homingd", ids[0], &quiet.line.proxy, Some(&quiet.handset))?,
        Watched::new(
            "talkative",
            ids[1],
            &talkative.line.proxy,
            Some(&talkative.handset),
        )?,
        Watched::new("mosquitto_sub", peers[0].id(), &subscriber.proxy, None)?,
        Watched::new("bare_link", peers[1].id(), &bare.proxy, None)?,
    ];
    rests.begin()?;
    rest(watch);
    let costs = [
        watched[0].cost(Some(&quiet.handset))?,
        watched[1].cost(Some(&talkative.handset))?,
        watched[2].cost(None)?,
        watched[3].cost(None)?,
    ];
    for one in &watched {
        memory(&mut record, one)?;
    }
    traffic(&mut record, &watched, &costs, watch);
    rests.note(&mut record, watch)?;
    sizes(&mut record)?;
    // Nobody may have lost the connection meanwhile: the figures would be of something else.
    for phone in [&quiet, &talkative] {
        still_connected(phone)?;
    }
    record.write(scratch)
}

impl<'a> Watched<'a> {
    fn new(
        name: &'static str,
        pid: u32,
        proxy: &'a TcpProxy,
        handset: Option<&Handset>,
    ) -> Result<Self, Error> {
        Ok(Self {
            name,
            pid,
            proxy,
            effort: process::effort(pid)?,
            bytes: proxy.bytes_up() + proxy.bytes_down(),
            beacons: beacons(handset)?,
        })
    }

    fn cost(&self, handset: Option<&Handset>) -> Result<Cost, Error> {
        let effort = process::effort(self.pid)?.since(&self.effort);
        let bytes = self.proxy.bytes_up() + self.proxy.bytes_down() - self.bytes;
        Ok(Cost {
            bytes: bytes as f64,
            switches: effort.switches as f64,
            processor_ms: effort.processor.as_secs_f64() * 1000.0,
            beacons: (beacons(handset)? - self.beacons) as f64,
        })
    }
}

impl Heard {
    fn new(house: &House, name: &str, settings: &str) -> Result<Self, Error> {
        let mut phone = house.phone(name, settings)?;
        let scratch = house.household.scratch.path();
        let listener = Listener::attach(name, agent_id(&mut phone.handset)?, scratch);
        Ok(Self {
            phone,
            listener,
            beacons: 0,
        })
    }

    /// Awakenings and beacons since then.
    fn count(&mut self, since: SystemTime) -> Result<(f64, f64), Error> {
        still_connected(&self.phone)?;
        let wakes = self.listener.wakes_since(since)?;
        let beacons = beacons(Some(&self.phone.handset))? - self.beacons;
        Ok((wakes as f64, beacons as f64))
    }
}

impl Rests {
    fn build(house: &House) -> Result<Self, Error> {
        let scratch = house.household.scratch.path();
        let line = house.line("heard-bare")?;
        let process = start_bare(&line, scratch)?;
        Ok(Self {
            quiet: Heard::new(house, "heard-quiet", DRIVERS)?,
            talkative: Heard::new(house, "heard-talkative", TALKATIVE)?,
            bare: Listener::attach("heard-bare", process.id(), scratch),
            since: SystemTime::now(),
            _bare: (line, process),
        })
    }

    /// From here on it counts.
    fn begin(&mut self) -> Result<(), Error> {
        for one in [&mut self.quiet, &mut self.talkative] {
            one.beacons = beacons(Some(&one.phone.handset))?;
        }
        self.since = SystemTime::now();
        Ok(())
    }

    /// Splits the awakenings as [`traffic`] splits the rest, and compares their sum with a link that does nothing else:
    /// what is beyond that is the agent's own.
    fn note(&mut self, record: &mut Record, watch: Duration) -> Result<(), Error> {
        let hourly = 3600.0 / watch.as_secs_f64();
        let (quiet, few) = self.quiet.count(self.since)?;
        let (talkative, many) = self.talkative.count(self.since)?;
        let per_beacon = (talkative - quiet) / (many - few).max(1.0);
        let keep_alive = (quiet - per_beacon * few) * hourly;
        let beacons = per_beacon * 3600.0 / BEACON.as_secs_f64();
        let bare = self.bare.wakes_since(self.since)? as f64 * hourly;
        let own = (keep_alive + beacons - bare).max(beacons);
        record.number("homingd.per_beacon.wakes", "", per_beacon);
        record.number("homingd.hour.keep_alive.wakes", "", keep_alive);
        record.number("homingd.hour.all.wakes", "", keep_alive + beacons);
        record.number("homingd.hour.own.wakes", "", own);
        record.number("bare_link.hour.all.wakes", "", bare);
        Ok(())
    }
}

impl Cost {
    fn zip(self, other: Self, with: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            bytes: with(self.bytes, other.bytes),
            switches: with(self.switches, other.switches),
            processor_ms: with(self.processor_ms, other.processor_ms),
            beacons: with(self.beacons, other.beacons),
        }
    }

    fn times(self, factor: f64) -> Self {
        self.zip(self, |number, _| number * factor)
    }
}

fn beacons(handset: Option<&Handset>) -> Result<u64, Error> {
    let Some(handset) = handset else {
        return Ok(0);
    };
    let status = handset
        .homingd(&["status", "--json"])
        .expect_success()
        .json();
    status["agent"]["beacons"]
        .as_u64()
        .ok_or_else(|| unreadable("homingd's status"))
}

fn still_connected(phone: &Phone) -> Result<(), Error> {
    if phone.line.proxy.connections() > 2 {
        // One to enrol, one afterwards.
        return Err(Error::Cut {
            what: "an agent's connection",
            reason: phone.handset.agent_log(),
        });
    }
    Ok(())
}

fn memory(record: &mut Record, one: &Watched<'_>) -> Result<(), Error> {
    if one.name == "talkative" {
        return Ok(());
    }
    let found = process::footprint(one.pid)?;
    let mib = |kib: u64| kib as f64 / 1024.0;
    for (what, value) in [
        ("rss", mib(found.rss_kib)),
        ("pss", mib(found.pss_kib)),
        ("anonymous", mib(found.anonymous_kib)),
    ] {
        record.number(&format!("{}.{what}", one.name), "MiB", value);
    }
    record.number(&format!("{}.threads", one.name), "", found.threads as f64);
    Ok(())
}

/// Splits what was seen into keep-alive and beacons, and scales both to an hour at the defaults.
fn traffic(record: &mut Record, watched: &[Watched<'_>], costs: &[Cost], watch: Duration) {
    let hourly = 3600.0 / watch.as_secs_f64();
    let (quiet, talkative) = (costs[0], costs[1]);
    let more = (talkative.beacons - quiet.beacons).max(1.0);
    let beacon = talkative
        .zip(quiet, |talkative, quiet| talkative - quiet)
        .times(1.0 / more);
    let keep_alive = quiet
        .zip(beacon.times(quiet.beacons), |all, beacons| all - beacons)
        .times(hourly);
    let beacons = beacon.times(3600.0 / BEACON.as_secs_f64());
    note(record, "homingd.per_beacon", beacon);
    note(record, "homingd.hour.keep_alive", keep_alive);
    note(record, "homingd.hour.beacons", beacons);
    note(
        record,
        "homingd.hour.all",
        keep_alive.zip(beacons, |a, b| a + b),
    );
    record.number("homingd.seen.beacons", "", quiet.beacons);
    for (one, cost) in watched.iter().zip(costs).skip(2) {
        note(
            record,
            &format!("{}.hour.all", one.name),
            cost.times(hourly),
        );
    }
}

fn note(record: &mut Record, name: &str, cost: Cost) {
    record.number(&format!("{name}.bytes"), "bytes", cost.bytes);
    record.number(&format!("{name}.switches"), "", cost.switches);
    record.number(&format!("{name}.processor"), "ms", cost.processor_ms);
}

fn sizes(record: &mut Record) -> Result<(), Error> {
    for name in ["homingd", "homing"] {
        let path = ours(name);
        let size = std::fs::metadata(&path).map_err(|source| Error::Read { path, source })?;
        let mib = size.len() as f64 / (1024.0 * 1024.0);
        record.number(&format!("{name}.binary"), "MiB", mib);
    }
    Ok(())
}

fn start_subscriber(line: &Line, scratch: &Path) -> Result<Proc, Error> {
    let papers = write_papers(line, scratch)?;
    // It says nothing when it is connected unless it is told to; the proxy's counters tell as well.
    let mut command = Command::new(foreign("mosquitto_sub"));
    command
        .args(["-h", "127.0.0.1", "-p", &line.proxy.port().to_string()])
        .args(["-V", "mqttv5", "-q", "1", "-c", "-x", "3600"])
        .args(["-i", &line.device.to_string()])
        .args(["-k", &KEEP_ALIVE.as_secs().to_string()])
        .arg("--cafile")
        .arg(papers.join("ca.crt"))
        .arg("--cert")
        .arg(papers.join("client.crt"))
        .arg("--key")
        .arg(papers.join("client.key"))
        .stdin(Stdio::null());
    for filter in device_filters(line.device) {
        command.args(["-t", &filter]);
    }
    let process = Proc::start("mosquitto_sub", scratch, &mut command);
    wait_traffic(line);
    Ok(process)
}

fn start_bare(line: &Line, scratch: &Path) -> Result<Proc, Error> {
    let papers = write_papers(line, scratch)?;
    let mut command = Command::new(ours("homing-bench"));
    command
        .args([peer::WORD, &line.proxy.port().to_string()])
        .args([line.device.to_string(), KEEP_ALIVE.as_secs().to_string()])
        .arg(papers)
        .args(device_filters(line.device))
        .stdin(Stdio::null());
    let mut process = Proc::start(&line.name, scratch, &mut command);
    process.wait_for_output(PATIENCE, peer::READY);
    Ok(process)
}

/// The papers of a bundle as the files that a C client wants.
fn write_papers(line: &Line, scratch: &Path) -> Result<PathBuf, Error> {
    let folder = scratch.join(format!("{}-papers", line.name));
    let papers = &line.credentials;
    let written = std::fs::create_dir(&folder).and_then(|()| {
        std::fs::write(folder.join("ca.crt"), &papers.ca_pem)?;
        std::fs::write(folder.join("client.crt"), &papers.certificate_pem)?;
        std::fs::write(folder.join("client.key"), papers.key_pem.as_bytes())
    });
    match written {
        Ok(()) => Ok(folder),
        Err(source) => Err(Error::Write {
            path: folder,
            source,
        }),
    }
}

/// Waits until a client has finished TLS and MQTT: nothing has passed for a second after something has.
fn wait_traffic(line: &Line) {
    let mut last = (Instant::now(), 0);
    wait_until(PATIENCE, "a client to be connected", || {
        let bytes = line.proxy.bytes_down();
        if bytes != last.1 {
            last = (Instant::now(), bytes);
        }
        (bytes > 0 && last.0.elapsed() > Duration::from_secs(1)).then_some(())
    });
}

/// Lets time pass: idleness is what is measured.
fn rest(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}
