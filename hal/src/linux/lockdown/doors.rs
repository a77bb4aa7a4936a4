//! Side doors that the kernel opens: the magic key, and what a cable to the phone's USB port gets to see. It knows no services.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Steps;
use crate::fault::{Fault, Roots};

/// The doors as they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Doors {
    /// What the magic key may do (Documentation/admin-guide/sysrq.rst); `None` where the kernel has none.
    sysrq: Option<String>,
    /// Gadgets of configfs that were bound (Documentation/usb/gadget_configfs.rst), each with its controller.
    gadgets: Vec<(String, String)>,
    /// Controllers whose gadget is a module of its own, connected by it.
    controllers: Vec<String>,
}

/// The magic key does nothing.
const NOTHING: &str = "0";

/// Where they are.
#[derive(Clone, Debug)]
pub(super) struct Places {
    sysrq: PathBuf,
    gadgets: PathBuf,
    controllers: PathBuf,
}

impl Places {
    pub(super) fn new(roots: &Roots) -> Self {
        Self {
            sysrq: roots.proc.join("sys/kernel/sysrq"),
            gadgets: roots.sys.join("kernel/config/usb_gadget"),
            controllers: roots.sys.join("class/udc"),
        }
    }

    /// The doors as they stand.
    pub(super) fn found(&self) -> Doors {
        let gadgets = self.bound();
        let taken: Vec<&String> = gadgets.iter().map(|(_, controller)| controller).collect();
        let controllers = names(&self.controllers)
            .into_iter()
            .filter(|name| !taken.contains(&name) && self.has_module(name))
            .collect();
        Doors {
            sysrq: read(&self.sysrq),
            gadgets,
            controllers,
        }
    }

    /// Which door is open, as a phrase. Whether a module's gadget is still connected, its controller does not tell.
    pub(super) fn open(&self) -> Option<String> {
        if read(&self.sysrq).is_some_and(|may| may != NOTHING) {
            return Some("the magic system key".into());
        }
        let gadget = self.bound().into_iter().next();
        gadget.map(|(name, _)| format!("the USB gadget {name}"))
    }

    /// Closes every door that is open.
    pub(super) fn close(&self, steps: &mut Steps) {
        if read(&self.sysrq).is_some_and(|may| may != NOTHING) {
            steps.take(write(&self.sysrq, NOTHING));
        }
        let now = self.found();
        for (gadget, _) in &now.gadgets {
            // An empty line is no controller.
            steps.take(write(&self.gadgets.join(gadget).join("UDC"), "\n"));
        }
        for controller in &now.controllers {
            steps.take(write(&self.soft_connect(controller), "disconnect"));
        }
    }

    /// Opens them as they were found; a gadget that is gone is nobody's.
    pub(super) fn put_back(&self, found: &Doors, steps: &mut Steps) {
        if let Some(may) = &found.sysrq
            && read(&self.sysrq).is_some_and(|now| now != *may)
        {
            steps.take(write(&self.sysrq, may));
        }
        let bound = self.bound();
        for (gadget, controller) in &found.gadgets {
            let place = self.gadgets.join(gadget).join("UDC");
            if place.exists() && !bound.iter().any(|(name, _)| name == gadget) {
                self.bind(&place, controller);
            }
        }
        for controller in &found.controllers {
            let place = self.soft_connect(controller);
            if place.exists() {
                steps.take(write(&place, "connect"));
            }
        }
    }

    /// To its controller, or to another that there is: some are named anew with each start. A cable that shows nothing must not keep a
    /// phone from being given back.
    fn bind(&self, place: &Path, controller: &str) {
        let others = names(&self.controllers);
        let others = others.iter().map(String::as_str);
        let all = std::iter::once(controller).chain(others.filter(|name| *name != controller));
        for name in all {
            match write(place, name) {
                Ok(()) => return,
                Err(fault) => tracing::info!(%fault, name, "a USB gadget is not bound again"),
            }
        }
    }

