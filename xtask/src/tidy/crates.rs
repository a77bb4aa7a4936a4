//! Who may depend on whom, inside the house and outside: ARCHITECTURE.md's table against what cargo says. Reads no source text.

use super::Breach;
use crate::house;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Our own packages: who may name whom in its manifest (tests' dependencies included).
const INSIDE: &[(&str, &[&str])] = &[
    ("homing-protocol", &[]),
    ("homing-policy", &["homing-protocol"]),
    ("homing-hal", &["homing-protocol"]),
    // The lost screen draws, and asks the body for its panel and touch; orders and keys are the daemon's.
    ("homing-screen", &["homing-hal", "homing-protocol"]),
    ("homing-link", &["homing-protocol"]),
    ("homing-owner", &["homing-protocol"]),
    ("homing-backup", &[]),
    (
        "homingd",
        &[
            "homing-policy",
            "homing-hal",
            "homing-link",
            "homing-protocol",
        ],
    ),
    (
        "homing",
        &[
            "homing-backup",
            "homing-owner",
            "homing-link",
            "homing-protocol",
        ],
    ),
    // Judges what harnesses saw, by the protocol's words alone.
    ("homing-oracle", &["homing-protocol"]),
    // The simulated phone's page asks the simulator over its socket, as everybody else does.
    ("homing-face", &[]),
    ("e2e", &["homing-face", "homing-oracle", "homing-protocol"]),
    // The benchmark's owner is a real client, and its bare peers use the very link that is measured.
    (
        "homing-bench",
        &["e2e", "homing-link", "homing-owner", "homing-protocol"],
    ),
    // What is done with bytes nobody vouched for: in all of the phone's readers.
    (
        "homing-fuzz",
        &[
            "homing-backup",
            "homingd",
            "homing-policy",
            "homing-hal",
            "homing-link",
            "homing-protocol",
        ],
    ),
    ("xtask", &[]),
];

/// Our own packages that tests alone may name: the oracle, the owner's real half for a broker in between, and the drawing that an
/// emulated phone's panel is held against.
const INSIDE_TESTS: &[(&str, &str)] = &[
    ("homing-oracle", "homingd"),
    ("homing-owner", "homingd"),
    ("homing-screen", "e2e"),
    ("homing-hal", "e2e"),
];

/// Third-party walls: who alone may name these packages.
const WALLS: &[(&str, &[&str])] = &[
    (
        "tokio",
        &[
            "homing-link",
            "homingd",
            "homing",
            "e2e",
            "homing-bench",
            "homing-face",
        ],
    ),
    ("rumqttc", &["homing-link"]),
    ("rustls", &["homing-link"]),
    ("gpsd_proto", &["homing-hal"]),
    ("netlink-sys", &["homing-hal"]),
    ("netlink-packet-core", &["homing-hal"]),
    ("netlink-packet-route", &["homing-hal"]),
    // The harness sends signals; that is all it needs nix for.
    // The owner's program forbids core dumps and sets its umask; the keys it holds deserve what homingd's do.
    (
        "nix",
        &[
            "homing-hal",
            "homing-screen",
            "homingd",
            "homing",
            "homing-bench",
            "e2e",
        ],
    ),
    // The demo ends in order on Ctrl-C; blocked signals (nix) would be inherited by what it starts.
    ("signal-hook", &["homingd", "homing", "e2e"]),
    ("sd-notify", &["homingd", "homing"]),
    // The archive copies databases in use by SQLite's own backup interface.
    (
        "rusqlite",
        &["homingd", "homing", "homing-backup", "homing-bench"],
    ),
    // The benchmark's owner issues itself a certificate from the opened kit, as `homing recover` does.
    // A browser is driven over HTTP.
    ("ureq", &["homing-backup", "e2e"]),
    ("axum", &["homing-face"]),
    ("rcgen", &["homing", "homing-bench"]),
    ("rpassword", &["homing"]),
];

/// Passages through those walls for tests alone: a certificate made, or one judged as a client would.
const TESTS_ONLY: &[(&str, &str)] = &[("rcgen", "homing-link"), ("rustls", "homing")];

/// What cargo says about the workspace.
///
/// # Errors
/// cargo failed, or printed something else than JSON.
pub(super) fn metadata() -> Result<Value, String> {
    house::cargo_metadata(&["--no-deps"])
}

/// Compares every package's manifest with the two tables.
///
/// # Errors
/// The metadata lacks what cargo documents.
pub(super) fn check(metadata: &Value) -> Result<Vec<Breach>, String> {
    let mut breaches = Vec::new();
    for package in packages(metadata)? {
        let name = text(package, "name")?;
        let Some((_, allowed)) = INSIDE.iter().find(|(known, _)| *known == name) else {
            breaches.push(Breach::new(
                name,
                "is not in the dependency table (xtask/src/tidy/crates.rs)",
            ));
            continue;
        };
        for dependency in list(package, "dependencies")? {
            let wanted = text(dependency, "name")?;
            let own = INSIDE.iter().any(|(known, _)| *known == wanted);
            let for_tests = dependency["kind"] == "dev" && INSIDE_TESTS.contains(&(wanted, name));
            if own && wanted != name && !allowed.contains(&wanted) && !for_tests {
                breaches.push(Breach::new(
                    name,
                    format!("must not depend on {wanted}: the table allows {allowed:?}"),
                ));
            }
            if let Some((_, holders)) = WALLS.iter().find(|(walled, _)| *walled == wanted)
                && !holders.contains(&name)
                && !(dependency["kind"] == "dev" && TESTS_ONLY.contains(&(wanted, name)))
            {
                breaches.push(Breach::new(
                    name,
                    format!("must not depend on {wanted}: only {holders:?} may"),
                ));
            }
        }
    }
    Ok(breaches)
}

/// The first file of every target (library, program, test), from the project's folder.
///
/// # Errors
/// The metadata lacks what cargo documents.
pub(super) fn roots(metadata: &Value, root: &Path) -> Result<Vec<String>, String> {
    let mut roots = Vec::new();
    for package in packages(metadata)? {
        for target in list(package, "targets")? {
            let path = PathBuf::from(text(target, "src_path")?);
            let path = path.strip_prefix(root).unwrap_or(&path);
            roots.push(path.display().to_string());
        }
    }
    Ok(roots)
}

/// Name and folder of every package that has a library.
///
/// # Errors
/// The metadata lacks what cargo documents.
pub(super) fn libraries(metadata: &Value, root: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let mut libraries = Vec::new();
    for package in packages(metadata)? {
        let has_library = list(package, "targets")?.iter().any(|target| {
            target["kind"]
                .as_array()
                .is_some_and(|kinds| kinds.iter().any(|kind| kind == "lib"))
        });
        let manifest = PathBuf::from(text(package, "manifest_path")?);
        let folder = manifest.parent().unwrap_or(root);
        let folder = folder.strip_prefix(root).unwrap_or(folder).to_path_buf();
        if has_library {
            libraries.push((text(package, "name")?.to_owned(), folder));
        }
    }
    Ok(libraries)
}

fn packages(metadata: &Value) -> Result<&Vec<Value>, String> {
    list(metadata, "packages")
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>, String> {
    value[key]
        .as_array()
        .ok_or_else(|| format!("cargo metadata holds no list {key:?}"))
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str, String> {
    value[key]
        .as_str()
        .ok_or_else(|| format!("cargo metadata holds no text {key:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn package(name: &str, dependencies: &[&str]) -> Value {
        let dependencies: Vec<Value> = dependencies
            .iter()
            .map(|name| json!({ "name": name }))
            .collect();
        json!({ "packages": [{
            "name": name,
            "manifest_path": format!("/p/{name}/Cargo.toml"),
            "dependencies": dependencies,
            "targets": [{ "kind": ["lib"], "src_path": format!("/p/{name}/src/lib.rs") }],
        }]})
    }

    #[test]
    fn a_room_that_reaches_into_another_is_named() {
        let breaches = check(&package(
            "homing-policy",
            &["homing-protocol", "homing-hal"],
        ))
        .unwrap();
        assert_eq!(breaches.len(), 1);
        assert!(breaches[0].rule.contains("must not depend on homing-hal"));
    }

    #[test]
    fn a_third_party_package_outside_its_wall_is_named() {
        let breaches = check(&package("homing-policy", &["tokio", "thiserror"])).unwrap();
        assert_eq!(breaches.len(), 1);
        assert!(breaches[0].rule.contains("must not depend on tokio"));
        assert!(
            check(&package("homing-link", &["tokio"]))
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_passage_for_tests_is_closed_to_the_product() {
        let mut metadata = package("homing-link", &["rcgen"]);
        assert_eq!(check(&metadata).unwrap().len(), 1);
        metadata["packages"][0]["dependencies"][0]["kind"] = json!("dev");
        assert!(check(&metadata).unwrap().is_empty());
    }

    #[test]
    fn a_new_package_must_be_entered_in_the_table() {
        let breaches = check(&package("homing-misc", &[])).unwrap();
        assert!(breaches[0].rule.contains("not in the dependency table"));
    }

    #[test]
    fn roots_and_libraries_are_paths_inside_the_project() {
        let metadata = package("homing-link", &[]);
        assert_eq!(
            roots(&metadata, Path::new("/p")).unwrap(),
            ["homing-link/src/lib.rs"]
        );
        assert_eq!(
            libraries(&metadata, Path::new("/p")).unwrap(),
            [("homing-link".to_owned(), PathBuf::from("homing-link"))]
        );
    }
}
