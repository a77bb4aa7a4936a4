//! Which user's program listens at a TCP address of this machine, by the kernel's tables. Believes no name that a program gives itself.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::unistd::{Uid, User};

/// The kernel's tables of this network name space.
const TABLES: [&str; 2] = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
/// `TCP_LISTEN` of the kernel's `net/tcp_states.h`, as the tables print it.
const LISTEN: &str = "0A";
/// The user that Debian and Alpine run gpsd as. Where it is started as root, as usual, its sockets stay root's.
const USER: &str = "gpsd";

/// Why a program that listens here is none whose positions are believed; `None` also where there is no table to look into.
///
/// Any program of the phone's user may bind the port while no gpsd runs; root, gpsd's user and our own are believed. It is
/// asked once the connection stands: a listener that is gone by then was none of gpsd's.
pub(super) fn objection(address: SocketAddr) -> Option<String> {
    let ip = address.ip().to_canonical();
    // The kernel takes a connection to no address at all to the loopback.
    if !ip.is_loopback() && !ip.is_unspecified() {
        return None;
    }
    let [v4, v6] = TABLES.map(|path| fs::read_to_string(path).unwrap_or_default());
    if v4.is_empty() {
        return None;
    }
    let Some(uid) = listener(&v4, &v6, address).map(Uid::from_raw) else {
        return Some("who listened there has gone, as gpsd does not, and is not believed".into());
    };
    let gpsd = User::from_name(USER).ok().flatten();
    if uid.is_root() || uid == Uid::effective() || gpsd.is_some_and(|gpsd| gpsd.uid == uid) {
        return None;
    }
    let user = User::from_uid(uid).ok().flatten();
    let name = user.map_or_else(|| uid.to_string(), |user| user.name);
    Some(format!(
        "a program of the user {name} listens there instead of gpsd, and its positions are not believed; stop it and start gpsd"
    ))
}

/// The user id behind the listening socket that the kernel gives a connection to this address.
fn listener(v4: &str, v6: &str, address: SocketAddr) -> Option<u32> {
    let listening: Vec<(SocketAddr, u32)> = v4.lines().chain(v6.lines()).filter_map(row).collect();
    let at = |ip: IpAddr| {
        let found = listening.iter().find(|(bound, _)| {
            bound.port() == address.port() && bound.ip().to_canonical() == ip.to_canonical()
        });
        found.map(|(_, uid)| *uid)
    };
    let exact = match address.ip().to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let any_v4 = exact.is_ipv4().then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    // The most exact of the sockets is the one that the kernel chooses; one for IPv6 may serve IPv4, too.
    let order = [Some(exact), any_v4, Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED))];
    order.into_iter().flatten().find_map(at)
}

/// The address and user of a row (proc_pid_net(5)), when it is of a listening socket.
fn row(line: &str) -> Option<(SocketAddr, u32)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (ip, port) = fields.next()?.split_once(':')?;
    let state = fields.nth(1)?;
    let uid = fields.nth(3)?.parse().ok()?;
    let port = u16::from_str_radix(port, 16).ok()?;
    (state == LISTEN).then_some((SocketAddr::new(ip_of(ip)?, port), uid))
}

/// Groups of 32 bits in the byte order of the machine, as the kernel prints them.
fn ip_of(text: &str) -> Option<IpAddr> {
    let mut bytes = Vec::with_capacity(16);
    for group in text.as_bytes().chunks(8) {
        let group = std::str::from_utf8(group).ok()?;
        bytes.extend(u32::from_str_radix(group, 16).ok()?.to_ne_bytes());
    }
    match (
        <[u8; 4]>::try_from(bytes.as_slice()),
        <[u8; 16]>::try_from(bytes),
    ) {
        (Ok(v4), _) => Some(v4.into()),
        (_, Ok(v6)) => Some(v6.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    fn hex(ip: IpAddr) -> String {
        let bytes = match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let groups = bytes.chunks(4).map(|group| {
            let group = group.try_into().expect("four bytes");
            format!("{:08X}", u32::from_ne_bytes(group))
        });
        groups.collect()
    }

    fn line(ip: &str, port: u16, state: &str, uid: u32) -> String {
        let ip = hex(ip.parse().expect("an address"));
        format!(
            "   0: {ip}:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 {uid:5}        0 41 1 0 100 0 0 10 0\n"
        )
    }

    #[test]
    fn the_listener_is_the_most_exact_socket_of_the_port() {
        let v4 = [
            HEAD,
            &line("127.0.0.1", 2947, "01", 7),
            &line("127.0.0.1", 2948, LISTEN, 8),
            &line("0.0.0.0", 2947, LISTEN, 9),
        ]
        .concat();
        let v6 = [
            HEAD,
            &line("::1", 2947, LISTEN, 10),
            &line("::", 2947, LISTEN, 11),
        ]
        .concat();
        let asked = |v4: &str, v6: &str, address: &str| {
            listener(v4, v6, address.parse().expect("an address"))
        };
        assert_eq!(asked(&v4, &v6, "127.0.0.1:2947"), Some(9));
        assert_eq!(asked(&v4, &v6, "127.0.0.1:2948"), Some(8));
        assert_eq!(asked(&v4, &v6, "[::1]:2947"), Some(10));
        assert_eq!(asked(HEAD, &v6, "127.0.0.1:2947"), Some(11));
        assert_eq!(asked(&v4, &v6, "0.0.0.0:2948"), Some(8));
        // A listener for IPv4 alone never gets a connection to an IPv6 address.
        let wide = [HEAD, &line("::", 2947, LISTEN, 11)].concat();
        assert_eq!(asked(&v4, &wide, "[::1]:2947"), Some(11));
        assert_eq!(asked(&v4, HEAD, "[::1]:2947"), None);
        assert_eq!(asked(&v4, &v6, "127.0.0.1:2949"), None);
        assert_eq!(asked("torn 0100007F", "", "127.0.0.1:2947"), None);
    }

    #[test]
    fn nobody_asks_who_listens_on_another_machine() {
        assert_eq!(objection("192.0.2.1:2947".parse().expect("read")), None);
    }
}
