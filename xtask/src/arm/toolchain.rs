//! Compilers for other machines: what is installed, else Debian's, unpacked under target/arm. Touches neither rustup nor dpkg's state.

use super::target::Target;
use crate::debian::{self, apt, apt::Apt};
use crate::house;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How a build for another machine is made.
#[derive(Debug)]
pub(crate) enum Way {
    /// With the Rust that is installed, which has the target's standard library.
    Installed(CSide),
    /// With Debian's Rust, unpacked; the standard library is built along.
    Debian { rust: PathBuf, c: CSide },
    /// With `cross`, in a container.
    Cross,
}

/// The C half, for SQLite and ring, and the linker.
#[derive(Debug)]
pub(crate) struct CSide {
    compiler: PathBuf,
    archiver: PathBuf,
    flags: String,
}

/// Finds a way to build for `target`, downloading what Debian has for it where nothing is installed.
///
/// # Errors
/// One sentence: what is missing and what could be installed.
pub(crate) fn find(target: &'static Target) -> Result<Way, String> {
    if std_is_installed(target)
        && let Ok(c) = c_side(target)
    {
        return Ok(Way::Installed(c));
    }
    let debian = if apt::is_debian() {
        c_side(target).and_then(|c| {
            let rust = debian_rust(target, &c)?;
            Ok(Way::Debian { rust, c })
        })
    } else {
        Err("this is not Debian".into())
    };
    debian.or_else(|error| {
        if house::program("cross").is_some() {
            return Ok(Way::Cross);
        }
        Err(format!(
            "no way to build for {triple}: {error}. Either `rustup target add {triple}` and install {musl}-gcc, or \
             install `cross` (https://github.com/cross-rs/cross) with Docker or Podman",
            triple = target.triple,
            musl = target.musl,
        ))
    })
}

impl Way {
    /// One word for a person.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Installed(_) => "the installed Rust",
            Self::Debian { .. } => "Debian's Rust, unpacked under target/arm",
            Self::Cross => "cross, in a container (untested)",
        }
    }

    /// A cargo for the target that does this, `build` or `fetch`: the caller adds what to build.
    pub(crate) fn cargo(&self, target: &Target, what: &str) -> Command {
        let mut command = match self {
            Self::Installed(_) => house::cargo(),
            Self::Debian { rust, .. } => {
                let mut command = Command::new(rust.join("bin/cargo"));
                command
                    .env("RUSTC", rust.join("bin/rustc"))
                    // Debian has no standard library for musl: it is built from Debian's sources, which cargo
                    // calls unstable.
                    .env("RUSTC_BOOTSTRAP", "1");
                command
            }
            Self::Cross => Command::new("cross"),
        };
        house::as_typed(&mut command);
        command
            .current_dir(house::root())
            .env("CARGO_TARGET_DIR", house::target().join("arm/build"))
            // A calling cargo names its own compiler to what it starts.
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("CARGO");
        if let Self::Installed(c) | Self::Debian { c, .. } = self {
            command
                .env(target.cargo_variable("LINKER"), &c.compiler)
                .env(target.cc_variable("CC"), &c.compiler)
                .env(target.cc_variable("AR"), &c.archiver)
                .env(target.cc_variable("CFLAGS"), &c.flags);
        }
        command.args([what, "--locked", "--target", target.triple]);
        if matches!(self, Self::Debian { .. }) {
            command.arg("-Zbuild-std=std,panic_abort");
        }
        command
    }
}

fn std_is_installed(target: &Target) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    house::output(
        "asking rustc",
        Command::new(rustc).current_dir(house::root()).args([
            "--print",
            "target-libdir",
            "--target",
            target.triple,
        ]),
    )
    .is_ok_and(|folder| apt::files_of(Path::new(&folder)).is_ok_and(|files| !files.is_empty()))
}

