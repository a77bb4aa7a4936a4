//! What is done with bytes that nobody vouched for, one function for each kind: run by libFuzzer (`cargo xtask fuzz`) and, over the committed corpora, by an ordinary test. A body panics when a promise is broken; it must not print, sleep or use a network.
#![forbid(unsafe_code)]

#[cfg(feature = "archive")]
mod archive;
mod body;
#[cfg(feature = "daemon")]
mod daemon;
mod household;
mod messages;
mod words;

/// One target: its name, which is that of its corpus, and its body.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name, also of `fuzz/corpus/NAME`.
    pub name: &'static str,
    /// What is done with the bytes.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target {
        name: "cbor",
        run: words::cbor,
    },
    Target {
        name: "envelope",
        run: words::envelope,
    },
    Target {
        name: "texts",
        run: words::texts,
    },
    Target {
        name: "journal",
        run: words::journal,
    },
    Target {
        name: "actor",
        run: words::actor,
    },
    Target {
        name: "keyring",
        run: messages::keyring,
    },
    Target {
        name: "authority",
        run: messages::authority,
    },
    Target {
        name: "key_set",
        run: messages::key_set,
    },
    Target {
        name: "messages",
        run: messages::any,
    },
    Target {
        name: "gpsd",
        run: body::gpsd,
    },
    Target {
        name: "control_socket",
        run: body::control_socket,
    },
    #[cfg(feature = "daemon")]
    Target {
        name: "config",
        run: daemon::config,
    },
    #[cfg(feature = "daemon")]
    Target {
        name: "siren_intent",
        run: daemon::siren_intent,
    },
    #[cfg(feature = "archive")]
    Target {
        name: "archive_config",
        run: archive::config,
    },
    #[cfg(feature = "archive")]
    Target {
        name: "archive_key",
        run: archive::key,
    },
    #[cfg(feature = "archive")]
    Target {
        name: "archive_pack_header",
        run: archive::pack_header,
    },
    #[cfg(feature = "archive")]
    Target {
        name: "archive_index",
        run: archive::index,
    },
    #[cfg(feature = "archive")]
    Target {
        name: "archive_tree",
        run: archive::tree,
    },
    #[cfg(feature = "archive")]
    Target {
        name: "archive_snapshot",
        run: archive::snapshot,
    },
    #[cfg(feature = "archive")]
    Target {
        name: "archive_lock",
        run: archive::lock,
    },
    #[cfg(feature = "archive")]
    Target {
        name: "archive_listing",
        run: archive::listing,
    },
];

/// Runs the target of this name.
///
/// # Panics
/// When there is none, or its body finds a broken promise.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    let target = target.unwrap_or_else(|| panic!("there is no fuzz target {name:?}"));
    (target.run)(bytes);
}
