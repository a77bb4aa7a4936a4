//! `homing-lost-screen`: shows whoever finds a lost phone what its owner says, and takes the code. It reads arguments and does nothing else itself.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use homing_hal::{Fault, Hal, Roots};
use homing_screen::attendant::Phone;
use homing_screen::before::{self, Before};
use homing_screen::clock::Clock;
use homing_screen::config::Config;
use homing_screen::run::{Setup, Stay, block_signals, run, undo};
use homing_screen::typeset::Typesetter;
use homing_screen::{Error, fonts, language};

const USAGE: &str = "\
Usage: homing-lost-screen [--resident] [--undo] [--config FILE] [--locale LOCALE]
       homing-lost-screen --before-passphrase FILE [--for SECONDS]
       homing-lost-screen --can-show TEXT

Shows the notice of a lost phone on its panel until the notice is gone.

  --resident        waits for the next notice instead of ending
  --undo            gives back a panel that an earlier process died with, unless the phone is lost
  --config FILE     homingd's configuration (default /etc/homing/homingd.toml, where there is one)
  --locale LOCALE   language of the screen's own words (default the system's)
  --before-passphrase FILE
                    shows the copy of a notice in FILE, where there is one, before the disk's passphrase is asked for: on the
                    panel until it is touched, a key is pressed or the time is over, and as text on standard output
  --for SECONDS     how long that may take (default 120, at most 600)
  --can-show TEXT   names the scripts of the text that no font of this phone has, one a line
  --help            this text

Exit codes: 0, 64 usage, 70 a fault of this program, 74 I/O, 77 permission, 78 configuration.
";

enum Wanted {
    Help,
    CanShow(String),
    Undo,
    Show(Stay),
    Before(PathBuf),
}

struct Arguments {
    wanted: Wanted,
    config: Option<PathBuf>,
    locale: Option<String>,
    patience: Duration,
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(sentence) => {
            eprintln!("homing-lost-screen: {sentence}\n\n{USAGE}");
            return ExitCode::from(64);
        }
    };
    match act(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("homing-lost-screen: {error}");
            ExitCode::from(status(&error))
        }
    }
}

/// As all programs of the house, after sysexits.h.
fn status(error: &Error) -> u8 {
    match error {
        Error::Config(_) => 78,
        Error::Body(Fault::Denied(_)) => 77,
        Error::Io { error, .. } if error.kind() == std::io::ErrorKind::PermissionDenied => 77,
        Error::Notice(_) => 70,
        Error::Body(_) | Error::Io { .. } => 74,
    }
}

fn act(arguments: Arguments) -> Result<(), Error> {
    let folders: Vec<PathBuf> = fonts::FOLDERS.map(PathBuf::from).into();
    let stay = match arguments.wanted {
        Wanted::Help => {
            print!("{USAGE}");
            return Ok(());
        }
        Wanted::CanShow(text) => {
            let setter = Typesetter::new(&[&text], "en", &folders);
            for script in setter.unreadable(&text) {
                println!("{script}");
            }
            return Ok(());
        }
        Wanted::Undo => None,
        Wanted::Show(stay) => Some(stay),
        Wanted::Before(copy) => {
            return before_passphrase(copy, arguments.patience, arguments.config, arguments.locale);
        }
    };
    // Before the first thread begins, so that every one inherits it.
    let ends = block_signals()?;
    let config = Config::read(arguments.config.as_deref())?;
    let roots = Roots::default();
    let hal = Hal::open(&config.hal, &roots);
    let Some(stay) = stay else {
        return undo(&config.notice(), hal);
    };
    let locale = arguments.locale.or_else(|| system_locale(&roots.etc));
    let setup = Setup {
        notice: config.notice(),
        actor_socket: config.actor_socket(),
        etc: roots.etc,
        phone: Phone {
            locale: locale.unwrap_or_default(),
            fonts: folders,
            emergency: config.emergency(),
        },
        stay,
    };
    run(&setup, hal, ends)
}

/// Before the disk is open there is neither a configuration nor a notice but the copy.
fn before_passphrase(
    copy: PathBuf,
    patience: Duration,
    config: Option<PathBuf>,
    locale: Option<String>,
) -> Result<(), Error> {
    let Some(notice) = before::read(&copy)? else {
        return Ok(());
    };
    let ends = block_signals()?;
    let config = Config::read(config.as_deref())?;
    let roots = Roots::default();
    let shown = Before {
        notice,
        patience,
        locale: locale
            .or_else(|| system_locale(&roots.etc))
            .unwrap_or_default(),
        fonts: fonts::FOLDERS.map(PathBuf::from).into(),
        clock: Clock::of_system(&roots.etc),
    };
    shown.write(&mut std::io::stdout())?;
    shown.show(Hal::open(&config.hal, &roots), ends)
}

fn patience(seconds: &str) -> Result<Duration, String> {
    match seconds.parse() {
        Ok(seconds @ 1..=600) => Ok(Duration::from_secs(seconds)),
        _ => Err("--for takes 1 to 600 seconds".into()),
    }
}

/// From systemd's file, or from Debian's and Alpine's older ones.
fn system_locale(etc: &Path) -> Option<String> {
    ["locale.conf", "default/locale", "profile.d/locale.sh"]
        .into_iter()
        .filter_map(|file| std::fs::read_to_string(etc.join(file)).ok())
        .find_map(|text| language::locale_of(&text))
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments {
        wanted: Wanted::Show(Stay::OneNotice),
        config: None,
        locale: None,
        patience: before::PATIENCE,
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--help" | "-h" => arguments.wanted = Wanted::Help,
            "--resident" => arguments.wanted = Wanted::Show(Stay::Resident),
            "--undo" => arguments.wanted = Wanted::Undo,
            "--config" => arguments.config = Some(value()?.into()),
            "--locale" => arguments.locale = Some(value()?),
            "--before-passphrase" => arguments.wanted = Wanted::Before(value()?.into()),
            "--for" => arguments.patience = patience(&value()?)?,
            "--can-show" => arguments.wanted = Wanted::CanShow(value()?),
            _ => return Err(format!("there is no argument `{word}`")),
        }
    }
    Ok(arguments)
}
