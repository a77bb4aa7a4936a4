//! `cargo xtask`: what the house can do for a developer, in plain Rust. It must not hold anything the product itself needs.
#![forbid(unsafe_code)]

mod arm;
mod browser;
mod campaign;
mod check;
mod debian;
mod demo;
mod fuzz;
mod house;
mod image;
mod man;
mod package;
mod qemu;
mod supply;
mod tidy;
mod tools;
mod translator;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  test [FILTER...]   everything that must hold: tidy, format, clippy, build, tests, one story in the emulated phone
  ci [--full]        the same as test; --full all stories in the emulated phone, the release and the packages
  tidy               the project's own rules: who may depend on whom, headers, lengths, manual pages, features
  man                renders the manual pages in docs/man to target/man, for man(1)
  demo [--qemu]      the guided tour on this machine, with --qemu in an emulated phone; --once ends after it
  arm [--target T]   homingd for a phone's processor, static, in the profile for phones; T is aarch64 or armv7
  qemu [STORY...]    the stories of tests/qemu: homingd on ARM in an emulated phone, with a real gpsd and a real broker
  image [ARGS...]    a disk for a phone (arm64) that joins its account at the first start, in target/image
  package [ARGS...]  .deb packages and a tarball for amd64, arm64 or armhf, in target/package
  sbom PROGRAM       what homingd or homing is linked with: a software bill of materials (CycloneDX)
  bench [ARGS...]    the benchmarks against real peers, built for release
  campaign NAME      a long run of one harness; its result lies in docs/evidence
  fuzz TARGET        libFuzzer on one of the readers of foreign bytes (fuzz/); needs nothing but a C++ compiler
  tools              finds mosquitto and gpsd, else unpacks them under target/tools; prints where they are

cargo xtask COMMAND --help says more.";

/// A message for a person: one sentence that says what failed and what to do.
type Outcome = Result<(), String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        None => ("--help", &[][..]),
        Some((command, rest)) => (command.as_str(), rest),
    };
    match dispatch(command, rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: &str, rest: &[String]) -> Outcome {
    // The benchmark answers its own --help.
    if command == "campaign" && rest.iter().any(|argument| argument == "--help") {
        println!("{}", campaign::help());
        return Ok(());
    }
    if command != "bench"
        && rest
            .iter()
            .any(|argument| argument == "--help" || argument == "-h")
    {
        println!("{}", help_of(command));
        return Ok(());
    }
    match command {
        "--help" | "-h" | "help" => {
            println!("{HELP}");
            Ok(())
        }
        "test" => check::test(rest),
        "ci" => check::ci(rest),
        "tidy" => nothing_more(command, rest).and_then(|()| tidy::run()),
        "man" => nothing_more(command, rest).and_then(|()| man::run()),
        "demo" => demo::run(rest),
        "arm" => arm::run(rest),
        "qemu" => qemu::run(rest),
        "image" => image::run(rest),
        "package" => package::run(rest),
        "sbom" => supply::print(rest),
        "bench" => check::bench(rest),
        "campaign" => campaign::run(rest),
        "fuzz" => fuzz::run(rest),
        "tools" => nothing_more(command, rest).and_then(|()| tools::print()),
        other => Err(format!("there is no command {other:?}\n\n{HELP}")),
    }
}

fn nothing_more(command: &str, rest: &[String]) -> Outcome {
    match rest.first() {
        None => Ok(()),
        Some(extra) => Err(format!("{command} takes no argument, not {extra:?}")),
    }
}

