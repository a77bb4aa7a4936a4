//! What others wrote of what this project is built from: checked against deny.toml, and told to whoever gets a package. It must not judge advisories: those need a network, and `cargo deny` has them.

use crate::house;
use serde_json::{Value, json};
use spdx::{Expression, ParseMode};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// How cargo names the public registry.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Beginnings of names of files that hold a licence or a notice, in lower case.
const NOTICES: [&str; 6] = [
    "license",
    "licence",
    "notice",
    "copying",
    "copyright",
    "unlicense",
];

/// Somebody else's package, at one version.
#[derive(Clone, Debug)]
struct Foreign {
    name: String,
    version: String,
    /// An SPDX expression.
    licence: String,
    source: String,
    repository: String,
    authors: Vec<String>,
    folder: PathBuf,
}

impl Foreign {
    /// Its place among all packages (package-url, type cargo).
    fn purl(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version)
    }
}

/// What deny.toml says, as far as it can be checked without `cargo deny`.
#[derive(Debug, Default)]
struct Rules {
    licences: BTreeSet<String>,
    /// Name and reason.
    banned: BTreeMap<String, String>,
}

/// Compares every package of Cargo.lock with deny.toml; each string names one that breaks a rule, and how.
///
/// # Errors
/// cargo failed, or deny.toml cannot be read.
pub(crate) fn breaches() -> Result<Vec<String>, String> {
    let path = house::root().join("deny.toml");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("could not read {}: {error}", path.display()))?;
    let rules = read_rules(&text)?;
    let all = foreign(&house::cargo_metadata(&[])?)?;
    Ok(all
        .iter()
        .flat_map(|package| judge(package, &rules))
        .collect())
}

fn read_rules(text: &str) -> Result<Rules, String> {
    let table: toml::Table =
        toml::from_str(text).map_err(|error| format!("deny.toml cannot be read: {error}"))?;
    let list = |section: &str, key: &str| {
        table
            .get(section)
            .and_then(|section| section.get(key))
            .and_then(toml::Value::as_array)
            .cloned()
            .ok_or_else(|| format!("deny.toml has no list {section}.{key}"))
    };
    let word = |value: &toml::Value, key: &str| {
        let found = value.get(key).and_then(toml::Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    Ok(Rules {
        licences: list("licenses", "allow")?
            .iter()
            .filter_map(|licence| licence.as_str().map(str::to_owned))
            .collect(),
        banned: list("bans", "deny")?
            .iter()
            .map(|ban| (word(ban, "crate"), word(ban, "reason")))
            .collect(),
    })
}

fn judge(package: &Foreign, rules: &Rules) -> Vec<String> {
    let Foreign {
        name,
        version,
        licence,
        source,
        ..
    } = package;
    let mut breaches = Vec::new();
    if let Some(reason) = rules.banned.get(name) {
        breaches.push(format!("{name} {version} is banned: {reason}"));
    }
    if source != REGISTRY {
        breaches.push(format!(
            "{name} {version} comes from {source}, not from crates.io"
        ));
    }
    // Older packages write a slash for "or".
    let permitted = Expression::parse_mode(licence, ParseMode::LAX).is_ok_and(|expression| {
        expression.evaluate(|wanted| {
            let id = wanted.license.id().map(|id| id.name);
            id.is_some_and(|id| rules.licences.contains(id))
        })
    });
    if !permitted {
        breaches.push(format!(
            "{name} {version} has the licence {licence:?}, which deny.toml does not allow"
        ));
    }
    breaches
}

/// Everybody else's packages in cargo's metadata.
fn foreign(metadata: &Value) -> Result<Vec<Foreign>, String> {
    let packages = metadata["packages"]
        .as_array()
        .ok_or("cargo metadata lists no packages")?;
    let word = |package: &Value, key: &str| package[key].as_str().unwrap_or_default().to_owned();
    Ok(packages
        .iter()
        .filter(|package| package["source"].is_string())
        .map(|package| Foreign {
            name: word(package, "name"),
            version: word(package, "version"),
            licence: word(package, "license"),
            source: word(package, "source"),
            repository: word(package, "repository"),
            authors: package["authors"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|author| author.as_str().map(str::to_owned))
                .collect(),
            folder: Path::new(&word(package, "manifest_path"))
                .parent()
                .map_or_else(PathBuf::new, Path::to_path_buf),
        })
        .collect())
}

/// What others wrote of one program, for one target triple or this machine.
fn linked(program: &str, target: Option<&str>) -> Result<Vec<Foreign>, String> {
    let mut tree = house::cargo();
    tree.args(["tree", "--locked", "--prefix", "none", "--format", "{p}"])
        .args(["--edges", "normal,no-proc-macro", "--package", program]);
    if let Some(target) = target {
        tree.args(["--target", target]);
    }
    let text = house::output("cargo tree", &mut tree)?;
    let names: BTreeSet<(&str, &str)> = text
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(" v")?;
            Some((name, rest.split(' ').next()?))
        })
        .collect();
    let mut linked = foreign(&house::cargo_metadata(&[])?)?;
    linked.retain(|package| names.contains(&(package.name.as_str(), package.version.as_str())));
    linked.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Ok(linked)
}

