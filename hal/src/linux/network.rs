//! Over what kind of interface an address is reached: the kernel says through which, sysfs says what it is. It opens no connection.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use homing_protocol::measure::{Metered, NetworkKind};

use super::netlink::{self, ChangeListener};
use crate::capability::network::{Network, NetworkEvent, NetworkPath};
use crate::fault::{Cancel, Fault, Probe, Roots};

// Hardware types of linux/if_arp.h.
const ARPHRD_ETHER: u32 = 1;
const ARPHRD_PPP: u32 = 512;
const ARPHRD_RAWIP: u32 = 519;
const ARPHRD_LOOPBACK: u32 = 772;
const ARPHRD_NONE: u32 = 65534;

/// Names that the kernel's modem drivers give (wwan, qmi_wwan and cdc_mbim: `wwan`; ppp; Qualcomm: `rmnet`, `rmnet_data`; Samsung and MediaTek: `ccmni`).
const CELLULAR_NAMES: [&str; 4] = ["wwan", "ppp", "rmnet", "ccmni"];
/// `DEVTYPE`s of tunnels in an interface's uevent.
const TUNNEL_TYPES: [&str; 2] = ["wireguard", "vxlan"];
/// Names that tunnels go by where the kernel states no type.
const TUNNEL_NAMES: [&str; 4] = ["tun", "tap", "wg", "ipsec"];

/// The driver.
#[derive(Debug)]
pub struct KernelNetwork {
    interfaces: PathBuf,
    listener: Option<ChangeListener>,
}

impl KernelNetwork {
    /// A driver that asks the kernel for routes and reads interfaces below `roots.sys`. It listens for changes from the first [`Network::wait_for_change`] on.
    #[must_use]
    pub fn new(roots: &Roots) -> Self {
        Self {
            interfaces: roots.sys.join("class/net"),
            listener: None,
        }
    }

    /// The name of the interface with this index.
    fn name_of(&self, index: u32) -> Result<String, Fault> {
        let entries = fs::read_dir(&self.interfaces).map_err(|error| {
            Fault::from_io(&format!("listing {}", self.interfaces.display()), &error)
        })?;
        entries
            .flatten()
            .find(|entry| number(&entry.path(), "ifindex") == Some(index))
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .ok_or_else(|| Fault::Absent(format!("no interface has index {index}")))
    }

    /// What an interface is, by its sysfs folder. Pure but for the files read.
    #[must_use]
    pub fn kind_of(&self, interface: &str) -> NetworkKind {
        let folder = self.interfaces.join(interface);
        let named = |names: &[&str]| {
            names.iter().any(|name| {
                interface
                    .strip_prefix(name)
                    // `tunnel-of-mine` is not `tun0`.
                    .is_some_and(|rest| {
                        rest.is_empty()
                            || rest.starts_with(|c: char| c.is_ascii_digit() || c == '_')
                    })
            })
        };
        if folder.join("phy80211").exists() {
            return NetworkKind::Wifi;
        }
        let hardware = number(&folder, "type");
        let device_type = device_type(&folder).unwrap_or_default();
        if device_type == "wwan"
            || named(&CELLULAR_NAMES)
            || matches!(hardware, Some(ARPHRD_PPP | ARPHRD_RAWIP))
        {
            return NetworkKind::Cellular;
        }
        let tunnel = TUNNEL_TYPES.contains(&device_type.as_str())
            || folder.join("tun_flags").exists()
            || named(&TUNNEL_NAMES)
            || hardware == Some(ARPHRD_NONE);
        if tunnel {
            return NetworkKind::Vpn;
        }
        match hardware {
            Some(ARPHRD_ETHER) if device_type == "wlan" => NetworkKind::Wifi,
            Some(ARPHRD_ETHER) => NetworkKind::Ethernet,
            // Loopback carries nothing off the phone: a broker there says nothing about the network.
            Some(ARPHRD_LOOPBACK) | Some(_) | None => NetworkKind::Unknown,
        }
    }
}

