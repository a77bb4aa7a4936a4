//! What phone this is, from the device tree, DMI, os-release and procfs. It reads files and nothing else.

use std::fs;
use std::path::Path;

use crate::capability::identity::{DeviceIdentity, Identity};
use crate::fault::{Fault, Probe, Roots};

/// The driver.
#[derive(Debug)]
pub struct SystemIdentity {
    roots: Roots,
}

impl SystemIdentity {
    /// A driver that reads below `roots`.
    #[must_use]
    pub fn new(roots: &Roots) -> Self {
        Self {
            roots: roots.clone(),
        }
    }

    fn read(&self) -> DeviceIdentity {
        let tree = self.roots.sys.join("firmware/devicetree/base");
        DeviceIdentity {
            model: strings(&tree.join("model"))
                .into_iter()
                .next()
                .or_else(|| line(&self.roots.sys.join("class/dmi/id/product_name"))),
            compatible: strings(&tree.join("compatible")),
            system: fs::read_to_string(self.roots.etc.join("os-release"))
                .ok()
                .and_then(|text| pretty_name(&text)),
            kernel: line(&self.roots.proc.join("sys/kernel/osrelease")),
            boot_id: line(&self.roots.proc.join("sys/kernel/random/boot_id")),
        }
    }
}

impl Identity for SystemIdentity {
    fn name(&self) -> &'static str {
        "system files"
    }

    fn probe(&self) -> Probe {
        let found = self.read();
        match found.model.or(found.system) {
            Some(detail) => Probe::Ready { detail },
            None => Probe::Unsupported {
                reason: "neither a model nor a system name is stated".into(),
            },
        }
    }

    fn identity(&mut self) -> Result<DeviceIdentity, Fault> {
        let found = self.read();
        match found.model.is_some() || found.system.is_some() || found.kernel.is_some() {
            true => Ok(found),
            false => Err(Fault::Absent(
                "neither model, system nor kernel is stated".into(),
            )),
        }
    }
}

/// A device-tree property: strings that each end in NUL.
fn strings(path: &Path) -> Vec<String> {
    let bytes = fs::read(path).unwrap_or_default();
    bytes
        .split(|byte| *byte == 0)
        .filter(|part| !part.is_empty())
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .collect()
}

/// The first line of a file, if it says anything.
fn line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// `PRETTY_NAME` of an os-release file (os-release(5): shell quoting, which is undone here as far as names need).
fn pretty_name(text: &str) -> Option<String> {
    let value = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("PRETTY_NAME="))?;
    let unquoted = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    let bare = unquoted('"').or_else(|| unquoted('\'')).unwrap_or(value);
    (!bare.is_empty()).then(|| bare.replace("\\\"", "\"").replace("\\$", "$"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::folder;

    #[test]
    fn a_phone_with_a_device_tree_names_its_model() {
        let (_dir, roots) = folder(&[
            (
                "sys/firmware/devicetree/base/model",
                "Pine64 PinePhone (1.2)\0",
            ),
            (
                "sys/firmware/devicetree/base/compatible",
                "pine64,pinephone-1.2\0pine64,pinephone\0allwinner,sun50i-a64\0",
            ),
            (
                "etc/os-release",
                "ID=mobian\nPRETTY_NAME=\"Mobian \\\"trixie\\\"\"\n",
            ),
            ("proc/sys/kernel/osrelease", "6.12.1-sunxi64\n"),
            (
                "proc/sys/kernel/random/boot_id",
                "8d8a4f7e-0000-4000-8000-000000000000\n",
            ),
        ]);
        let found = SystemIdentity::new(&roots).identity().unwrap();
        assert_eq!(found.model.as_deref(), Some("Pine64 PinePhone (1.2)"));
        assert_eq!(found.compatible.len(), 3);
        assert_eq!(found.compatible[0], "pine64,pinephone-1.2");
        assert_eq!(found.system.as_deref(), Some("Mobian \"trixie\""));
        assert_eq!(found.kernel.as_deref(), Some("6.12.1-sunxi64"));
    }

    #[test]
    fn a_machine_without_a_device_tree_is_named_by_dmi() {
        let (_dir, roots) = folder(&[("sys/class/dmi/id/product_name", "QEMU\n")]);
        let found = SystemIdentity::new(&roots).identity().unwrap();
        assert_eq!(found.model.as_deref(), Some("QEMU"));
        assert_eq!(found.boot_id, None);
    }

    #[test]
    fn an_empty_machine_is_absent() {
        let (_dir, roots) = folder(&[]);
        assert!(matches!(
            SystemIdentity::new(&roots).identity(),
            Err(Fault::Absent(_))
        ));
        assert!(matches!(
            SystemIdentity::new(&roots).probe(),
            Probe::Unsupported { .. }
        ));
    }
}