/// The licences and notices of everything that is linked into a program, as its package must carry them.
///
/// # Errors
/// cargo failed, or a text cannot be read.
pub(crate) fn notices(program: &str, target: Option<&str>) -> Result<String, String> {
    let linked = linked(program, target)?;
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut out = format!(
        "What others wrote of {program}\n\n\
         It is linked with the Rust standard library (MIT OR Apache-2.0, https://github.com/rust-lang/rust), where it\n\
         is static with musl (MIT, https://musl.libc.org, Copyright 2005-2020 Rich Felker, et al.), and with these,\n\
         whose licences and notices follow:\n\n"
    );
    for package in &linked {
        let Foreign {
            name,
            version,
            licence,
            repository,
            authors,
            folder,
            ..
        } = package;
        out.push_str(&format!(
            "  {name} {version}: {licence}\n      {repository}\n"
        ));
        let mut files = notice_files(folder)?;
        if files.is_empty() && licence.contains("Apache-2.0") {
            // The text is the same for everybody, and asks for no name in it.
            files.push(house::root().join("LICENSE-APACHE"));
        }
        if files.is_empty() && licence.contains("MIT") {
            texts
                .entry(mit_of(name, authors)?)
                .or_default()
                .push(format!("{name} {version}"));
            continue;
        }
        if files.is_empty() {
            return Err(format!(
                "{name} {version} ({licence}) comes without the text of its licence"
            ));
        }
        for path in files {
            let bytes = std::fs::read(&path)
                .map_err(|error| format!("could not read {}: {error}", path.display()))?;
            let text = String::from_utf8_lossy(&bytes).trim().to_owned();
            texts
                .entry(text)
                .or_default()
                .push(format!("{name} {version}"));
        }
    }
    for (text, mut holders) in texts {
        holders.dedup();
        let line = "-".repeat(78);
        out.push_str(&format!("\n{line}\n{}:\n\n{text}\n", holders.join(", ")));
    }
    Ok(out)
}

/// The MIT licence's text for a package that names it and brings no copy: the words are the same for everybody, but for who is named.
fn mit_of(name: &str, authors: &[String]) -> Result<String, String> {
    let path = house::root().join("LICENSE-MIT");
    let ours = std::fs::read_to_string(&path)
        .map_err(|error| format!("could not read {}: {error}", path.display()))?;
    let named = match authors {
        [] => format!("Copyright (c) the authors of {name}"),
        some => format!("Copyright (c) {}", some.join(", ")),
    };
    let lines = ours.trim().lines().map(|line| {
        if line.starts_with("Copyright") {
            named.as_str()
        } else {
            line
        }
    });
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

/// Licences and notices in a package's folder, and one below, where the sources of a C library lie.
fn notice_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = |folder: &Path| -> Result<Vec<PathBuf>, String> {
        let listed = std::fs::read_dir(folder)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| format!("could not list {}: {error}", folder.display()))?;
        let mut paths: Vec<PathBuf> = listed.iter().map(std::fs::DirEntry::path).collect();
        paths.sort();
        Ok(paths)
    };
    let is_notice = |path: &PathBuf, names: &[&str]| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.to_lowercase();
        path.is_file() && names.iter().any(|start| name.starts_with(start))
    };
    let mut found = Vec::new();
    for path in entries(folder)? {
        if is_notice(&path, &NOTICES) {
            found.push(path);
        } else if path.is_dir() {
            // zstd's COPYING is the licence that was not chosen.
            let below = entries(&path)?;
            found.extend(
                below
                    .into_iter()
                    .filter(|path| is_notice(path, &NOTICES[..3])),
            );
        }
    }
    Ok(found)
}

