//! `homing-sim`: the process that owns the simulated phone. It serves the control socket (docs/simulator.md) and, if asked, the receiver's NMEA over TCP; it never runs on a real phone.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use homing_hal::sim::nmea;
use homing_hal::sim::serve::Simulator;
use homing_hal::sim::track::Place;
use homing_hal::sim::world::World;
use nix::sys::signal::{SigSet, Signal};
use serde_json::json;

const USAGE: &str = "\
Usage: homing-sim --socket PATH [--nmea PORT] [--place LAT,LON] [--seed N]

Simulates a phone until SIGTERM or SIGINT.

  --socket PATH     control socket, one JSON object a line
  --nmea PORT       serve the receiver as NMEA 0183 on 127.0.0.1:PORT; 0 takes a free port
  --place LAT,LON   where the phone lies, degrees (default 52.51627,13.37770)
  --seed N          seed of the receiver's noise (default 1)
  --help            this text

Once ready it prints one line: {\"ready\":true,\"socket\":PATH,\"nmea\":PORT or null}
Exit codes: 0, 64 usage, 74 I/O.
";

/// Wrong arguments (sysexits.h EX_USAGE).
const EXIT_USAGE: u8 = 64;
/// A socket or port could not be had (sysexits.h EX_IOERR).
const EXIT_IO: u8 = 74;

struct Arguments {
    socket: PathBuf,
    nmea: Option<u16>,
    place: Place,
    seed: u64,
}

enum Wanted {
    Help,
    Run(Arguments),
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(Wanted::Run(arguments)) => arguments,
        Ok(Wanted::Help) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(sentence) => {
            eprintln!("homing-sim: {sentence}\n\n{USAGE}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("homing-sim: {error}");
            ExitCode::from(EXIT_IO)
        }
    }
}

fn run(arguments: &Arguments) -> std::io::Result<()> {
    // Blocked before the first thread begins, so that every thread inherits it and the signal waits for us here.
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGTERM);
    ends.add(Signal::SIGINT);
    ends.thread_block()?;
    let began = Instant::now();
    let simulator = Simulator::new(World::new(arguments.seed, arguments.place, began), began);
    simulator.serve(&arguments.socket).map_err(|error| {
        std::io::Error::new(
            error.kind(),
            format!("the control socket {}: {error}", arguments.socket.display()),
        )
    })?;
    let nmea = match arguments.nmea {
        Some(port) => Some(nmea::serve(&simulator, port)?),
        None => None,
    };
    println!(
        "{}",
        json!({"ready": true, "socket": arguments.socket, "nmea": nmea})
    );
    let ended = ends.wait();
    std::fs::remove_file(&arguments.socket)?;
    ended?;
    Ok(())
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut socket = None;
    let mut nmea = None;
    // The Brandenburg Gate.
    let mut place = Place::from([52.516_27, 13.377_70]);
    let mut seed = 1;
    while let Some(word) = words.next() {
        if matches!(word.as_str(), "--help" | "-h") {
            return Ok(Wanted::Help);
        }
        let value = match word.as_str() {
            "--socket" | "--nmea" | "--place" | "--seed" => {
                words.next().ok_or(format!("{word} needs a value"))?
            }
            _ => return Err(format!("there is no argument `{word}`")),
        };
        let wrong = || format!("`{value}` is no value for {word}");
        match word.as_str() {
            "--socket" => socket = Some(PathBuf::from(&value)),
            "--nmea" => nmea = Some(value.parse().map_err(|_| wrong())?),
            "--seed" => seed = value.parse().map_err(|_| wrong())?,
            _ => place = read_place(&value).ok_or_else(wrong)?,
        }
    }
    Ok(Wanted::Run(Arguments {
        socket: socket.ok_or("--socket PATH is needed")?,
        nmea,
        place,
        seed,
    }))
}

fn read_place(text: &str) -> Option<Place> {
    let (lat, lon) = text.split_once(',')?;
    let place = Place::from([lat.trim().parse().ok()?, lon.trim().parse().ok()?]);
    place.is_on_earth().then_some(place)
}
