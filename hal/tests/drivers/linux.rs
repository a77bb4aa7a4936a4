//! The drivers that read the kernel's files and sockets, on temporary roots.

use std::fs;
use std::process::Command;
use std::time::Duration;

use homing_hal::capability::network::{Network, NetworkEvent};
use homing_hal::conformance;
use homing_hal::fault::{Cancel, Fault, Roots};
use homing_hal::linux::identity::SystemIdentity;
use homing_hal::linux::netlink::route_to;
use homing_hal::linux::network::KernelNetwork;
use homing_hal::linux::power::SysfsPower;
use homing_protocol::measure::NetworkKind;
use tempfile::TempDir;

fn phone(files: &[(&str, &str)]) -> (TempDir, Roots) {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let root = |name: &str| folder.path().join(name);
    let roots = Roots {
        sys: root("sys"),
        proc: root("proc"),
        dev: root("dev"),
        run: root("run"),
        etc: root("etc"),
    };
    (folder, roots)
}

#[test]
fn the_sysfs_battery_conforms() {
    let (_folder, roots) = phone(&[
        ("sys/class/power_supply/battery/type", "Battery\n"),
        ("sys/class/power_supply/battery/capacity", "64\n"),
        ("sys/class/power_supply/battery/status", "Discharging\n"),
    ]);
    conformance::a_working_battery(&mut SysfsPower::new(&roots));
}

#[test]
fn the_system_identity_conforms() {
    let (_folder, roots) = phone(&[("sys/firmware/devicetree/base/model", "Purism Librem 5r4\0")]);
    conformance::a_working_identity(&mut SystemIdentity::new(&roots));
}

#[test]
fn the_kernel_network_conforms() {
    let index = route_to([127, 0, 0, 1].into()).unwrap().interface;
    let (_folder, roots) = phone(&[
        ("sys/class/net/lo/ifindex", &index.to_string()),
        ("sys/class/net/lo/type", "772"),
    ]);
    conformance::a_working_network(&mut KernelNetwork::new(&roots), None);
}

/// Set in the copy of a test that runs in a network of its own.
const INSIDE: &str = "HOMING_TEST_OWN_NETWORK";

/// Runs the named test of this file again in a network namespace of its own, where links may be changed; says so aloud where the system forbids it.
fn in_a_network_of_its_own(test: &str, inside: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let allowed = Command::new("unshare")
        .args(["-rn", "ip", "link", "show", "lo"])
        .output();
    if !allowed.is_ok_and(|ended| ended.status.success()) {
        eprintln!("SKIPPED: no unshare and ip that may make a network of their own");
        return;
    }
    let ended = Command::new("unshare")
        .arg("-rn")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

fn ip(arguments: &[&str]) {
    assert!(
        Command::new("ip")
            .args(arguments)
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn links_that_come_and_go_wake_the_listener_and_move_the_path() {
    let name = "linux::links_that_come_and_go_wake_the_listener_and_move_the_path";
    in_a_network_of_its_own(name, || {
        let address = [192, 0, 2, 1].into();
        let lost = route_to(address);
        assert!(matches!(lost, Err(Fault::Absent(_))), "{lost:?}");
        // In a new network the loopback link has index 1; the other one is given its own below.
        let (_folder, roots) = phone(&[
            ("sys/class/net/lo/ifindex", "1"),
            ("sys/class/net/lo/type", "772"),
            ("sys/class/net/wwan0/ifindex", "12"),
            ("sys/class/net/wwan0/type", "1"),
            ("sys/class/net/wwan0/uevent", "DEVTYPE=wwan\n"),
        ]);
        let mut network = KernelNetwork::new(&roots);
        ip(&["link", "set", "lo", "up"]);
        let moment = Duration::from_millis(50);
        let quiet = network.wait_for_change(moment, &Cancel::new());
        assert_eq!(quiet, Ok(NetworkEvent::Quiet));
        ip(&[
            "link", "add", "wwan0", "index", "12", "type", "veth", "peer", "name", "far",
        ]);
        ip(&["address", "add", "192.0.2.2/24", "dev", "wwan0"]);
        ip(&["link", "set", "far", "up"]);
        ip(&["link", "set", "wwan0", "up"]);
        conformance::a_working_network(&mut network, Some(&|| ip(&["link", "set", "far", "down"])));
        ip(&["link", "set", "far", "up"]);
        let path = network.path_to(address).unwrap();
        assert_eq!(
            (path.interface.as_str(), path.kind),
            ("wwan0", NetworkKind::Cellular)
        );
    });
}
