//! The command line: every command and flag of homing(1), and nothing about how they are carried out.
use crate::duration::Span;
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use std::path::PathBuf;

/// Find your Linux phone: locate it and make it ring.
#[derive(Parser)]
#[command(name = "homing", version, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done, 64 usage, 69 the phone refused or failed, 70 bug, 74 input/output or network, 75 no answer yet (the order stays queued; ring then ends with 0, its order is safe), 77 permission or wrong passphrase or password, 78 state or file not usable. See homing(1)."
)]
pub(crate) struct Cli {
    /// Flags that every command takes.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes.
#[derive(Args)]
pub(crate) struct Global {
    /// Folder that holds the account [default: $XDG_DATA_HOME/homing or ~/.local/share/homing]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Print JSON: one object, or one object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Read the passphrase from this open file descriptor instead of asking
    #[arg(long, global = true, value_name = "N")]
    pub(crate) passphrase_fd: Option<u32>,
    /// For tests: this machine's clock is off by so many seconds
    #[arg(
        long,
        global = true,
        hide = true,
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    pub(crate) clock_offset: Option<i64>,
    /// For tests: by how many seconds the clock is off stands in this file, and changes with it
    #[arg(long, global = true, hide = true, value_name = "FILE")]
    pub(crate) clock_offset_from: Option<PathBuf>,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Start a new account: keys, household certificates, recovery kit
    Init(Init),
    /// Add, show, rename or revoke a phone
    #[command(subcommand)]
    Device(Device),
    /// List the phones
    Devices,
    /// Let another machine or a delegate take part, or put one out
    #[command(subcommand)]
    Client(Client),
    /// List the clients: who may order and read what
    Clients,
    /// Ask where a phone is
    Locate(Locate),
    /// Let a phone sound its siren, or stop it
    Ring(Ring),
    /// Lock a lost phone and show a message on it, or end that
    Lost(Lost),
    /// Show where a phone has been
    Track(Track),
    /// Show every order to a phone with its states and times
    Log(Log),
    /// Let a phone count on after its state was set back to an older one
    Resume(Resume),
    /// Stay resident: deliver orders, store what the phones report
    Watch(Watch),
    /// Show the account, what is queued, and what needs attention
    Status,
    /// The archive: backups of folders, without any phone
    #[command(flatten)]
    Archive(crate::archive::args::Archive),
    /// Write the recovery kit file again
    Kit(Kit),
    /// Bring the account back on this machine from the recovery kit
    Recover(Recover),
    /// Print shell completions
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// `homing init`.
#[derive(Args)]
pub(crate) struct Init {
    /// Where phones and owners meet
    #[arg(long, value_name = "mqtts://HOST:PORT")]
    pub(crate) broker: String,
    /// Certificate authority (PEM) of a broker that has its certificate already; without it the household's own authority issues one
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Where the recovery kit file goes
    #[arg(long, value_name = "FILE", default_value = "homing-recovery-kit.json")]
    pub(crate) kit_out: PathBuf,
}

/// `homing device …`.
#[derive(Subcommand)]
pub(crate) enum Device {
    /// Make the bundle with which a phone joins the account
    Add {
        /// What to call the phone
        name: String,
        /// Where the bundle goes; it holds a private key and a one-time secret
        #[arg(long, value_name = "BUNDLE")]
        out: PathBuf,
        /// Wait until the phone has joined [default when given without a value: 15m]
        #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "15m")]
        wait: Option<Span>,
        /// How long the phone keeps its movement history: off, 7d, 30d or 365d
        #[arg(long, value_name = "DURATION", default_value = "30d")]
        history: History,
        /// NAME is a phone of the account that joins once more, wiped or in another body: it keeps name and history; every older order, bundle and certificate of it is dead
        #[arg(long)]
        again: bool,
        /// With --again: do not ask, although the phone was heard of within a day
        #[arg(long, requires = "again")]
        yes: bool,
    },
    /// Show one phone in full
    Show {
        /// Name or id
        name: String,
    },
    /// Call a phone something else
    Rename {
        /// Name or id
        name: String,
        /// The new name
        new_name: String,
    },
    /// Sign the keys of a phone that has claimed its bundle while nobody waited
    Accept {
        /// Name or id
        name: String,
        /// How long to wait until the phone has heard of it
        #[arg(long, value_name = "DURATION", default_value = "60s")]
        wait: Span,
    },
    /// End a phone's membership: certificate revoked, nothing more sent or believed
    #[command(visible_alias = "remove")]
    Revoke {
        /// Name or id
        name: String,
    },
}

/// `homing client …`.
#[derive(Subcommand)]
pub(crate) enum Client {
    /// On a new machine: make its keys and ask the owner to add it
    Request {
        /// Where the request goes; it holds nothing secret
        #[arg(long, value_name = "REQUEST", default_value = "homing-client-request")]
        out: PathBuf,
        /// What to call this machine [default: its host name]
        #[arg(long)]
        name: Option<String>,
    },
    /// Add the machine that asks: one of yours, or with --can a delegate's
    Add {
        /// The request file
        request: PathBuf,
        /// A delegate may do only this: locate,ring,message,lost,cancel,read-location
        #[arg(long, value_name = "CAPABILITIES")]
        can: Option<String>,
        /// What to call it [default: what it calls itself]
        #[arg(long)]
        name: Option<String>,
        /// Where the answer goes; only the machine that asked can open it
        #[arg(long, value_name = "ANSWER", default_value = "homing-client-answer")]
        out: PathBuf,
    },
    /// On the new machine: take up the owner's answer
    Accept {
        /// The answer file
        answer: PathBuf,
    },
    /// Give a delegate a phone that joined after it: it may reach it then as it may reach the others
    Grant {
        /// The delegate: its id, the beginning of it, or its name
        id: String,
        /// The phone: name or id
        phone: String,
    },
    /// The same as `homing clients`
    List,
    /// Put a client out: no rights, no reading, certificate revoked
    Revoke {
        /// Its id, the beginning of it, or its name
        #[arg(required_unless_present = "all_others")]
        id: Option<String>,
        /// Every client but this machine, whatever lists other machines have made: they are gone
        #[arg(long, conflicts_with = "id")]
        all_others: bool,
    },
}

/// How long a phone keeps its movement history (02: off, 7, 30 or 365 days).
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum History {
    /// Keeps none.
    #[value(name = "off")]
    Off,
    /// A week.
    #[value(name = "7d")]
    Week,
    /// A month.
    #[value(name = "30d")]
    Month,
    /// A year.
    #[value(name = "365d")]
    Year,
}

impl History {
    /// Days, 0 for off.
    pub(crate) const fn days(self) -> u16 {
        match self {
            Self::Off => 0,
            Self::Week => 7,
            Self::Month => 30,
            Self::Year => 365,
        }
    }
}

/// How `homing track` writes a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TrackFormat {
    /// Columns for people.
    Table,
    /// One object a line.
    Json,
    /// GPX 1.1.
    Gpx,
    /// RFC 7946.
    Geojson,
}

/// `homing track`.
#[derive(Args)]
pub(crate) struct Track {
    /// Name or id
    pub(crate) name: String,
    /// How far back
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    pub(crate) since: Span,
    /// How to write it
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub(crate) format: TrackFormat,
    /// Write it to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// How long to wait for positions that are not here yet
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub(crate) wait: Span,
}

/// `homing locate`.
#[derive(Args)]
pub(crate) struct Locate {
    /// Name or id
    pub(crate) name: String,
    /// How long to wait for the answer
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub(crate) wait: Span,
    /// Only print the last position known here; nothing is sent
    #[arg(long, conflicts_with = "wait")]
    pub(crate) last: bool,
}

/// `homing ring`.
#[derive(Args)]
pub(crate) struct Ring {
    /// Name or id
    pub(crate) name: String,
    /// How long it sounds, at most 1h
    #[arg(long = "for", value_name = "DURATION", default_value = "5m")]
    pub(crate) sound_for: Span,
    /// Drop the order when the phone comes back only after this time
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    pub(crate) within: Span,
    /// Stop the siren, also one that has not been delivered yet
    #[arg(long, conflicts_with_all = ["sound_for", "within"])]
    pub(crate) stop: bool,
    /// How long to wait until the phone says that it sounds (or is silent again); without an answer the order stays queued and the exit code is 0
    #[arg(long, value_name = "DURATION", default_value = "20s")]
    pub(crate) wait: Span,
}

/// `homing lost`.
#[derive(Args)]
pub(crate) struct Lost {
    /// Name or id
    pub(crate) name: String,
    /// What whoever finds the phone reads: one line, at most 160 bytes
    #[arg(long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// A telephone number under the message, at most 24 bytes
    #[arg(long, value_name = "NUMBER", requires = "message")]
    pub(crate) phone: Option<String>,
    /// Give the phone an unlock code that can be typed at it, and show it; asks for the passphrase. Without --message: show the code of the episode that is open
    #[arg(long, conflicts_with = "off")]
    pub(crate) show_code: bool,
    /// End lost mode; asks for the passphrase, and needs the phone's answer
    #[arg(long, conflicts_with_all = ["message", "phone"])]
    pub(crate) off: bool,
    /// How long to wait until the phone says that it is locked (or unlocked); without an answer the order to lock stays queued and the exit code is 0
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub(crate) wait: Span,
}

/// `homing log`.
#[derive(Args)]
pub(crate) struct Log {
    /// Name or id
    pub(crate) name: String,
    /// Go on printing as states change
    #[arg(long)]
    pub(crate) follow: bool,
    /// Also what this machine ordered by itself: to be given positions again
    #[arg(long)]
    pub(crate) all: bool,
}

/// `homing watch`.
#[derive(Args)]
#[group(multiple = false)]
pub(crate) struct Watch {
    /// Let your own systemd start it now and at each login, and keep it running
    #[arg(long)]
    pub(crate) install: bool,
    /// Stop it and take that back
    #[arg(long)]
    pub(crate) uninstall: bool,
    /// Say whether one runs, and how it is installed
    #[arg(long)]
    pub(crate) status: bool,
}

/// `homing resume`.
#[derive(Args)]
pub(crate) struct Resume {
    /// Name or id
    pub(crate) name: String,
    /// How long to wait for the phone
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub(crate) wait: Span,
}

/// `homing kit`.
#[derive(Args)]
pub(crate) struct Kit {
    /// Where the recovery kit file goes
    #[arg(long, value_name = "FILE", default_value = "homing-recovery-kit.json")]
    pub(crate) out: PathBuf,
    /// Also print the kit secret, as text and QR code (asks for the passphrase)
    #[arg(long)]
    pub(crate) show: bool,
}

/// `homing recover`.
#[derive(Args)]
pub(crate) struct Recover {
    /// The recovery kit file
    #[arg(long, value_name = "FILE")]
    pub(crate) kit: PathBuf,
    /// Use the recovery code from paper instead of the passphrase
    #[arg(long)]
    pub(crate) code: bool,
    /// Read the recovery code from this open file descriptor instead of asking
    #[arg(long, value_name = "N")]
    pub(crate) code_fd: Option<u32>,
    /// Take every right from the account's other command-line clients: their machine was lost
    #[arg(long)]
    pub(crate) revoke_others: bool,
    /// Do without the broker, with the keyring as it is in the kit file
    #[arg(long)]
    pub(crate) offline: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn secrets_have_no_flag_that_takes_them_as_text() {
        fn flags(command: &clap::Command, found: &mut Vec<String>) {
            found.extend(command.get_arguments().map(|arg| arg.get_id().to_string()));
            for sub in command.get_subcommands() {
                flags(sub, found);
            }
        }
        let mut found = Vec::new();
        flags(&Cli::command(), &mut found);
        for secret in ["passphrase", "kit_secret", "secret", "password"] {
            assert!(!found.iter().any(|flag| flag == secret), "{secret}");
        }
    }

    #[test]
    fn stopping_a_ring_takes_no_length() {
        assert!(Cli::try_parse_from(["homing", "ring", "p", "--stop", "--for", "1m"]).is_err());
        assert!(Cli::try_parse_from(["homing", "ring", "p", "--stop"]).is_ok());
    }

    #[test]
    fn global_flags_may_stand_before_or_after_the_command() {
        for line in [
            ["homing", "--json", "devices"],
            ["homing", "devices", "--json"],
        ] {
            assert!(Cli::try_parse_from(line).expect("parses").global.json);
        }
    }
}
