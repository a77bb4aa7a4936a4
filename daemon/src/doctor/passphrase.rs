//! What the doctor says of a phone whose disk asks for a passphrase: nothing of ours runs before it but what the initial RAM disk shows. It must not write.

use std::path::Path;

use homing_hal::fault::Roots;

use crate::actor::{bootcopy, notice};
use crate::config::Settings;

/// What makes initial RAM disks, with the hook of ours that it takes along.
const MAKERS: [(&str, &str); 2] = [
    (
        "usr/sbin/update-initramfs",
        "usr/share/initramfs-tools/hooks/homing-lost",
    ),
    (
        "usr/sbin/mkinitfs",
        "usr/share/mkinitfs/hooks-extra/50-homing-lost.sh",
    ),
];

/// What follows from an encrypted disk, as one sentence; programs and hooks are looked for below `root`.
pub(super) fn consequence(settings: &Settings, roots: &Roots, root: &Path) -> String {
    let unreachable = "it is encrypted: from a restart on the phone is unreachable until somebody types the disk's passphrase";
    match message(settings, roots, root) {
        Ok(()) => format!("{unreachable}; a lost phone shows its message before that"),
        Err(why) => format!("{unreachable}; a lost phone shows no message before that: {why}"),
    }
}

fn message(settings: &Settings, roots: &Roots, root: &Path) -> Result<(), String> {
    let folder = bootcopy::place(settings, roots)?
        .ok_or("lost.boot_folder is \"none\"")
        .map_err(str::to_owned)?;
    let Some((_, hook)) = MAKERS.iter().find(|(maker, _)| root.join(maker).exists()) else {
        return Err("neither initramfs-tools nor postmarketos-mkinitfs is here".into());
    };
    if !root.join(hook).exists() {
        return Err(format!("/{hook} is not installed"));
    }
    // A boot partition that this user may not look into says nothing.
    if let Ok(false) = folder.try_exists() {
        return Err(format!(
            "{} is not there: update-initramfs -u makes it",
            folder.display()
        ));
    }
    let can_see = std::fs::read_dir(&folder).is_ok();
    if can_see && notice::stands(&settings.actor_dir()) && !bootcopy::lies_in(&folder) {
        return Err(format!(
            "nothing could be written into {}",
            folder.display()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::BootFolder;

    fn file(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    #[test]
    fn an_encrypted_phone_is_said_to_be_unreachable_and_whether_its_message_is_shown() {
        let root = tempfile::tempdir().unwrap();
        let boot = root.path().join("boot/homing");
        let mut settings = Settings {
            actor_dir: Some(root.path().join("actor")),
            ..Settings::default()
        };
        settings.lost.boot_folder = BootFolder::Nowhere;
        let said = |settings: &Settings| consequence(settings, &Roots::default(), root.path());
        assert!(said(&settings).contains("boot_folder"));
        settings.lost.boot_folder = BootFolder::At(boot.clone());
        assert!(said(&settings).contains("neither initramfs-tools"));
        file(&root.path().join(MAKERS[0].0));
        assert!(said(&settings).contains("not installed"));
        file(&root.path().join(MAKERS[0].1));
        assert!(said(&settings).contains("update-initramfs -u makes it"));
        fs::create_dir_all(&boot).unwrap();
        let good = said(&settings);
        assert!(
            good.ends_with("a lost phone shows its message before that"),
            "{good}"
        );
        assert!(good.contains("unreachable until somebody types"), "{good}");
        file(&root.path().join("actor/shown/notice.json"));
        assert!(said(&settings).contains("nothing could be written"));
        file(&boot.join("lost.json"));
        assert_eq!(said(&settings), good);
    }
}