/// `cargo xtask sbom PROGRAM [TARGET]`.
///
/// # Errors
/// A wrong argument, or cargo failed.
pub(crate) fn print(arguments: &[String]) -> Result<(), String> {
    let (program, target) = match arguments {
        [program] => (program, None),
        [program, target] => (program, Some(target.as_str())),
        _ => {
            return Err(
                "sbom takes homingd or homing, and a target triple if not this machine's".into(),
            );
        }
    };
    println!("{}", bill_of_materials(program, target)?);
    Ok(())
}

/// A software bill of materials: CycloneDX 1.6, JSON.
///
/// # Errors
/// cargo failed.
pub(crate) fn bill_of_materials(program: &str, target: Option<&str>) -> Result<String, String> {
    let metadata = house::cargo_metadata(&[])?;
    let version = metadata["packages"]
        .as_array()
        .and_then(|all| all.iter().find(|package| package["name"] == program))
        .map(|package| package["version"].clone())
        .ok_or_else(|| format!("there is no program {program} here: homingd or homing"))?;
    let components: Vec<Value> = linked(program, target)?
        .iter()
        .map(|package| {
            json!({
                "type": "library",
                "bom-ref": package.purl(),
                "name": package.name,
                "version": package.version,
                "purl": package.purl(),
                "licenses": [{"expression": package.licence.replace('/', " OR ")}],
            })
        })
        .collect();
    let bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": program, "version": version}},
        "components": components,
    });
    serde_json::to_string_pretty(&bill).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, licence: &str, source: &str) -> Foreign {
        Foreign {
            name: name.into(),
            version: "1.0.0".into(),
            licence: licence.into(),
            source: source.into(),
            repository: String::new(),
            authors: Vec::new(),
            folder: PathBuf::new(),
        }
    }

    #[test]
    fn what_is_banned_has_another_licence_or_comes_from_elsewhere_is_named() {
        let rules = read_rules(
            "[licenses]\nallow = [\"MIT\", \"Apache-2.0\"]\n\
             [bans]\ndeny = [{ crate = \"openssl-sys\", reason = \"one TLS\" }]\n",
        )
        .unwrap();
        for licence in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0-only OR MIT",
            "(MIT OR Zlib) AND Apache-2.0",
        ] {
            let good = package("good", licence, REGISTRY);
            assert_eq!(judge(&good, &rules), Vec::<String>::new(), "{licence}");
        }
        for licence in [
            "GPL-3.0-only",
            "MIT AND GPL-3.0-only",
            "",
            "whatever I like",
        ] {
            let named = judge(&package("greedy", licence, REGISTRY), &rules);
            assert!(
                named[0].contains("greedy 1.0.0 has the licence"),
                "{licence}: {named:?}"
            );
        }
        let named = judge(&package("openssl-sys", "MIT", REGISTRY), &rules);
        assert_eq!(named, ["openssl-sys 1.0.0 is banned: one TLS"]);
        let named = judge(
            &package("fork", "MIT", "git+https://example.org/fork"),
            &rules,
        );
        assert!(named[0].contains("not from crates.io"), "{named:?}");
    }

    #[test]
    fn a_package_tells_of_everything_that_is_linked_and_of_nothing_else() {
        let notices = notices("homingd", None).unwrap();
        for part in [
            "ring ",
            "rusqlite ",
            "Permission is hereby granted",
            "Apache License",
        ] {
            assert!(notices.contains(part), "{part}");
        }
        // Tools of the tests, and macros, are in no program.
        for part in ["proptest ", "serde_derive ", "axum "] {
            assert!(!notices.contains(&format!("  {part}")), "{part}");
        }
        let bill: Value =
            serde_json::from_str(&bill_of_materials("homingd", None).unwrap()).unwrap();
        let components = bill["components"].as_array().unwrap();
        let ring = components
            .iter()
            .find(|part| part["name"] == "ring")
            .unwrap();
        let purl = format!("pkg:cargo/ring@{}", ring["version"].as_str().unwrap());
        assert_eq!(ring["purl"], purl.as_str());
    }
}
