//! Ports for servers that cannot choose one themselves. It must need nothing but std: the tests of hal and link take this file in as well.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::{Mutex, PoisonError};

/// The first of them.
const LOWEST: u16 = 10_000;
/// The first port that the kernel gives to clients and to whoever binds port 0, unless it is told otherwise (ip(7)).
const FIRST_OF_THE_KERNELS: u16 = 32_768;
/// How far apart the searches of two processes begin.
const STRIDE: u32 = 7;

/// Ports given out by this process: while a name is held, no other test takes its port.
static RESERVED: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

/// A port of 127.0.0.1 that nobody listens on, and that nobody but the caller will: not while the server that is to
/// have it starts, and not while it is down between two starts. It lies below those that the kernel gives away, for
/// a client of any other program could be given one of these meanwhile.
///
/// # Panics
/// When no port is left.
#[must_use]
pub fn free_port() -> u16 {
    let count = u32::from(FIRST_OF_THE_KERNELS - LOWEST);
    let first = std::process::id().wrapping_mul(STRIDE) % count;
    (first..count)
        .chain(0..first)
        .filter_map(|offset| u16::try_from(offset).ok())
        .map(|offset| LOWEST + offset)
        .find(|port| is_reserved(*port))
        .unwrap_or_else(|| panic!("no free port on 127.0.0.1"))
}

/// Whether the port is this process's from now on. The name lives as long as the process and in the same network name
/// space as the port.
fn is_reserved(port: u16) -> bool {
    let name = SocketAddr::from_abstract_name(format!("homing-test-port-{port}"));
    let Ok(held) = name.and_then(|name| UnixListener::bind_addr(&name)) else {
        return false;
    };
    let is_free = TcpListener::bind(("127.0.0.1", port)).is_ok();
    if is_free {
        let mut reserved = RESERVED.lock().unwrap_or_else(PoisonError::into_inner);
        reserved.push(held);
    }
    is_free
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_out_once_and_never_one_that_the_kernel_gives_away() {
        let ports: Vec<u16> = (0..20).map(|_| free_port()).collect();
        for (place, port) in ports.iter().enumerate() {
            assert!((LOWEST..FIRST_OF_THE_KERNELS).contains(port), "{port}");
            assert!(!ports[..place].contains(port), "{port} twice");
            assert!(!is_reserved(*port), "{port} could be had by another test");
            assert!(TcpListener::bind(("127.0.0.1", *port)).is_ok(), "{port}");
        }
    }
}
