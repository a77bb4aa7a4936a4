//! The benchmarks: homingd and its peers measured as processes in the same run. It must not judge a change by a timing: no figure fails a build.
#![forbid(unsafe_code)]

mod agent;
mod archive;
mod command;
mod echo;
mod error;
mod house;
mod owner;
mod peer;
mod process;
mod reconnect;
mod record;
mod relay;
mod samples;
mod table;
mod wakes;
mod weather;

use std::process::ExitCode;
use std::time::Duration;

use crate::error::Error;

const HELP: &str = "\
cargo xtask bench NAME [--minutes N] [--orders N] [--scale PERCENT]

  agent      memory, processor time, wake-ups and bytes of an idle homingd agent, beside mosquitto_sub and a bare link
  command    from the owner's publish to the effect and the signed answer, beside a bare echo and one fsync
  reconnect  from the network's return to the first order answered
  backup     the archive beside restic and, where they are on PATH, borg and rustic: what lies on a phone, in folders
  wire       the same to and from a server of restic's protocol
  many       the archive and its peers on many tiny files: how changes are found, and all restored
  all        the first three, one after the other
  table      only writes the table in bench/README.md again from bench/results/*.json

  --minutes N   agent: how long the idleness is watched, 5 to 1440 [default: 5]
  --orders N    command: how many orders of each kind, 20 to 5000 [default: 200]
  --scale N     backup, wire, many: percent of the whole sets (7 GB; 500,000 files), which need 23 GB of disk and 14,
                1 to 100 [default: 10]

Each benchmark writes bench/results/NAME.json and the table in bench/README.md.";

/// What was asked for.
struct Wanted {
    minutes: Duration,
    orders: usize,
    scale: archive::Scale,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("homing-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Error> {
    let Some((name, rest)) = arguments.split_first() else {
        println!("{HELP}");
        return Ok(());
    };
    if name == "--help" || name == "-h" || rest.iter().any(|word| word == "--help") {
        println!("{HELP}");
        return Ok(());
    }
    // A process of its own that the agent benchmark starts as a peer.
    if name == peer::WORD {
        return runtime()?.block_on(peer::stay(rest));
    }
    // So are these, of what the benchmark of the archive measures.
    match name.as_str() {
        archive::USAGE => return archive::observe(rest),
        archive::LSTAT => return archive::walk(rest),
        _ => {}
    }
    let wanted = read_options(rest)?;
    match name.as_str() {
        "agent" => agent::run(wanted.minutes)?,
        "command" => runtime()?.block_on(command::run(wanted.orders))?,
        "backup" => archive::run(wanted.scale)?,
        "wire" => archive::wire(wanted.scale)?,
        "many" => archive::many(wanted.scale)?,
        "reconnect" => runtime()?.block_on(reconnect::run())?,
        "all" => {
            runtime()?.block_on(command::run(wanted.orders))?;
            runtime()?.block_on(reconnect::run())?;
            agent::run(wanted.minutes)?;
        }
        "table" => {}
        other => {
            return Err(Error::Usage(format!(
                "there is no benchmark {other:?}\n\n{HELP}"
            )));
        }
    }
    table::write()
}

fn read_options(rest: &[String]) -> Result<Wanted, Error> {
    let mut wanted = Wanted {
        minutes: Duration::from_secs(5 * 60),
        orders: 200,
        scale: archive::Scale(10),
    };
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        let number = words.next().and_then(|text| text.parse::<u32>().ok());
        match (word.as_str(), number) {
            ("--minutes", Some(minutes @ 5..=1440)) => {
                wanted.minutes = Duration::from_secs(u64::from(minutes) * 60)
            }
            ("--orders", Some(orders @ 20..=5000)) => {
                wanted.orders = usize::try_from(orders).unwrap_or(usize::MAX)
            }
            ("--scale", Some(percent @ 1..=100)) => wanted.scale = archive::Scale(percent),
            _ => {
                return Err(Error::Usage(format!(
                    "{word} is unknown or lacks a number in its range\n\n{HELP}"
                )));
            }
        }
    }
    Ok(wanted)
}

/// One thread: the benchmark's own clients must not take the second core from what is measured.
fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::Start {
            what: "the event loop",
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn options_out_of_range_are_refused_before_anything_is_measured() {
        assert!(read_options(&words("--minutes 4")).is_err());
        assert!(read_options(&words("--orders many")).is_err());
        assert!(read_options(&words("--minutes")).is_err());
        let wanted = read_options(&words("--orders 300 --minutes 60")).unwrap();
        assert_eq!((wanted.orders, wanted.minutes.as_secs()), (300, 3600));
    }
}
