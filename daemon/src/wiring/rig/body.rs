//! A body without hardware: each search finds at once. It must not touch a file.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use homing_hal::capability::network::{Network, NetworkEvent, NetworkPath};
use homing_hal::capability::power::Power;
use homing_hal::{Cancel, Fault, HalSettings, Probe};
use homing_protocol::id::CommandId;
use homing_protocol::measure::{Battery, Charging};

use crate::actor::ask::Nobody;
use crate::agent::Body;
use crate::worker::Search;

/// Orders whose search is on.
pub(super) type Searches = Rc<RefCell<Vec<CommandId>>>;

struct Searching(Searches);

impl Search for Searching {
    fn configure(&mut self, _settings: HalSettings, _limit: Duration) {}
    fn look_up(&mut self, _broker: (String, u16)) {}
    fn search(&mut self, command: CommandId, _longest: Duration) {
        self.0.borrow_mut().push(command);
    }
    fn track(&mut self) {}
    fn track_ended(&mut self) {}
}

struct Nothing;

fn none() -> Probe {
    Probe::Unsupported {
        reason: "pretended".into(),
    }
}

impl Power for Nothing {
    fn name(&self) -> &'static str {
        "pretended"
    }
    fn probe(&self) -> Probe {
        none()
    }
    fn battery(&mut self) -> Result<Battery, Fault> {
        Ok(Battery {
            percent: Some(60),
            charging: Charging::Discharging,
        })
    }
}

impl Network for Nothing {
    fn name(&self) -> &'static str {
        "pretended"
    }
    fn probe(&self) -> Probe {
        none()
    }
    fn path_to(&mut self, _address: IpAddr) -> Result<NetworkPath, Fault> {
        Err(Fault::Absent("no route is pretended".into()))
    }
    fn wait_for_change(
        &mut self,
        _deadline: Duration,
        _cancel: &Cancel,
    ) -> Result<NetworkEvent, Fault> {
        Err(Fault::Absent("nothing changes".into()))
    }
}

/// A body in one start of the phone.
pub(super) fn body(searches: &Searches, boot_text: String) -> Body {
    Body {
        searcher: Box::new(Searching(Rc::clone(searches))),
        privileged: Box::new(Nobody),
        power: Box::new(Nothing),
        network: Box::new(Nothing),
        boot_text,
    }
}
