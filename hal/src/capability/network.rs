//! The network as a trait: over what kind of interface the phone reaches an address, and when that may have changed. It opens no connection.

use std::net::IpAddr;
use std::time::Duration;

use homing_protocol::measure::{Metered, NetworkKind};

use crate::fault::{Cancel, Fault, Probe};

/// How traffic to one address leaves the phone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkPath {
    /// The interface's name, such as `wlan0`.
    pub interface: String,
    /// The phone's own address on that path; `None` when the kernel names none. A connection made from another one is
    /// of no use any more.
    pub source: Option<IpAddr>,
    /// What the interface is.
    pub kind: NetworkKind,
    /// Whether its traffic costs money.
    pub metered: Metered,
}

/// How a wait for a change ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkEvent {
    /// A link, an address or a route changed since the last call (or since this driver first listened).
    Changed,
    /// Nothing changed until the deadline.
    Quiet,
}

/// Something that knows the phone's network.
pub trait Network: Send {
    /// The driver's name for `homingd doctor`.
    fn name(&self) -> &'static str;

    /// Whether the kernel can be asked.
    fn probe(&self) -> Probe;

    /// The path that traffic to `address` takes now. Ask for the broker's address: a default route says little on a phone with two uplinks.
    ///
    /// # Errors
    /// [`Fault::Absent`] when there is no route, [`Fault::Denied`], [`Fault::Broken`].
    fn path_to(&mut self, address: IpAddr) -> Result<NetworkPath, Fault>;

    /// Blocks until links, addresses or routes change. Changes between two calls are not lost.
    ///
    /// # Errors
    /// [`Fault::Cancelled`], [`Fault::Denied`], [`Fault::Broken`].
    fn wait_for_change(
        &mut self,
        deadline: Duration,
        cancel: &Cancel,
    ) -> Result<NetworkEvent, Fault>;
}
