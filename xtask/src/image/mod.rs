//! `cargo xtask image`: a disk for a phone, with Debian, gpsd, NetworkManager, ModemManager and homingd, which joins its account at the first start. Starts nothing.

mod base;
mod disk;
mod root;
mod shell;

use crate::arm;
use crate::debian::apt::{self, Apt};
use crate::tools::Found;
use crate::translator::Translator;
use crate::{house, man, package};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// `cargo xtask image [--bundle FILE] [--from FOLDER]`.
///
/// # Errors
/// A wrong argument, something that is missing here, or a failed build.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let (mut bundle, mut from) = (None, None);
    for pair in arguments.chunks(2) {
        match pair {
            [flag, path] if flag == "--bundle" => bundle = Some(PathBuf::from(path)),
            [flag, path] if flag == "--from" => from = Some(PathBuf::from(path)),
            _ => {
                return Err(format!(
                    "image takes --bundle FILE and --from FOLDER, not {pair:?}"
                ));
            }
        }
    }
    if let Some(reason) = base::missing() {
        return Err(reason);
    }
    let program = match from {
        Some(folder) => folder.join("homingd"),
        None => build()?,
    };
    let made = make(&program, bundle.as_deref(), System::Plain, &Parts::find()?)?;
    println!("{}", made.display());
    Ok(())
}

fn build() -> Result<PathBuf, String> {
    let target = &arm::target::TARGETS[0];
    let way = arm::find(target)?;
    arm::phones(&way, target)
}

/// target/image, outside git.
fn folder() -> PathBuf {
    house::target().join("image")
}

/// What a disk is to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum System {
    /// What `cargo xtask image` makes for phones.
    Plain,
    /// With Phosh, an ssh server and disk encryption: for stories.
    Phosh,
}

impl System {
    /// Where its disk lies, with its kernel and initial RAM disk beside.
    fn folder(self) -> PathBuf {
        match self {
            Self::Plain => folder(),
            Self::Phosh => folder().join("phosh"),
        }
    }
}

/// What the stories of tests/qemu about a whole system need, as variables of their environment; where they cannot be told
/// here, the one that says why.
///
/// # Errors
/// Our own part of the disk cannot be made although everything else is here.
pub(crate) fn stage(program: &Path) -> Result<Vec<(&'static str, OsString)>, String> {
    let missing = |reason: String| {
        house::skip(&format!(
            "the stories about a whole system (tests/qemu/system.rs): {reason}"
        ));
        Ok(vec![("HOMING_TEST_SYSTEM_REASON", OsString::from(reason))])
    };
    if let Some(reason) = base::missing() {
        return missing(reason);
    }
    let prepared = firmware().and_then(|firmware| Ok((firmware, Parts::find()?)));
    let (firmware, parts) = match prepared {
        Ok(found) => found,
        Err(reason) => return missing(reason),
    };
    let disk = make(program, None, System::Plain, &parts)?;
    let mut variables = vec![
        ("HOMING_TEST_SYSTEM", disk.into_os_string()),
        ("HOMING_TEST_FIRMWARE", firmware.into_os_string()),
    ];
    variables.push(
        match shell::provide(&folder(), &parts.base, &parts.translator) {
            Ok(base) => {
                let parts = Parts {
                    base,
                    ..parts.clone()
                };
                let disk = make(program, None, System::Phosh, &parts)?;
                ("HOMING_TEST_PHOSH", disk.into_os_string())
            }
            Err(reason) => {
                house::skip(&format!("the stories about a phone with Phosh: {reason}"));
                ("HOMING_TEST_PHOSH_REASON", OsString::from(reason))
            }
        },
    );
    variables.extend(
        parts
            .tools
            .into_iter()
            .map(|(name, path)| (name, path.into_os_string())),
    );
    Ok(variables)
}

