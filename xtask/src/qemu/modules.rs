//! In which order a kernel's modules must be loaded, read from the modules themselves, as depmod does. Loads nothing.

use crate::debian::apt;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The wanted modules and those they need, each after what it needs. A module that the kernel has built in is left out.
///
/// # Errors
/// A folder or a module cannot be read.
pub(crate) fn load_order(tree: &Path, wanted: &[&str]) -> Result<Vec<PathBuf>, String> {
    let mut known = BTreeMap::new();
    index(tree, &mut known)?;
    let mut order = Vec::new();
    for name in wanted {
        add(name, &known, &mut order)?;
    }
    Ok(order)
}

fn add(
    name: &str,
    known: &BTreeMap<String, PathBuf>,
    order: &mut Vec<PathBuf>,
) -> Result<(), String> {
    let Some(path) = known.get(&spelling(name)) else {
        return Ok(());
    };
    if order.contains(path) {
        return Ok(());
    }
    let bytes = std::fs::read(path)
        .map_err(|error| format!("could not read {}: {error}", path.display()))?;
    for needed in depends(&bytes) {
        add(&needed, known, order)?;
    }
    order.push(path.clone());
    Ok(())
}

/// The kernel takes `-` and `_` in a module's name for the same.
fn spelling(name: &str) -> String {
    name.replace('-', "_")
}

fn index(folder: &Path, known: &mut BTreeMap<String, PathBuf>) -> Result<(), String> {
    for path in apt::files_of(folder)? {
        if path.is_dir() && !path.is_symlink() {
            index(&path, known)?;
        } else if path.extension().is_some_and(|extension| extension == "ko")
            && let Some(stem) = path.file_stem().and_then(|stem| stem.to_str())
        {
            known.insert(spelling(stem), path.clone());
        }
    }
    Ok(())
}

/// The entry `depends=a,b` of a module's section `.modinfo`, whose entries end with a zero byte.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|bytes| bytes == KEY) else {
        return Vec::new();
    };
    let rest = &module[at + KEY.len()..];
    let end = rest
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(rest.len());
    String::from_utf8_lossy(&rest[..end])
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_comes_after_what_it_needs_and_only_once() {
        let tree = tempfile::tempdir().unwrap();
        let write = |name: &str, needs: &str| {
            let text = format!("ELF\0license=GPL\0depends={needs}\0name=x\0");
            std::fs::write(tree.path().join(name), text).unwrap();
        };
        write("snd-usb.ko", "snd_pcm,mc");
        write("snd-pcm.ko", "snd");
        write("snd.ko", "");
        write("mc.ko", "");
        let order = load_order(tree.path(), &["snd", "snd_usb", "built_in"]).unwrap();
        let names: Vec<_> = order
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap())
            .collect();
        assert_eq!(names, ["snd.ko", "snd-pcm.ko", "mc.ko", "snd-usb.ko"]);
    }
}
