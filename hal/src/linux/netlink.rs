//! The kernel's routing socket, blocking: one question, one answer, and a listener for changes. It changes nothing in the kernel.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use crate::fault::{Cancel, Fault};

/// Room for one answer, bytes: one route with its attributes is below 300; the kernel's own dumps use pages of 8 KiB (NLMSG_GOODSIZE).
const ANSWER_ROOM: usize = 8192;
/// How long the kernel may take. It answers from memory.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// Multicast groups of link, IPv4 and IPv6 address and route changes: RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE (linux/rtnetlink.h).
const CHANGES: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

/// How the kernel would send to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The index of the interface.
    pub interface: u32,
    /// The phone's address that it would send from (`RTA_PREFSRC`).
    pub source: Option<IpAddr>,
}

/// The route that the kernel would take to `address` now.
///
/// # Errors
/// [`Fault::Absent`] without a route, else as the kernel's error classifies.
pub fn route_to(address: IpAddr) -> Result<Route, Fault> {
    let socket = open(0)?;
    socket
        .connect(&SocketAddr::new(0, 0))
        .map_err(|error| Fault::from_io("connecting to the kernel's routing socket", &error))?;
    socket
        .send(&question(address), 0)
        .map_err(|error| Fault::from_io("asking the kernel for a route", &error))?;
    Cancel::new().wait_readable(borrow(&socket), Instant::now() + ANSWER_TIME)?;
    let mut answer = Vec::with_capacity(ANSWER_ROOM);
    socket
        .recv(&mut answer, 0)
        .map_err(|error| Fault::from_io("reading the kernel's route", &error))?;
    let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)
        .map_err(|error| Fault::Broken(format!("the kernel's route cannot be read: {error}")))?;
    read_route(message.payload)
}

fn question(address: IpAddr) -> Vec<u8> {
    let mut route = RouteMessage::default();
    let (family, bits) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    route.header.address_family = family;
    route.header.destination_prefix_length = bits;
    route
        .attributes
        .push(RouteAttribute::Destination(RouteAddress::from(address)));
    let mut message = NetlinkMessage::from(RouteNetlinkMessage::GetRoute(route));
    message.header.flags = NLM_F_REQUEST;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn read_route(payload: NetlinkPayload<RouteNetlinkMessage>) -> Result<Route, Fault> {
    match payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => {
            let (mut interface, mut source) = (None, None);
            for attribute in &route.attributes {
                match attribute {
                    RouteAttribute::Oif(index) => interface = Some(*index),
                    RouteAttribute::PrefSource(RouteAddress::Inet(address)) => {
                        source = Some(IpAddr::V4(*address));
                    }
                    RouteAttribute::PrefSource(RouteAddress::Inet6(address)) => {
                        source = Some(IpAddr::V6(*address));
                    }
                    _ => {}
                }
            }
            interface
                .map(|interface| Route { interface, source })
                .ok_or_else(|| Fault::Absent("the route leads through no interface".into()))
        }
        NetlinkPayload::Error(error) => {
            let error = error.to_io();
            // ENETUNREACH is a kind of its own in Rust; "no route" may also come as ESRCH.
            match error.raw_os_error() == Some(nix::errno::Errno::ESRCH as i32) {
                true => Err(Fault::Absent(format!("no route: {error}"))),
                false => Err(Fault::from_io("asking the kernel for a route", &error)),
            }
        }
        other => Err(Fault::Broken(format!(
            "the kernel answered with message type {}",
            other.message_type()
        ))),
    }
}

/// A socket that hears of every change of links, addresses and routes from its creation on.
pub struct ChangeListener(Socket);

impl std::fmt::Debug for ChangeListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChangeListener")
    }
}

impl ChangeListener {
    /// Begins to listen.
    ///
    /// # Errors
    /// As the kernel's error classifies; containers may deny the socket.
    pub fn new() -> Result<Self, Fault> {
        open(CHANGES).map(Self)
    }

    /// Blocks until something changed and swallows everything that is already queued; what changed is not looked at, the caller asks anew.
    ///
    /// # Errors
    /// [`Fault::TimedOut`] when nothing changed until `until`, [`Fault::Cancelled`], [`Fault::Broken`].
    pub fn wait(&self, until: Instant, cancel: &Cancel) -> Result<(), Fault> {
        cancel.wait_readable(borrow(&self.0), until)?;
        let mut room = Vec::with_capacity(ANSWER_ROOM);
        loop {
            room.clear();
            match self.0.recv(&mut room, 0) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // Too many changes to queue (ENOBUFS): something changed, certainly.
                Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ENOBUFS as i32) => {}
                Err(error) => return Err(Fault::from_io("listening for network changes", &error)),
            }
        }
    }
}

fn open(groups: u32) -> Result<Socket, Fault> {
    let opened = Socket::new(NETLINK_ROUTE).and_then(|mut socket| {
        socket.set_non_blocking(true)?;
        socket.bind(&SocketAddr::new(0, groups))?;
        Ok(socket)
    });
    opened.map_err(|error| Fault::from_io("opening the kernel's routing socket", &error))
}

fn borrow(socket: &Socket) -> BorrowedFd<'_> {
    // SAFETY: the descriptor is open as long as the socket, and the result does not outlive the borrow of the socket.
    unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn the_kernel_routes_the_loopback_address_through_an_interface_from_that_address() {
        let route = route_to(Ipv4Addr::LOCALHOST.into()).unwrap();
        assert!(route.interface >= 1);
        assert_eq!(route.source, Some(Ipv4Addr::LOCALHOST.into()));
    }

    #[test]
    fn an_address_without_a_route_is_absent() {
        // The discard-only prefix of RFC 6666 is routed nowhere; on a host with an IPv6 default route the kernel may still name an interface.
        let answer = route_to(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1).into());
        assert!(
            answer.is_ok() || matches!(answer, Err(Fault::Absent(_) | Fault::Denied(_))),
            "{answer:?}"
        );
    }

    #[test]
    fn nonsense_instead_of_a_route_is_broken() {
        assert!(matches!(
            read_route(NetlinkPayload::Noop),
            Err(Fault::Broken(_))
        ));
    }

    #[test]
    fn a_wait_for_changes_ends_when_it_is_cancelled() {
        let listener = ChangeListener::new().unwrap();
        let cancel = Cancel::new();
        cancel.cancel();
        let ended = listener.wait(Instant::now() + Duration::from_secs(60), &cancel);
        assert!(matches!(ended, Err(Fault::Cancelled(_))));
    }
}
