//! The drivers that read the kernel's files and sockets, on temporary roots.

use std::fs;

use homing_hal::conformance;
use homing_hal::fault::Roots;
use homing_hal::linux::identity::SystemIdentity;
use homing_hal::linux::netlink::route_interface;
use homing_hal::linux::network::KernelNetwork;
use homing_hal::linux::power::SysfsPower;
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
    let index = route_interface([127, 0, 0, 1].into()).unwrap();
    let (_folder, roots) = phone(&[
        ("sys/class/net/lo/ifindex", &index.to_string()),
        ("sys/class/net/lo/type", "772"),
    ]);
    conformance::a_working_network(&mut KernelNetwork::new(&roots), None);
}
