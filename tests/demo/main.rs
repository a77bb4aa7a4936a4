//! The guided tour behind ./demo; it must not show anything that the real programs did not do.
#![forbid(unsafe_code)]

mod archive;
mod emulated;
mod household;
mod lost;
mod stage;
mod thief;
mod tour;

use household::Household;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use stage::Stage;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

const HELP: &str = "\
homing-demo [--qemu] [--once]

Shows a simulated phone enrolled, located, rung, attacked and locked, through a real mosquitto and a real gpsd on
loopback, in one temporary folder, and files kept and brought back. Then stays until Ctrl-C, with commands to paste
and a page on which the phone is seen, heard and held.

  --qemu   a shorter tour with the ARM homingd in an emulated phone; `cargo xtask demo --qemu` prepares it
  --once   end after the tour; exit code 1 when a step failed";

/// Whose tour it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phone {
    Simulated,
    Emulated,
}

/// What follows the tour.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Afterwards {
    Stay,
    End,
}

/// Set while the main thread does nothing but wait; it then ends everything itself, in order.
static WAITING: AtomicBool = AtomicBool::new(false);

/// Set before the tour's programs are ended under its feet: the step that misses one has not failed.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (phone, afterwards) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => (Phone::Simulated, Afterwards::Stay),
        ["--once"] => (Phone::Simulated, Afterwards::End),
        ["--qemu"] => (Phone::Emulated, Afterwards::Stay),
        ["--qemu", "--once"] | ["--once", "--qemu"] => (Phone::Emulated, Afterwards::End),
        ["--help" | "-h"] => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("homing-demo: {arguments:?} is not understood\n\n{HELP}");
            return ExitCode::from(64);
        }
    };
    match handle_ends() {
        Ok(()) => show(phone, afterwards),
        Err(error) => {
            eprintln!("homing-demo: signals could not be handled: {error}");
            ExitCode::from(70)
        }
    }
}

/// Ctrl-C, SIGTERM and a closed terminal: one thread waits for them. By a handler, not by blocking the signals:
/// the programs started here would inherit the block, and not end when told to.
fn handle_ends() -> std::io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let main = std::thread::current();
    std::thread::spawn(move || {
        let _ = signals.forever().next();
        if WAITING.swap(false, Ordering::SeqCst) {
            main.unpark();
            return;
        }
        INTERRUPTED.store(true, Ordering::SeqCst);
        e2e::clean_up();
        eprintln!("\nStopped in the middle. No process and no file is left.");
        std::process::exit(130);
    });
    Ok(())
}

fn show(phone: Phone, afterwards: Afterwards) -> ExitCode {
    // A step that fails panics with a sentence; the stage prints it, without a backtrace.
    std::panic::set_hook(Box::new(|_| {}));
    let stage = Stage::new();
    let began = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| match phone {
        Phone::Simulated => {
            let mut household = Household::set_up(&stage);
            tour::run(&stage, &mut household);
            stay(&stage, began, afterwards, || {
                household.print_commands(&stage)
            });
        }
        Phone::Emulated => {
            let household = emulated::run(&stage);
            stay(&stage, began, afterwards, || {
                household.print_commands(&stage)
            });
        }
    }));
    while INTERRUPTED.load(Ordering::SeqCst) {
        // The thread that heard the signal ends everything, and this process.
        std::thread::park();
    }
    e2e::clean_up();
    match outcome {
        Ok(()) => {
            stage.say("Ended. No process and no file is left.");
            ExitCode::SUCCESS
        }
        Err(panic) => {
            let sentence = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("a step failed without a word");
            stage.fail(sentence);
            ExitCode::FAILURE
        }
    }
}

/// The tour is over; whoever wants to play with the household is told how.
fn stay(stage: &Stage, began: Instant, afterwards: Afterwards, invite: impl FnOnce()) {
    stage.say(&format!(
        "That was the tour: {} s.",
        began.elapsed().as_secs()
    ));
    if afterwards == Afterwards::Stay {
        // Before the words that invite Ctrl-C, which may come at once.
        WAITING.store(true, Ordering::SeqCst);
        invite();
        wait_for_the_end();
    }
}

fn wait_for_the_end() {
    while WAITING.load(Ordering::SeqCst) {
        std::thread::park();
    }
}
