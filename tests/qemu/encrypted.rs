//! A phone whose disk asks for a passphrase: lost, restarted, its message before the prompt, opened and given back. It must not read what is on the panel by anything but its pixels.

use crate::household::{Home, Machine, figures};
use crate::lost::{NOTICE, is_in_use, is_lost, says};
use crate::phosh::with_phosh;
use crate::picture::Expected;
use e2e::{Firmware, Fittings, GUEST_PATIENCE, Panel, Root, wait_until};
use serde_json::json;
use std::time::{Duration, Instant};

/// Each is one key.
const PASSPHRASE: &str = "homecoming";

/// What an installer does: a LUKS2 volume with the system on it, /etc/crypttab and /etc/fstab, and Debian's own initial RAM disk with what
/// our package adds to it. The key's derivation is short, as an emulated phone is slow. The drivers are the image's, or the disk would be
/// filled with every one there is.
const MOVES: &str = r#"set -e
systemctl stop homingd-agent.service homingd-actor.socket homingd-actor.service
printf %s PASSPHRASE | cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 /dev/vdb -
printf %s PASSPHRASE | cryptsetup open /dev/vdb luksroot -
mkfs.ext4 -q /dev/mapper/luksroot
echo "luksroot UUID=$(cryptsetup luksUUID /dev/vdb) none luks,initramfs" >/etc/crypttab
sed -i 's|^PARTLABEL=homing-root|/dev/mapper/luksroot|' /etc/fstab
echo MODULES=list >/etc/initramfs-tools/conf.d/story
update-initramfs -u
mkdir -p /mnt
mount /dev/mapper/luksroot /mnt
cp -ax /. /mnt/
umount /mnt
cryptsetup close luksroot
umount /boot/efi
sync"#;

/// The message's copy, below the boot partition.
const COPY: &str = "/boot/efi/homing/lost.json";

/// Types the passphrase until the root is opened: what is typed before the prompt stands there is thrown away.
#[track_caller]
fn opens(home: &mut Home) {
    let mut typed: Option<Instant> = None;
    wait_until(GUEST_PATIENCE, "the passphrase to open the root", || {
        if home.guest().console().contains("EXT4-fs (dm-0): mounted") {
            return Some(());
        }
        if typed.is_none_or(|typed| typed.elapsed() > Duration::from_secs(20)) {
            for letter in PASSPHRASE.chars() {
                home.guest().press(&[&letter.to_string()]);
            }
            home.guest().press(&["ret"]);
            typed = Some(Instant::now());
        }
        None
    });
    assert_eq!(
        says(home.guest(), "findmnt -no SOURCE /"),
        "/dev/mapper/luksroot"
    );
}

#[test]
fn an_encrypted_phone_shows_its_message_before_the_prompt_and_comes_home() {
    let Some(kit) = with_phosh() else { return };
    let fittings = Fittings {
        panel: Panel::Virtio,
        root: Root::CardBesideVolume,
        ..Fittings::default()
    };
    let mut home = Home::enrolled(Machine::System(kit, Firmware::None), fittings);
    let _ = home
        .guest()
        .run(&format!("({})", MOVES.replace("PASSPHRASE", PASSPHRASE)))
        .expect_success();
    home.power_cut();

    let fittings = Fittings {
        root: Root::Volume,
        ..fittings
    };
    let _ = home.switch_on(fittings);
    opens(&mut home);
    home.wait_connected();
    home.lose();
    home.wait_notice(true);
    is_lost(home.guest());
    wait_until(GUEST_PATIENCE, "the message on the boot partition", || {
        (home.guest().run(&format!("[ -s {COPY} ]")).code == 0).then_some(())
    });
    let mut expected = Expected::of(home.guest(), NOTICE);
    home.power_cut();

    let switched_on = Instant::now();
    let _ = home.switch_on(fittings);
    wait_until(GUEST_PATIENCE, "the message before the prompt", || {
        expected
            .stands_before_the_prompt(home.guest(), "before-passphrase")
            .then_some(())
    });
    let message_after = switched_on.elapsed();
    home.guest().press(&["spc"]);
    wait_until(GUEST_PATIENCE, "the prompt", || {
        (!expected.stands_before_the_prompt(home.guest(), "prompt")).then_some(())
    });
    opens(&mut home);
    is_lost(home.guest());
    wait_until(GUEST_PATIENCE, "the lost screen", || {
        expected.is_shown(home.guest(), "opened", 30).then_some(())
    });
    home.wait_connected();
    let mut ending = home.is_found();
    home.wait_notice(false);
    wait_until(GUEST_PATIENCE, "the copy to be gone", || {
        (home.guest().run(&format!("[ ! -e {COPY} ]")).code == 0).then_some(())
    });
    is_in_use(home.guest(), None);
    assert!(ending.wait(GUEST_PATIENCE).success(), "{}", ending.log());
    figures(&json!({
        "from switching on to the message, s": message_after.as_secs_f64(),
    }));
}