/// A musl compiler on PATH; else Debian's cross compiler with musl's headers instead of the GNU library's.
fn c_side(target: &'static Target) -> Result<CSide, String> {
    if let Some(compiler) = house::program(&format!("{}-gcc", target.musl)) {
        let archiver = house::program(&format!("{}-ar", target.musl)).unwrap_or("ar".into());
        return Ok(CSide {
            compiler,
            archiver,
            flags: String::new(),
        });
    }
    if !apt::is_debian() {
        return Err(format!("{}-gcc is not here", target.musl));
    }
    let (compiler, archiver) = gnu_compiler(target)?;
    let headers = musl_folder(target).join("usr/include").join(target.musl);
    if !headers.is_dir() {
        debian_musl(target)?;
    }
    let own = house::output(
        "asking the cross compiler",
        Command::new(&compiler).arg("-print-file-name=include"),
    )?;
    Ok(CSide {
        compiler,
        archiver,
        flags: format!("-nostdinc -isystem {} -isystem {own}", headers.display()),
    })
}

/// Debian's `TARGET-gcc`: installed, unpacked earlier, or unpacked now.
fn gnu_compiler(target: &Target) -> Result<(PathBuf, PathBuf), String> {
    let gcc = format!("{}-gcc", target.gnu);
    let ar = format!("{}-ar", target.gnu);
    if let (Some(gcc), Some(ar)) = (house::program(&gcc), house::program(&ar)) {
        return Ok((gcc, ar));
    }
    let store = folder().join(format!("gcc-{}", target.debian));
    let starters = store.join("bin");
    if !starters.join(&ar).is_file() {
        let package = format!("gcc-{}", target.gnu);
        house::announce(&format!("unpacking Debian's {package}"));
        let apt = host_lists(&store)?;
        let wanted = apt.needed(&BTreeSet::from([package.as_str()]), &|name| {
            let runtime = name.starts_with("libgcc-") && name.contains("-dev-");
            let needed = name.contains(target.gnu) || name.starts_with("lib");
            runtime || needed && !name.ends_with("-cross") && !apt::installed(name)
        })?;
        apt.download(&wanted, &store.join("archives"))?;
        debian::extract(&store)?;
        debian::write_starter(&gcc, &store)?;
        // The last one marks the folder as complete.
        debian::write_starter(&ar, &store)?;
    }
    Ok((starters.join(gcc), starters.join(ar)))
}

/// musl's headers, its static library and start files, and LLVM's unwinder, which Rust links with musl.
fn debian_musl(target: &Target) -> Result<(), String> {
    house::announce(&format!("unpacking Debian's musl for {}", target.debian));
    let store = musl_folder(target);
    let apt = Apt::foreign(target.debian, &store)?;
    let unwinder = ["libunwind-19-dev", "libunwind-16-dev", "libunwind-14-dev"]
        .into_iter()
        .find(|name| apt.dependencies(name).is_ok())
        .ok_or("Debian has no libunwind-N-dev known here")?;
    let wanted = [unwinder, "musl-dev"].map(str::to_owned).into();
    apt.download(&wanted, &store.join("archives"))?;
    for archive in apt::files_of(&store.join("archives"))? {
        apt::unpack(&archive, &store)?;
    }
    Ok(())
}

/// Debian's newest Rust, which it keeps for its browsers, with the sources of the standard library.
fn debian_rust(target: &Target, c: &CSide) -> Result<PathBuf, String> {
    let store = folder().join("rust");
    if !store.join("bin/cargo").is_file() {
        house::announce("unpacking Debian's Rust (about 150 MB)");
        let apt = host_lists(&store)?;
        let packages = BTreeSet::from(["rustc-web", "cargo-web", "rust-web-src"]);
        let wanted = apt.needed(&packages, &|name| {
            name.starts_with("lib")
                && name != "libc6"
                && name != "libc6-dev"
                && !apt::installed(name)
        })?;
        apt.download(&wanted, &store.join("archives"))?;
        let root = store.join("root");
        for archive in apt::files_of(&store.join("archives"))? {
            let name = archive.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with("rust-web-src") {
                apt::unpack_only(&archive, &root, "./usr/src/rustc-*/library")?;
            } else {
                apt::unpack(&archive, &root)?;
            }
        }
        let _ = std::fs::remove_dir_all(store.join("archives"));
        link_sources(&root)?;
        debian::write_starter("rustc", &store)?;
        debian::write_starter("cargo", &store)?;
    }
    start_files(target, c, &store.join("root"))?;
    Ok(store)
}

