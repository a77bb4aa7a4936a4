//! `cargo xtask qemu`: the stories of tests/qemu, in an emulated phone. Prepares what they start; the stories themselves are ordinary tests.

mod guest;
mod mixer;
mod modules;

use crate::arm::target::Target;
use crate::arm::{self, Profile, Way};
use crate::check;
use crate::house;
use crate::image;
use crate::tools::{self, Tool};
use std::ffi::OsString;

static QEMU: [Tool; 1] = [Tool {
    program: "qemu-system-aarch64",
    variable: "HOMING_TEST_QEMU",
    package: "qemu-system-arm",
}];

/// Names and values, most of them paths.
pub(crate) type Variables = Vec<(&'static str, OsString)>;

/// Which stories are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stories {
    /// The one that stands for all in every run of the tests.
    First,
    /// Every one.
    All,
}

/// Whether the stories can be told here.
#[derive(Debug)]
pub(crate) enum Stage {
    /// What they need, as variables of their environment.
    Ready(Variables),
    /// What cannot be had here, as one sentence.
    Missing(String),
}

impl Stage {
    /// The variables, or the one that tells each story why it is skipped.
    pub(crate) fn variables(&self) -> Variables {
        match self {
            Self::Ready(variables) => variables.clone(),
            Self::Missing(reason) => vec![("HOMING_TEST_GUEST_REASON", reason.into())],
        }
    }
}

/// `cargo xtask qemu [STORY...]`: with the very binary that phones get.
///
/// # Errors
/// Something is missing (which is a failure here, where `test` only says it skipped), or a story failed.
pub(crate) fn run(stories: &[String]) -> Result<(), String> {
    if let Some(flag) = stories.iter().find(|story| story.starts_with('-')) {
        return Err(format!("qemu takes names of stories, not {flag:?}"));
    }
    let found = tools::provide(&tools::TOOLS)?;
    let stage = provide(Profile::Phone, Stories::All)?;
    if let Stage::Missing(reason) = stage {
        return Err(reason);
    }
    check::build()?;
    house::announce("the stories in the emulated phone");
    let mut command = house::cargo();
    command
        .args(["test", "--locked", "--workspace", "--test", "qemu"])
        // Two at a time: an emulated phone's start keeps one core busy.
        .args(["--", "--nocapture", "--test-threads=2"])
        .args(stories)
        .envs(&found)
        .envs(stage.variables());
    house::run("a story", &mut command)
}

/// Unpacks what the guest is made of and builds our program for it.
///
/// # Errors
/// Only that our program does not build: whatever else is missing makes a [`Stage::Missing`].
pub(crate) fn provide(profile: Profile, stories: Stories) -> Result<Stage, String> {
    let target = &arm::target::TARGETS[0];
    let (way, mut variables) = match foreign(target) {
        Ok(found) => found,
        Err(reason) => return Ok(Stage::Missing(reason)),
    };
    // A crate that cannot be had is the network's fault; one that does not build is ours.
    if let Err(reason) = arm::fetch(&way, target) {
        return Ok(Stage::Missing(reason));
    }
    if stories == Stories::All {
        // The image has it, beside homingd.
        arm::build(&way, target, profile, &[arm::SCREEN])?;
    }
    let built = arm::build(&way, target, profile, &[arm::HOMINGD])?;
    for program in &built {
        variables.push(("HOMING_TEST_GUEST_HOMINGD", program.into()));
        if profile == Profile::Phone {
            variables.push(("HOMING_TEST_GUEST_IS_PHONES", "yes".into()));
        }
        if stories == Stories::All {
            variables.push(("HOMING_TEST_GUEST_ALL", "yes".into()));
            variables.extend(image::stage(program)?);
        }
    }
    Ok(Stage::Ready(variables))
}

/// Everything that is not ours: QEMU, what the guest is made of, a compiler.
fn foreign(target: &'static Target) -> Result<(Way, Variables), String> {
    if house::program("mke2fs").is_none() {
        return Err("mke2fs (package e2fsprogs) is not here to make the guest's disk".into());
    }
    let mut variables: Variables = tools::provide(&QEMU)?
        .into_iter()
        .map(|(name, path)| (name, path.into_os_string()))
        .collect();
    let guest = guest::provide()?;
    mixer::provide(&guest)?;
    variables.push(("HOMING_TEST_GUEST", guest.into_os_string()));
    Ok((arm::find(target)?, variables))
}
