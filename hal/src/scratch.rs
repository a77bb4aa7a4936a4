//! A temporary system for the drivers' own tests: files below a folder, and the roots that point into it.

use std::fs;

use crate::fault::Roots;

/// A temporary system: a folder with these files (path, content) below it and the roots that point into it.
///
/// # Panics
/// When the folder cannot be written.
#[must_use]
pub(crate) fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, Roots) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (path, content) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().expect("a file has a folder"))
            .expect("a folder of the test");
        fs::write(path, content).expect("a file of the test");
    }
    let root = |name: &str| dir.path().join(name);
    let roots = Roots {
        sys: root("sys"),
        proc: root("proc"),
        dev: root("dev"),
        run: root("run"),
        etc: root("etc"),
    };
    (dir, roots)
}