    fn bound(&self) -> Vec<(String, String)> {
        let bound = names(&self.gadgets).into_iter().filter_map(|name| {
            let controller = read(&self.gadgets.join(&name).join("UDC"))?;
            (!controller.is_empty()).then_some((name, controller))
        });
        bound.collect()
    }

    fn soft_connect(&self, controller: &str) -> PathBuf {
        self.controllers.join(controller).join("soft_connect")
    }

    /// A controller's gadget has a name (Documentation/ABI/stable/sysfs-class-udc); where it is not one of configfs, a module made it.
    fn has_module(&self, controller: &str) -> bool {
        read(&self.controllers.join(controller).join("function"))
            .is_some_and(|function| !function.is_empty())
    }
}

/// A file's line; `None` where there is none.
fn read(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn write(path: &Path, text: &str) -> Result<(), Fault> {
    fs::write(path, text)
        .map_err(|error| Fault::from_io(&format!("writing to {}", path.display()), &error))
}

/// What a folder holds, sorted; nothing where there is none.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch;

    fn content(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn doors_are_closed_and_opened_as_they_were_found() {
        let (_folder, roots) = scratch::folder(&[
            ("proc/sys/kernel/sysrq", "438\n"),
            ("sys/kernel/config/usb_gadget/g1/UDC", "musb-hdrc.4.auto\n"),
            ("sys/kernel/config/usb_gadget/g2/UDC", "\n"),
            ("sys/class/udc/musb-hdrc.4.auto/function", "g1\n"),
            ("sys/class/udc/other/function", "g_ether\n"),
            ("sys/class/udc/other/soft_connect", ""),
        ]);
        let places = Places::new(&roots);
        let found = places.found();
        assert_eq!(places.open().as_deref(), Some("the magic system key"));
        let mut steps = Steps::default();
        places.close(&mut steps);
        assert_eq!(steps.end(), Ok(()));
        let gadget = roots.sys.join("kernel/config/usb_gadget/g1/UDC");
        let module = roots.sys.join("class/udc/other/soft_connect");
        assert_eq!(content(&roots.proc.join("sys/kernel/sysrq")), "0");
        assert_eq!(content(&gadget), "\n");
        assert_eq!(content(&module), "disconnect");
        assert_eq!(places.open(), None);

        let mut steps = Steps::default();
        places.put_back(&found, &mut steps);
        assert_eq!(steps.end(), Ok(()));
        assert_eq!(content(&roots.proc.join("sys/kernel/sysrq")), "438");
        assert_eq!(content(&gadget), "musb-hdrc.4.auto");
        assert_eq!(content(&module), "connect");
        let unbound = roots.sys.join("kernel/config/usb_gadget/g2/UDC");
        assert_eq!(content(&unbound), "\n", "as it was");
    }

    #[test]
    fn a_gadget_that_cannot_be_bound_again_keeps_no_phone_from_being_given_back() {
        let (_folder, roots) = scratch::folder(&[
            (
                "sys/kernel/config/usb_gadget/g1/UDC/no",
                "a folder refuses what is written",
            ),
            ("sys/class/udc/musb-hdrc.9.auto/function", ""),
        ]);
        let places = Places::new(&roots);
        let found = Doors {
            gadgets: vec![("g1".into(), "musb-hdrc.4.auto".into())],
            ..Doors::default()
        };
        let mut steps = Steps::default();
        places.put_back(&found, &mut steps);
        assert_eq!(steps.end(), Ok(()));
        let place = roots.sys.join("gadget");
        places.bind(&place, "musb-hdrc.4.auto");
        assert_eq!(content(&place), "musb-hdrc.4.auto");
    }

    #[test]
    fn a_phone_without_any_door_has_none_open() {
        let (_folder, roots) = scratch::folder(&[]);
        let places = Places::new(&roots);
        assert_eq!(places.open(), None);
        let mut steps = Steps::default();
        places.close(&mut steps);
        places.put_back(&places.found(), &mut steps);
        assert_eq!(steps.end(), Ok(()));
    }
}