fn help_of(command: &str) -> &'static str {
    match command {
        "test" => {
            "cargo xtask test [FILTER...]\n\n\
             Without a name: tidy, rustfmt --check, clippy with warnings denied, a build of every binary,\n\
             documentation tests, homingd for ARM, then all tests (cargo nextest where installed, else cargo test),\n\
             one of them in an emulated phone; where that cannot be prepared, the last line says why.\n\
             Some are told in Chromium, which root on Debian gets by apt-get; elsewhere they are skipped aloud.\n\
             With names: builds, then runs the tests whose path contains one of them."
        }
        "ci" => {
            "cargo xtask ci [--full]\n\n\
             The same as `cargo xtask test`; --full also builds the release binaries and the program that phones\n\
             get, tells all stories of tests/qemu with it, those of a whole system included, and installs,\n\
             upgrades, removes and purges the packages in a root of their own. Its last lines say what was\n\
             skipped and why. An hour or more, much of it Debian's part of the image, which is made once."
        }
        "man" => {
            "cargo xtask man\n\n\
             Renders docs/man/NAME.SECTION.md to target/man/NAME.SECTION, for man(1) and for packages."
        }
        "sbom" => {
            "cargo xtask sbom homingd|homing [TRIPLE]\n\n\
             Prints a software bill of materials (CycloneDX 1.6, JSON) of what is linked into a program, for this\n\
             machine or a target triple. The packages hold one each, and the licences of all of it."
        }
        "tidy" => {
            "cargo xtask tidy\n\n\
             Checks the project's own rules and lists every breach with file and line. Builds the three\n\
             programs first, because the manual pages are compared with what they print for --help."
        }
        "demo" => {
            "cargo xtask demo [--qemu] [--once]\n\n\
             A simulated phone is enrolled, located, rung and attacked, through a real mosquitto and a\n\
             real gpsd, on loopback and in one temporary directory. Afterwards it stays running until\n\
             Ctrl-C; --once ends after the tour, with an error code when a step failed.\n\
             --qemu shows a shorter tour with the ARM homingd in an emulated phone: the image of\n\
             `cargo xtask image`, made where it can be (root, Debian, mmdebstrap), else kernel and RAM disk."
        }
        "arm" => {
            "cargo xtask arm [--target aarch64|armv7]\n\n\
             Builds homingd for a phone as one static file (musl: the same for Debian's and Alpine's phones) and\n\
             prints where it is and its size. Uses the installed Rust where it has the target and there is a musl\n\
             compiler; else, on Debian, a compiler from Debian's packages unpacked under target/arm; else cross."
        }
        "qemu" => {
            "cargo xtask qemu [STORY...]\n\n\
             Boots Debian's arm64 kernel with homingd in QEMU (emulated, never KVM) and tells the stories of\n\
             tests/qemu; with names: those whose name contains one of them. QEMU, kernel, busybox and gpsd come\n\
             from Debian's packages, unpacked under target/tools and target/arm; nothing is installed."
        }
        "image" => {
            "cargo xtask image [--bundle FILE] [--from FOLDER]\n\n\
             Makes target/image/homing-arm64.img: Debian with systemd, gpsd, NetworkManager, ModemManager, PipeWire\n\
             and homingd, started by UEFI or U-Boot. --bundle puts an owner's bundle onto its boot partition and names\n\
             it homing-arm64-joins.img; --from takes homingd from a folder instead of building it. As root, on Debian,\n\
             with mmdebstrap; the system itself is made once, in five minutes or more. See docs/flashing.md."
        }
        "package" => {
            "cargo xtask package [--target amd64|arm64|armhf] [--from FOLDER] [--trial]\n\n\
             Builds homingd and homing for release and packs them: two .deb and a tarball with install.sh and\n\
             uninstall.sh, in target/package. amd64 uses this machine's Rust, the others what `arm` uses;\n\
             --from takes both programs from a folder instead of building them. --trial packs what was built\n\
             earlier (or lies in FOLDER) and tries it: lintian, and a life in a root of its own (as root, with\n\
             mmdebstrap; ARM programs by this kernel's binfmt_misc and QEMU)."
        }
        "fuzz" => {
            "cargo xtask fuzz TARGET [--seconds N]\n\n\
             Builds the target in fuzz/fuzz_targets with coverage, lets libFuzzer search for N seconds (60), keeps\n\
             the smallest corpus that reaches as much in fuzz/corpus, and adds the run to docs/evidence/fuzz.json."
        }
        "tools" => {
            "cargo xtask tools\n\n\
             Prints where mosquitto, its clients and gpsd are. Where they are missing and this is Debian,\n\
             downloads their packages and unpacks them under target/tools: nothing is installed, nothing\n\
             is started, and root is not needed."
        }
        _ => HELP,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_command_is_refused_with_the_list_of_commands() {
        let message = dispatch("tset", &[]).unwrap_err();
        assert!(message.contains("\"tset\"") && message.contains("cargo xtask COMMAND"));
    }

    #[test]
    fn each_command_in_the_overview_has_help_of_its_own() {
        for command in [
            "test", "ci", "tidy", "arm", "qemu", "image", "package", "demo", "fuzz", "tools",
        ] {
            assert!(help_of(command).starts_with(&format!("cargo xtask {command}")));
        }
    }
}
