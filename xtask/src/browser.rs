//! Finds Chromium and its driver for the stories told in a browser, and installs Debian's packages where that is allowed. It starts neither.

use crate::house;
use std::ffi::OsString;
use std::process::Command;

/// Debian's packages; the driver is of the same build as the browser.
const PACKAGES: [&str; 2] = ["chromium", "chromium-driver"];

/// The programs with the variables that tell the tests where they are.
const PROGRAMS: [(&str, &str); 2] = [
    ("chromium", "HOMING_TEST_CHROMIUM"),
    ("chromedriver", "HOMING_TEST_CHROMEDRIVER"),
];

/// Variables for the tests: where both programs are, or the one that says why the stories are skipped.
///
/// Unpacking beside the project, as for the other tools, does not do: a browser looks for its fonts and parts in the system.
pub(crate) fn provide() -> Vec<(&'static str, OsString)> {
    find().or_else(|| install().and_then(|()| find())).unwrap_or_else(|| {
        let reason = format!(
            "a browser is not installed: `apt-get install {}` (Debian, Mobian), `apk add chromium chromium-chromedriver` \
             (Alpine, postmarketOS) or `pacman -S chromium` (Arch)",
            PACKAGES.join(" ")
        );
        house::skip(&format!("the stories told in a browser: {reason}"));
        vec![("HOMING_TEST_BROWSER_REASON", reason.into())]
    })
}

fn find() -> Option<Vec<(&'static str, OsString)>> {
    PROGRAMS
        .into_iter()
        .map(|(program, variable)| {
            let given = std::env::var_os(variable);
            let path = given.or_else(|| house::program(program).map(OsString::from))?;
            Some((variable, path))
        })
        .collect()
}

/// Only root on Debian may; a failure is no fault of the project's, and is told.
fn install() -> Option<()> {
    let user = house::output("asking who we are", Command::new("id").arg("-u"));
    if user.as_deref() != Ok("0") || house::program("apt-get").is_none() {
        return None;
    }
    house::announce(&format!("installing {} with apt-get", PACKAGES.join(", ")));
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .arg("-qq")
            .args(arguments);
        house::output("apt-get", &mut command)
    };
    // Lists that cannot be read anew may still do.
    if let Err(why) = apt(&["update"]) {
        eprintln!("{why}");
    }
    let arguments = [
        ["install", "-y", "--no-install-recommends"].as_slice(),
        &PACKAGES,
    ]
    .concat();
    apt(&arguments)
        .map_err(|why| eprintln!("{why}"))
        .ok()
        .map(drop)
}
