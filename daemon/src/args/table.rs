//! The table of subcommands and flags, from which parsing and help are made; it must not hold code.

/// A subcommand's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// `homingd agent`
    Agent,
    /// `homingd actor`
    Actor,
    /// `homingd enrol`
    Enrol,
    /// `homingd leave`
    Leave,
    /// `homingd pin`
    Pin,
    /// `homingd ledger`
    Ledger,
    /// `homingd status`
    Status,
    /// `homingd siren`
    Siren,
    /// `homingd reserve`
    Reserve,
    /// `homingd check-config`
    CheckConfig,
    /// `homingd doctor`
    Doctor,
}

/// A subcommand.
#[derive(Debug)]
pub struct Subcommand {
    /// Which one.
    pub name: Name,
    /// Its word on the command line.
    pub word: &'static str,
    /// What it does, in one line of the overview.
    pub summary: &'static str,
    /// Its operands as the synopsis shows them; empty when it takes none.
    pub operands: &'static str,
    /// How many operands it needs.
    pub least_operands: usize,
    /// How many operands it takes at most.
    pub most_operands: usize,
    /// What its help says below the synopsis, in lines of at most 80 characters.
    pub about: &'static str,
    /// Its own flags.
    pub flags: &'static [Flag],
}

/// A flag.
#[derive(Debug)]
pub struct Flag {
    /// With its dashes.
    pub name: &'static str,
    /// What its value is, such as `FILE`; `None` for a switch.
    pub value: Option<&'static str>,
    /// What it does, in one line.
    pub summary: &'static str,
}

/// The flags of every subcommand, besides `--help` and `--version`.
pub static COMMON: [Flag; 2] = [
    Flag {
        name: "--config",
        value: Some("FILE"),
        summary: "read FILE instead of /etc/homing/homingd.toml",
    },
    Flag {
        name: "--allow-simulator",
        value: None,
        summary: "accept hal.backend = \"sim\"",
    },
];

/// Agent and siren of one phone live on one clock.
const CLOCK_RATE: Flag = Flag {
    name: "--clock-rate",
    value: Some("TIMES"),
    summary: "for tests: the clock since boot goes so much faster",
};

const JSON: Flag = Flag {
    name: "--json",
    value: None,
    summary: "print one JSON object",
};

const CRASH_AT: Flag = Flag {
    name: "--crash-at",
    value: Some("N"),
    summary: "for tests: cut the power at the Nth point",
};