/// UEFI for QEMU's `virt` machine: edk2, unpacked from Debian's package.
fn firmware() -> Result<PathBuf, String> {
    const INSIDE: &str = "usr/share/qemu-efi-aarch64/QEMU_EFI.fd";
    let store = folder().join("firmware");
    let file = store.join(INSIDE);
    if file.is_file() {
        return Ok(file);
    }
    house::announce("unpacking UEFI for QEMU (package qemu-efi-aarch64)");
    let archives = store.join("archives");
    Apt::private(&store)?.download(&BTreeSet::from(["qemu-efi-aarch64".to_owned()]), &archives)?;
    for archive in apt::files_of(&archives)? {
        apt::unpack_only(&archive, &store, "./usr/share/qemu-efi-aarch64/QEMU_EFI.fd")?;
    }
    for rest in ["archives", "apt"] {
        let _ = std::fs::remove_dir_all(store.join(rest));
    }
    file.is_file()
        .then_some(file)
        .ok_or_else(|| "Debian's qemu-efi-aarch64 holds no QEMU_EFI.fd".into())
}

/// What a disk is made with and of, none of it ours.
#[derive(Clone)]
struct Parts {
    tools: Found,
    translator: Translator,
    base: PathBuf,
}

impl Parts {
    /// Finds, unpacks or makes all of it, and tries whether the kernel lets arm64 programs run.
    ///
    /// # Errors
    /// One sentence: this machine or its network does not give it.
    fn find() -> Result<Self, String> {
        let tools = disk::tools()?;
        let translator = Translator::find("arm64")?;
        translator.run(|| Ok(()))?;
        let base = base::provide(&folder(), &translator)?;
        Ok(Self {
            tools,
            translator,
            base,
        })
    }
}

/// The disk with `program` as its homingd, made again when something in it is newer. Without a bundle it is
/// `homing-arm64.img`, which every story copies.
fn make(
    program: &Path,
    bundle: Option<&Path>,
    system: System,
    parts: &Parts,
) -> Result<PathBuf, String> {
    let Parts {
        tools,
        translator,
        base,
    } = parts;
    let name = match (bundle, system) {
        (Some(_), _) => "homing-arm64-joins.img",
        (None, System::Plain) => "homing-arm64.img",
        (None, System::Phosh) => "homing-arm64-phosh.img",
    };
    let folder = system.folder();
    apt::make_folder(&folder)?;
    let disk = folder.join(name);
    let screen = program.with_file_name(arm::SCREEN.binary);
    if bundle.is_none() && is_newer(&disk, &[program, &screen, base])? {
        return Ok(disk);
    }
    house::announce(match system {
        System::Plain => "an arm64 image: Debian and homingd",
        System::Phosh => "an arm64 image: Debian, Phosh and homingd",
    });
    man::run()?;
    let package = package::homingd("arm64", program)?;
    let tree = folder.join("root");
    root::make(&tree, base, &package, translator)?;
    let [kernel, initrd] = root::kernel(&tree)?;
    for (from, to) in [(kernel, "vmlinuz"), (initrd, "initrd.img")] {
        std::fs::copy(&from, folder.join(to))
            .map_err(|error| format!("could not copy {}: {error}", from.display()))?;
    }
    // Last: where it is there, so are the others.
    disk::write(&tree, bundle, tools, &disk)?;
    std::fs::remove_dir_all(&tree)
        .map_err(|error| format!("could not remove {}: {error}", tree.display()))?;
    Ok(disk)
}

/// Whether the disk is there and newer than what goes into it: the program, the system, our files, and this code.
fn is_newer(disk: &Path, parts: &[&Path]) -> Result<bool, String> {
    let Ok(made) = modified(disk) else {
        return Ok(false);
    };
    let mut parts: Vec<PathBuf> = parts.iter().map(|part| part.to_path_buf()).collect();
    parts.extend(std::env::current_exe());
    for folder in ["systemd", "packaging/debian"] {
        let folder = house::root().join(folder);
        let files = package::files_in(&folder)?;
        parts.extend(files.into_iter().map(|file| folder.join(file)));
    }
    for part in parts {
        if modified(&part)? > made {
            return Ok(false);
        }
    }
    Ok(true)
}

fn modified(path: &Path) -> Result<SystemTime, String> {
    std::fs::metadata(path)
        .and_then(|data| data.modified())
        .map_err(|error| format!("could not read {}: {error}", path.display()))
}
