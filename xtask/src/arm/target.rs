//! The machines that are built for: one row each. Knows names, starts nothing.

/// One kind of phone processor, with the name that each party gives it.
#[derive(Debug)]
pub(crate) struct Target {
    /// As typed after `--target`.
    pub(crate) name: &'static str,
    /// Rust's name. musl, linked statically: the same file runs on Debian's and on Alpine's phones.
    pub(crate) triple: &'static str,
    /// Debian's name of the architecture.
    pub(crate) debian: &'static str,
    /// The prefix of Debian's cross tools, `PREFIX-gcc`.
    pub(crate) gnu: &'static str,
    /// The folder of musl's headers and libraries in Debian's musl-dev; also the prefix of a musl compiler.
    pub(crate) musl: &'static str,
}

/// Both kinds of phones; the first is the default.
pub(crate) static TARGETS: [Target; 2] = [
    Target {
        name: "aarch64",
        triple: "aarch64-unknown-linux-musl",
        debian: "arm64",
        gnu: "aarch64-linux-gnu",
        musl: "aarch64-linux-musl",
    },
    Target {
        name: "armv7",
        triple: "armv7-unknown-linux-musleabihf",
        debian: "armhf",
        gnu: "arm-linux-gnueabihf",
        musl: "arm-linux-musleabihf",
    },
];

/// Finds a target by its name or its triple.
///
/// # Errors
/// One sentence with the names there are.
pub(crate) fn by_name(name: &str) -> Result<&'static Target, String> {
    TARGETS
        .iter()
        .find(|target| target.name == name || target.triple == name || target.debian == name)
        .ok_or_else(|| {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            format!(
                "there is no target {name:?}; there are {}",
                names.join(" and ")
            )
        })
}

impl Target {
    /// A variable of cargo for this target, for example `CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER`.
    pub(crate) fn cargo_variable(&self, what: &str) -> String {
        let triple = self.triple.to_uppercase().replace('-', "_");
        format!("CARGO_TARGET_{triple}_{what}")
    }

    /// A variable of the crate `cc` for this target, for example `CC_aarch64_unknown_linux_musl`.
    pub(crate) fn cc_variable(&self, what: &str) -> String {
        format!("{what}_{}", self.triple.replace('-', "_"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_known_by_its_own_rusts_and_debians_name() {
        for name in ["armv7", "armv7-unknown-linux-musleabihf", "armhf"] {
            assert_eq!(by_name(name).unwrap().name, "armv7");
        }
        assert!(by_name("mips").unwrap_err().contains("aarch64 and armv7"));
    }

    #[test]
    fn variables_are_spelled_as_cargo_and_cc_read_them() {
        assert_eq!(
            TARGETS[0].cargo_variable("LINKER"),
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER"
        );
        assert_eq!(
            TARGETS[1].cc_variable("CFLAGS"),
            "CFLAGS_armv7_unknown_linux_musleabihf"
        );
    }
}