/// `-Zbuild-std` looks for the sources in `lib/rustlib/src/rust`.
fn link_sources(root: &Path) -> Result<(), String> {
    let sources = apt::files_of(&root.join("usr/src"))?
        .into_iter()
        .find(|path| path.join("library").is_dir())
        .ok_or("Debian's package of Rust's sources holds no library")?;
    let folder = root.join("usr/lib/rustlib/src");
    apt::make_folder(&folder)?;
    let name = sources.file_name().unwrap_or_default();
    let link = folder.join("rust");
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(Path::new("../../../src").join(name), &link)
        .map_err(|error| format!("could not make {}: {error}", link.display()))
}

/// Rust links a static musl program with start files and libraries of its own, `self-contained`: here Debian's.
fn start_files(target: &Target, c: &CSide, root: &Path) -> Result<(), String> {
    let into = root
        .join("usr/lib/rustlib")
        .join(target.triple)
        .join("lib/self-contained");
    if into.join("libunwind.a").is_file() {
        return Ok(());
    }
    apt::make_folder(&into)?;
    let musl = musl_folder(target);
    let libraries = musl.join("usr/lib").join(target.musl);
    for name in ["crt1.o", "rcrt1.o", "Scrt1.o", "crti.o", "crtn.o", "libc.a"] {
        copy(&libraries.join(name), &into.join(name))?;
    }
    for name in ["crtbegin.o", "crtend.o", "crtbeginS.o", "crtendS.o"] {
        let from = house::output(
            "asking the cross compiler",
            Command::new(&c.compiler).arg(format!("-print-file-name={name}")),
        )?;
        copy(Path::new(&from), &into.join(name))?;
    }
    let unwinder = apt::files_of(&musl.join("usr/lib"))?
        .into_iter()
        .map(|folder| folder.join("lib/libunwind.a"))
        .find(|path| path.is_file())
        .ok_or("Debian's libunwind holds no libunwind.a")?;
    let fitted = into.join("libunwind.part");
    copy(&unwinder, &fitted)?;
    fit_unwinder(c, &fitted, &musl)?;
    std::fs::rename(&fitted, into.join("libunwind.a"))
        .map_err(|error| format!("could not name the unwinder: {error}"))
}

/// Debian's unwinder was built against the GNU library and calls one function that musl lacks.
fn fit_unwinder(c: &CSide, library: &Path, folder: &Path) -> Result<(), String> {
    const MISSING: &str = "#include <stdarg.h>\n#include <stdio.h>\n\
        int __fprintf_chk(FILE *to, int level, const char *format, ...) {\n\
        va_list list; (void)level; va_start(list, format);\n\
        int written = vfprintf(to, format, list); va_end(list); return written; }\n";
    let source = folder.join("missing.c");
    let object = folder.join("missing.o");
    std::fs::write(&source, MISSING)
        .map_err(|error| format!("could not write {}: {error}", source.display()))?;
    house::output(
        "compiling what musl lacks",
        Command::new(&c.compiler)
            .args(c.flags.split(' '))
            .args(["-O2", "-fno-stack-protector", "-c"])
            .arg(&source)
            .arg("-o")
            .arg(&object),
    )?;
    house::output(
        "adding it to the unwinder",
        Command::new(&c.archiver).arg("q").arg(library).arg(&object),
    )
    .map(drop)
}

/// The machine's own package lists where they know enough, else lists read anew.
fn host_lists(store: &Path) -> Result<Apt, String> {
    let apt = Apt::system(store);
    if apt.dependencies("rustc-web").is_ok() {
        return Ok(apt);
    }
    Apt::private(store)
}

/// Where everything for other machines lies.
pub(crate) fn folder() -> PathBuf {
    house::target().join("arm")
}

fn musl_folder(target: &Target) -> PathBuf {
    folder().join(format!("musl-{}", target.debian))
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    std::fs::copy(from, to)
        .map(drop)
        .map_err(|error| format!("could not copy {}: {error}", from.display()))
}