/// Every subcommand, in the order of the overview.
pub static SUBCOMMANDS: [Subcommand; 11] = [
    Subcommand {
        name: Name::Agent,
        word: "agent",
        summary: "connect to the broker and carry out the owner's orders",
        operands: "",
        least_operands: 0,
        most_operands: 0,
        about: "The only process with a network. It writes every order down before it
acknowledges or acts, answers each, and goes on where it was after a restart.
It must have joined an account: see enrol.",
        flags: &[
            CRASH_AT,
            Flag {
                name: "--clock-offset",
                value: Some("SECONDS"),
                summary: "for tests: the wall clock is off by so much",
            },
            CLOCK_RATE,
        ],
    },
    Subcommand {
        name: Name::Actor,
        word: "actor",
        summary: "lock the phone and give it back, on signed orders alone",
        operands: "",
        least_operands: 0,
        most_operands: 0,
        about: "The privileged half: it has no network, and takes from the agent only what an
owner has signed, which it checks again by its own memory. Started by its socket
unit when the agent or the lost screen asks; while the phone is in lost mode it
stays, and keeps it locked.",
        flags: &[CLOCK_RATE],
    },
    Subcommand {
        name: Name::Enrol,
        word: "enrol",
        summary: "join an account with a bundle from its owner",
        operands: "BUNDLE",
        least_operands: 1,
        most_operands: 1,
        about: "Shows what the owner will be able to do, asks the person at the phone, records
their consent and makes the phone's keys. The agent then claims the bundle; the
first claim of a bundle wins. A phone that has joined takes a bundle of the same
phone with a higher enrolment number; whatever was ordered before is dead then.",
        flags: &[
            CRASH_AT,
            Flag {
                name: "--yes",
                value: None,
                summary: "the person at the phone has agreed: do not ask",
            },
            Flag {
                name: "--retention-days",
                value: Some("DAYS"),
                summary: "keep positions for so long; 0 keeps none",
            },
        ],
    },
    Subcommand {
        name: Name::Leave,
        word: "leave",
        summary: "take this phone out of its account",
        operands: "NAME",
        least_operands: 1,
        most_operands: 1,
        about: "NAME is what the phone is called in the account (homingd status), typed to be
sure. Tells the owner, then removes keys, positions, orders and ledger. The
agent must be stopped. Needs root, or the agent's user.",
        flags: &[
            CRASH_AT,
            Flag {
                name: "--untold",
                value: None,
                summary: "leave even if the owner cannot be told now",
            },
        ],
    },
    Subcommand {
        name: Name::Pin,
        word: "pin",
        summary: "set or check the Homing PIN",
        operands: "set|check",
        least_operands: 1,
        most_operands: 1,
        about: "The Homing PIN is known to the person who carries the phone alone. Whoever
removes the package from a phone that belongs to an account is asked for it. It
is typed without being shown, or read as a line of the input; set asks for the
present one first, then twice for the new one. Needs root, or the agent's user.",
        flags: &[],
    },
    Subcommand {
        name: Name::Ledger,
        word: "ledger",
        summary: "list every order this phone ever received",
        operands: "",
        least_operands: 0,
        most_operands: 0,
        about: "Prints each order and how it ended, oldest first, and fails when the list was
changed by hand. With --json one object a line.",
        flags: &[JSON],
    },
    Subcommand {
        name: Name::Status,
        word: "status",
        summary: "tell whether this phone has joined and reaches its broker",
        operands: "",
        least_operands: 0,
        most_operands: 0,
        about: "Prints the account, the fingerprint, the connection, open orders, and how often
messages were refused and why.",
        flags: &[JSON],
    },
    Subcommand {
        name: Name::Siren,
        word: "siren",
        summary: "sound while the agent's intent file asks for it",
        operands: "",
        least_operands: 0,
        most_operands: 0,
        about: "Sounds at full loudness while STATE_DIR/siren/intent.json stands, until the
deadline written there. Without an intent it ends at once, so that a path unit
can start it; it goes on when the agent dies.",
        flags: &[
            Flag {
                name: "--resident",
                value: None,
                summary: "wait for the next intent instead of ending",
            },
            CLOCK_RATE,
        ],
    },
    Subcommand {
        name: Name::Reserve,
        word: "reserve",
        summary: "let the logged-in user's sound server give the loudspeaker up",
        operands: "",
        least_operands: 0,
        most_operands: 0,
        about: "Runs in a user's session, started by its manager when the siren claims a sound
card: asks PipeWire's session manager or PulseAudio for the card over the
session's bus, keeps it from them while the claim stands, and ends.",
        flags: &[],
    },
    Subcommand {
        name: Name::CheckConfig,
        word: "check-config",
        summary: "check the configuration and name every fault",
        operands: "[FILE...]",
        least_operands: 0,
        most_operands: usize::MAX,
        about: "Checks the configuration that the other subcommands would use, or each FILE
alone. Prints OK for each, or every fault with its file, line and key.",
        flags: &[],
    },
    Subcommand {
        name: Name::Doctor,
        word: "doctor",
        summary: "tell what this phone can do and what is weak",
        operands: "",
        least_operands: 0,
        most_operands: 0,
        about: "Asks every driver what it finds on this phone, tells which one each feature
would use, and lists what is weak and why. Changes nothing.",
        flags: &[JSON],
    },
];