impl Network for KernelNetwork {
    fn name(&self) -> &'static str {
        "kernel routes"
    }

    fn probe(&self) -> Probe {
        let names = fs::read_dir(&self.interfaces).map(|entries| {
            let mut names: Vec<String> = entries
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .map(|name| format!("{name} ({:?})", self.kind_of(&name)).to_lowercase())
                .collect();
            names.sort();
            names.join(", ")
        });
        match (names, ChangeListener::new()) {
            (Ok(detail), Ok(_)) => Probe::Ready { detail },
            (Err(error), _) => Probe::Unsupported {
                reason: Fault::from_io(&format!("listing {}", self.interfaces.display()), &error)
                    .to_string(),
            },
            (_, Err(fault)) => Probe::Unsupported {
                reason: fault.to_string(),
            },
        }
    }

    fn path_to(&mut self, address: IpAddr) -> Result<NetworkPath, Fault> {
        let route = netlink::route_to(address)?;
        let interface = self.name_of(route.interface)?;
        Ok(NetworkPath {
            kind: self.kind_of(&interface),
            interface,
            source: route.source,
            // Only a network daemon knows what traffic costs; none is asked yet.
            metered: Metered::Unknown,
        })
    }

    fn wait_for_change(
        &mut self,
        deadline: Duration,
        cancel: &Cancel,
    ) -> Result<NetworkEvent, Fault> {
        let until = Instant::now() + deadline;
        let listener = match self.listener.take() {
            Some(listener) => listener,
            None => ChangeListener::new()?,
        };
        let ended = listener.wait(until, cancel);
        if !matches!(ended, Err(Fault::Broken(_))) {
            self.listener = Some(listener);
        }
        match ended {
            Ok(()) => Ok(NetworkEvent::Changed),
            Err(Fault::TimedOut(_)) => Ok(NetworkEvent::Quiet),
            Err(fault) => Err(fault),
        }
    }
}

fn number(folder: &Path, name: &str) -> Option<u32> {
    fs::read_to_string(folder.join(name))
        .ok()?
        .trim()
        .parse()
        .ok()
}

fn device_type(folder: &Path) -> Option<String> {
    let uevent = fs::read_to_string(folder.join("uevent")).ok()?;
    let line = uevent
        .lines()
        .find_map(|line| line.strip_prefix("DEVTYPE="))?;
    Some(line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::folder;
    use std::net::Ipv4Addr;

    #[test]
    fn interfaces_are_told_apart_by_what_sysfs_says() {
        let (_dir, roots) = folder(&[
            ("sys/class/net/wlan0/type", "1\n"),
            ("sys/class/net/wlan0/phy80211/index", "0\n"),
            ("sys/class/net/wwan0/type", "65534\n"),
            (
                "sys/class/net/wwan0/uevent",
                "DEVTYPE=wwan\nINTERFACE=wwan0\n",
            ),
            ("sys/class/net/mhi0/type", "519\n"),
            ("sys/class/net/rmnet_data0/type", "530\n"),
            ("sys/class/net/ppp0/type", "512\n"),
            ("sys/class/net/eth0/type", "1\n"),
            ("sys/class/net/tunnel-of-mine/type", "1\n"),
            ("sys/class/net/usb0/type", "1\n"),
            ("sys/class/net/wg0/type", "65534\n"),
            ("sys/class/net/home/uevent", "DEVTYPE=wireguard\n"),
            ("sys/class/net/vpn0/tun_flags", "0x1002\n"),
            ("sys/class/net/lo/type", "772\n"),
        ]);
        let network = KernelNetwork::new(&roots);
        let expected = [
            ("wlan0", NetworkKind::Wifi),
            ("wwan0", NetworkKind::Cellular),
            ("mhi0", NetworkKind::Cellular),
            ("rmnet_data0", NetworkKind::Cellular),
            ("ppp0", NetworkKind::Cellular),
            ("eth0", NetworkKind::Ethernet),
            ("tunnel-of-mine", NetworkKind::Ethernet),
            ("usb0", NetworkKind::Ethernet),
            ("wg0", NetworkKind::Vpn),
            ("home", NetworkKind::Vpn),
            ("vpn0", NetworkKind::Vpn),
            ("lo", NetworkKind::Unknown),
            ("missing", NetworkKind::Unknown),
        ];
        for (interface, kind) in expected {
            assert_eq!(network.kind_of(interface), kind, "{interface}");
        }
    }

    #[test]
    fn the_kernels_answer_is_matched_with_the_injected_interfaces() {
        let index = netlink::route_to(Ipv4Addr::LOCALHOST.into())
            .unwrap()
            .interface;
        let (_dir, roots) = folder(&[
            ("sys/class/net/wlan7/ifindex", &format!("{index}\n")),
            ("sys/class/net/wlan7/phy80211/index", "0\n"),
            ("sys/class/net/wlan7/type", "1\n"),
        ]);
        let path = KernelNetwork::new(&roots)
            .path_to(Ipv4Addr::LOCALHOST.into())
            .unwrap();
        assert_eq!(
            (path.interface.as_str(), path.kind),
            ("wlan7", NetworkKind::Wifi)
        );
        assert_eq!(path.metered, Metered::Unknown);
    }
}
