//! Unpacks Debian packages and the libraries they need into a folder of the project. Never installs, configures or starts anything, and needs no root.

pub(crate) mod apt;

use crate::tools::Tool;
use apt::Apt;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Unpacks the tools' packages and every library package that is not installed, and writes one
/// starter per program to `store/bin`, which sets the library path and becomes the program (same process id).
///
/// # Errors
/// One sentence: this is not Debian, or what apt or dpkg said.
pub(crate) fn unpack(tools: &[&'static Tool], store: &Path) -> Result<(), String> {
    if !apt::is_debian() {
        return Err("apt and dpkg are not here, so packages cannot be unpacked".into());
    }
    let packages: BTreeSet<&str> = tools.iter().map(|tool| tool.package).collect();
    // The system's own lists first: they cost no download. They may be absent or out of date.
    let apt = Apt::system(store);
    if download(&apt, &packages, store).is_err() {
        let apt = Apt::private(store)?;
        download(&apt, &packages, store)?;
    }
    extract(store)?;
    for tool in tools {
        write_starter(tool.program, store)?;
    }
    Ok(())
}

fn download(apt: &Apt, packages: &BTreeSet<&str>, store: &Path) -> Result<(), String> {
    // The C library is left out: it is always there, and a second one would not fit the loader.
    // QEMU's packages are the only ones that keep a part of a program in a package not called lib….
    let wanted = apt.needed(packages, &|name| {
        (name.starts_with("lib") && name != "libc6" || name.starts_with("qemu-system-"))
            && !apt::installed(name)
    })?;
    apt.download(&wanted, &store.join("archives"))
}

/// Unpacks everything in `store/archives` into `store/root`, and removes the archives.
///
/// # Errors
/// With dpkg's words.
pub(crate) fn extract(store: &Path) -> Result<(), String> {
    let root = store.join("root");
    apt::make_folder(&root)?;
    for archive in apt::files_of(&store.join("archives"))? {
        apt::unpack(&archive, &root)?;
    }
    // The archives have served; the unpacked tree is what stays.
    let _ = std::fs::remove_dir_all(store.join("archives"));
    let _ = std::fs::remove_dir_all(store.join("apt"));
    Ok(())
}

/// Writes `store/bin/PROGRAM`, which becomes the unpacked program with the libraries unpacked beside it.
///
/// # Errors
/// There is no such program in `store/root`, or the file cannot be written.
pub(crate) fn write_starter(program: &str, store: &Path) -> Result<(), String> {
    let root = store.join("root");
    let inside = ["usr/sbin", "usr/bin", "sbin", "bin"]
        .iter()
        .map(|folder| Path::new(folder).join(program))
        .find(|candidate| root.join(candidate).is_file())
        .ok_or_else(|| format!("the unpacked packages hold no program {program}"))?;
    let mut libraries = BTreeSet::new();
    collect_library_folders(&root, &root, &mut libraries)?;
    let folders: Vec<String> = libraries
        .iter()
        .map(|folder| format!("$root/{}", folder.display()))
        .collect();
    // QEMU keeps parts of itself in files that it looks for where it was built to be.
    let parts = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
        .map(|machine| Path::new("usr/lib").join(machine).join("qemu"))
        .into_iter()
        .find(|folder| root.join(folder).is_dir())
        .map(|folder| format!("export QEMU_MODULE_DIR=\"$root/{}\"\n", folder.display()))
        .unwrap_or_default();
    let library_path = if folders.is_empty() {
        String::new()
    } else {
        format!(
            "LD_LIBRARY_PATH=\"{}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\"\nexport LD_LIBRARY_PATH\n",
            folders.join(":")
        )
    };
    let text = format!(
        "#!/bin/sh\n# Written by `cargo xtask tools`: becomes the unpacked {program}, with the libraries unpacked beside it.\n\
         root=$(CDPATH= cd -- \"$(dirname -- \"$0\")/../root\" && pwd) || exit 1\n\
         {parts}{library_path}exec \"$root/{}\" \"$@\"\n",
        inside.display()
    );
    let starter = store.join("bin").join(program);
    apt::make_folder(&store.join("bin"))?;
    std::fs::write(&starter, text)
        .map_err(|error| format!("could not write {}: {error}", starter.display()))?;
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&starter, executable)
        .map_err(|error| format!("could not make {} executable: {error}", starter.display()))
}

fn collect_library_folders(
    root: &Path,
    folder: &Path,
    found: &mut BTreeSet<PathBuf>,
) -> Result<(), String> {
    for path in apt::files_of(folder)? {
        let is_link = path.is_symlink();
        if path.is_dir() && !is_link {
            collect_library_folders(root, &path, found)?;
        } else if path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with("lib") && name.contains(".so"))
            && let Ok(inside) = folder.strip_prefix(root)
        {
            found.insert(inside.to_path_buf());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::house;
    use std::process::Command;

    #[test]
    fn a_starter_becomes_the_program_with_the_unpacked_libraries() {
        let store = tempfile::tempdir().unwrap();
        let root = store.path().join("root");
        std::fs::create_dir_all(root.join("usr/sbin")).unwrap();
        std::fs::create_dir_all(root.join("usr/lib/arch")).unwrap();
        std::fs::write(root.join("usr/lib/arch/libx.so.1"), "").unwrap();
        let program = root.join("usr/sbin/thing");
        std::fs::write(&program, "#!/bin/sh\necho \"$1 $LD_LIBRARY_PATH\"\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, mode).unwrap();
        write_starter("thing", store.path()).unwrap();
        let said = house::output(
            "thing",
            Command::new(store.path().join("bin/thing")).arg("hello"),
        )
        .unwrap();
        assert!(
            said.starts_with("hello ") && said.contains("root/usr/lib/arch"),
            "{said}"
        );
    }
}
