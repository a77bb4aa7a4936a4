//! The commands of homing(1), one file each: argument in, store and exchange moved, result printed. No cryptography of their own.

mod account;
mod client;
mod clients;
mod device;
pub(crate) mod find;
mod kit;
mod log;
mod lost;
pub(crate) mod position;
pub(crate) mod resident;
mod resume;
pub(crate) mod show;
mod table;
pub(crate) mod track;
mod unit;
mod watch;

use crate::archive;
use crate::args::{Cli, Command};
use crate::clock::{self, UnixMs};
use crate::error::Error;
use crate::exchange::{Acceptance, Exchange, Stay};
use crate::household::BrokerFiles;
use crate::output::{Format, Output, harmless};
use crate::passphrase::Source;
use crate::store::Store;
use clap::CommandFactory;
use homing_link::MqttLink;
use homing_protocol::command::Op;
use std::path::PathBuf;
use std::time::Duration;

/// How long a call that only shows things waits for news from the broker.
const GLANCE: Duration = Duration::from_secs(3);

/// Nothing new for this long after connecting: the broker has handed over what it kept.
const SILENCE_MS: i64 = 400;

/// What every command is given.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// Folder of the account.
    pub(crate) home: PathBuf,
    /// Where results go.
    pub(crate) out: Output,
    /// Where the passphrase comes from.
    pub(crate) passphrase: Source,
}

/// Orders that this machine gives by itself are told from a person's.
pub(crate) trait Housekeeping {
    /// Whether no person ordered it.
    fn is_housekeeping(&self) -> bool;
}

impl Housekeeping for Op {
    fn is_housekeeping(&self) -> bool {
        matches!(self, Op::ResendReports { .. })
    }
}

/// Carries out one command line.
pub(crate) fn run(cli: Cli) -> Result<(), Error> {
    if let Some(seconds) = cli.global.clock_offset {
        clock::simulate_offset(seconds);
    }
    if let Some(file) = cli.global.clock_offset_from {
        clock::simulate_offset_from(file);
    }
    let format = if cli.global.json {
        Format::Json
    } else {
        Format::Text
    };
    let passphrase = cli.global.passphrase_fd.into();
    let command = match cli.command {
        // It needs neither an account nor a home.
        Command::Archive(command) => {
            return archive::run(command, Output::new(format), passphrase);
        }
        other => other,
    };
    let home = cli.global.home.map_or_else(default_home, Ok)?;
    let context = Context {
        // It goes into the broker's configuration, which is read from anywhere.
        home: std::path::absolute(&home).map_err(|source| Error::Read { path: home, source })?,
        out: Output::new(format),
        passphrase,
    };
    if !matches!(
        command,
        Command::Init(_) | Command::Recover(_) | Command::Completions { .. }
    ) {
        match BrokerFiles::inside(&context.home).bring_access_up() {
            Ok(Some(advice)) => context.out.warn(&advice),
            Ok(None) => {}
            // Finding a phone must not wait for it; but it is said.
            Err(error) => context.out.warn(&error.to_string()),
        }
    }
    match command {
        Command::Archive(command) => archive::run(command, context.out, passphrase),
        Command::Init(args) => account::init(&context, &args),
        Command::Device(args) => device::run(&context, args),
        Command::Devices => show::devices(&context),
        Command::Client(args) => client::run(&context, args),
        Command::Clients => clients::list(&context),
        Command::Locate(args) => find::locate(&context, &args),
        Command::Ring(args) => find::ring(&context, &args),
        Command::Lost(args) => lost::run(&context, &args),
        Command::Track(args) => track::run(&context, &args),
        Command::Log(args) => log::run(&context, &args),
        Command::Resume(args) => resume::run(&context, &args),
        Command::Watch(args) => watch::run(&context, &args),
        Command::Status => show::status(&context),
        Command::Kit(args) => kit::run(&context, &args),
        Command::Recover(args) => account::recover(&context, &args),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "homing", &mut text);
            std::io::Write::write_all(&mut std::io::stdout(), &text).map_err(Error::Print)
        }
    }
}

/// `$XDG_DATA_HOME/homing`, else `~/.local/share/homing` (XDG base directory specification).
fn default_home() -> Result<PathBuf, Error> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
    base.map(|base| base.join("homing")).ok_or_else(|| {
        Error::Usage(
            "neither XDG_DATA_HOME nor HOME is set; name the folder with --home DIR".into(),
        )
    })
}

/// `$XDG_CACHE_HOME`, else `~/.cache` (XDG base directory specification).
pub(crate) fn cache_folder() -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))
}

/// A relative `XDG_CACHE_HOME`, which the specification tells programs to ignore: whoever set it should hear of that.
pub(crate) fn ignored_cache_home() -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("XDG_CACHE_HOME")?);
    (path.is_relative() && !path.as_os_str().is_empty()).then_some(path)
}

/// Runs something that waits, on this one thread.
pub(crate) fn waiting<R>(future: impl Future<Output = Result<R, Error>>) -> Result<R, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.map_err(Error::Runtime)?.block_on(future)
}

/// Meets the broker for a moment: sends what is queued, stores what it kept. Without a connection it says why and the call goes on with what is known here.
pub(crate) fn glance(context: &Context, store: Store) -> Result<Store, Error> {
    waiting(async {
        let mut exchange = Exchange::start(store, Stay::Call, Acceptance::Locked)?;
        catch_up(&mut exchange, GLANCE).await?;
        if !exchange.is_connected() {
            let why = exchange
                .trouble()
                .unwrap_or("no answer from the broker")
                .to_owned();
            context.out.warn(&format!(
                "not connected ({why}); showing what is known here"
            ));
        }
        tell_impostors(context, &mut exchange);
        exchange.close().await?;
        Ok(exchange.into_unlocked().0)
    })
}

/// Warns when something came under a phone's name that the phone did not sign. It was not believed, and the warning is all that remains of it.
pub(crate) fn tell_impostors(context: &Context, exchange: &mut Exchange<MqttLink>) {
    for device in exchange.new_impostors() {
        let name = exchange.store.device(device).ok().flatten();
        let name = name.map_or_else(|| device.to_string(), |row| harmless(&row.name));
        context.out.warn(&format!(
            "something under the name of {name} was not signed by it and is ignored; somebody else may have its certificate, or the broker"
        ));
    }
}

/// Turns until the broker has handed over what it kept, an attempt to connect failed, or `within` has passed.
pub(crate) async fn catch_up(
    exchange: &mut Exchange<MqttLink>,
    within: Duration,
) -> Result<(), Error> {
    let mut quiet_since: Option<(UnixMs, i64)> = None;
    exchange
        .until(within, |it| {
            if !it.is_connected() {
                return Ok(it.trouble().is_some().then_some(()));
            }
            let (now, newest) = (UnixMs::now(), it.store.newest_news()?);
            match quiet_since {
                Some((since, known))
                    if known == newest && it.is_quiet() && !it.is_about_to_ask()? =>
                {
                    Ok((now.0 - since.0 >= SILENCE_MS).then_some(()))
                }
                _ => {
                    quiet_since = Some((now, newest));
                    Ok(None)
                }
            }
        })
        .await?;
    Ok(())
}
