//! `cargo xtask arm`: one static program for a phone's processor. Installs nothing; what it needs lies under target/arm.

pub(crate) mod target;
mod toolchain;

use crate::house;
use std::path::{Path, PathBuf};
use target::Target;

pub(crate) use toolchain::{Way, find, folder};

/// A profile of Cargo.toml.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// What phones get.
    Phone,
    /// The same without the long optimisation of the whole program, for tests that only need it to run on ARM.
    Quick,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::Quick => "phone-quick",
        }
    }
}

/// A program of ours: the package and the binary.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    pub(crate) package: &'static str,
    pub(crate) binary: &'static str,
}

/// What runs on the phone.
pub(crate) const HOMINGD: Program = Program {
    package: "homingd",
    binary: "homingd",
};

/// What a phone shows while it is lost.
pub(crate) const SCREEN: Program = Program {
    package: "homing-screen",
    binary: "homing-lost-screen",
};

/// `cargo xtask arm [--target aarch64|armv7]`.
///
/// # Errors
/// A wrong argument, no compiler to be had, or a failed build.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let target = match arguments {
        [] => &target::TARGETS[0],
        [flag, name] if flag == "--target" => target::by_name(name)?,
        _ => {
            return Err(format!(
                "arm takes --target NAME or nothing, not {arguments:?}"
            ));
        }
    };
    let way = toolchain::find(target)?;
    println!("{}", sized(&phones(&way, target)?)?);
    println!(
        "{}",
        sized(&built(target, Profile::Phone).join(SCREEN.binary))?
    );
    Ok(())
}

fn sized(path: &Path) -> Result<String, String> {
    Ok(format!("{} ({})", path.display(), size(path)?))
}

/// Both programs that a phone gets, as phones get them; returns homingd, beside which the lost phone's screen lies. One after the
/// other: together they would share the features of both, and be other programs than alone.
///
/// # Errors
/// As [`build`].
pub(crate) fn phones(way: &Way, target: &Target) -> Result<PathBuf, String> {
    build(way, target, Profile::Phone, &[SCREEN])?;
    build(way, target, Profile::Phone, &[HOMINGD])?
        .pop()
        .ok_or_else(|| "a build without a result".into())
}

/// Brings along every crate that a build for a target needs, those of the standard library included.
///
/// # Errors
/// One sentence: what cargo said last.
pub(crate) fn fetch(way: &Way, target: &Target) -> Result<(), String> {
    house::output(
        &format!("bringing along the crates for {}", target.name),
        &mut way.cargo(target, "fetch"),
    )
    .map(drop)
}

/// Builds programs for a target; returns their files in the same order.
///
/// # Errors
/// The build failed; cargo has said why.
pub(crate) fn build(
    way: &Way,
    target: &Target,
    profile: Profile,
    programs: &[Program],
) -> Result<Vec<PathBuf>, String> {
    let names: Vec<&str> = programs.iter().map(|program| program.binary).collect();
    house::announce(&format!(
        "build: {} for {}, with {}",
        names.join(", "),
        target.triple,
        way.describe()
    ));
    let mut cargo = way.cargo(target, "build");
    cargo.args(["--profile", profile.name()]);
    for program in programs {
        cargo.args(["--package", program.package, "--bin", program.binary]);
    }
    house::run(&format!("the build for {}", target.name), &mut cargo)?;
    let built = built(target, profile);
    let files: Vec<PathBuf> = names.iter().map(|name| built.join(name)).collect();
    if profile == Profile::Phone {
        for file in files.iter().filter(|file| file.ends_with(HOMINGD.binary)) {
            fits(file, bytes_of(file)?)?;
        }
    }
    Ok(files)
}

/// What homingd may take of a phone's storage, bytes.
const MOST_BYTES: u64 = 6_000_000;

fn fits(path: &Path, bytes: u64) -> Result<(), String> {
    if bytes <= MOST_BYTES {
        return Ok(());
    }
    Err(format!(
        "{} has {bytes} bytes; a phone's homingd must not have more than {MOST_BYTES}",
        path.display()
    ))
}

fn bytes_of(path: &Path) -> Result<u64, String> {
    std::fs::metadata(path)
        .map(|data| data.len())
        .map_err(|error| format!("could not read {}: {error}", path.display()))
}

/// Where the programs of a build for a target lie.
pub(crate) fn built(target: &Target, profile: Profile) -> PathBuf {
    folder()
        .join("build")
        .join(target.triple)
        .join(profile.name())
}

fn size(path: &Path) -> Result<String, String> {
    // In thousands of bytes, so that no rounding hides a step over the limit of 6 MB.
    Ok(format!("{} kB", bytes_of(path)?.div_ceil(1000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phones_program_of_more_than_six_megabytes_is_a_failed_build() {
        let path = Path::new("homingd");
        assert_eq!(fits(path, MOST_BYTES), Ok(()));
        let refused = fits(path, MOST_BYTES + 1).unwrap_err();
        assert!(refused.contains("6000001"), "{refused}");
    }
}
