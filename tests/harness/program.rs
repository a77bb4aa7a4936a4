//! Where the programs are that scenarios start: ours beside the test's own binary, foreign ones where xtask or the system put them. It builds and installs nothing.

use std::path::{Path, PathBuf};

/// One of our own programs (`homing`, `homingd`, `homing-sim`), built in the same profile as this test.
///
/// # Panics
/// When it is not built; the sentence says how to build it.
#[must_use]
pub fn ours(name: &str) -> PathBuf {
    let path = profile_folder().join(name);
    assert!(
        path.is_file(),
        "{} is not built: run ./test, or `cargo build --workspace --bins` first",
        path.display()
    );
    path
}

/// A foreign program: `HOMING_TEST_NAME` (set by xtask), else PATH and the daemons' folders, else what
/// `cargo xtask tools` unpacked.
///
/// # Panics
/// When it is nowhere; the sentence says how to get it.
#[must_use]
pub fn foreign(name: &str) -> PathBuf {
    let variable = format!("HOMING_TEST_{}", name.to_uppercase());
    if let Some(path) = std::env::var_os(variable) {
        return PathBuf::from(path);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin"].map(PathBuf::from))
        .chain(profile_folder().parent().map(|target| target.join("tools/bin")))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| panic!("{name} is not here: run ./test or `cargo xtask tools`, which unpack it, or install it"))
}

/// `target/debug` or `target/release`: test binaries lie in its folder `deps`, programs in itself.
fn profile_folder() -> PathBuf {
    let own = std::env::current_exe()
        .unwrap_or_else(|error| panic!("this program does not know its own path: {error}"));
    let folder = own.parent().unwrap_or(Path::new("."));
    match folder.parent() {
        Some(profile) if folder.ends_with("deps") => profile.to_path_buf(),
        _ => folder.to_path_buf(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_the_system_is_found_and_its_absence_is_a_sentence() {
        assert!(foreign("sh").is_file());
        let error = std::panic::catch_unwind(|| foreign("no-such-program")).unwrap_err();
        let sentence = error.downcast_ref::<String>().unwrap();
        assert!(sentence.contains("cargo xtask tools"), "{sentence}");
    }
}
