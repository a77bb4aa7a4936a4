//! What is shown before a disk's passphrase: the hooks of the initial RAM disks and their script, on folders and stand-ins of the test's own. Says nothing about a real initial RAM disk.

use crate::{text, tree};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const HOOK: &str = "usr/share/initramfs-tools/hooks/homing-lost";
const LOCAL_TOP: &str = "usr/share/initramfs-tools/scripts/local-top/homing-lost";
const BEFORE: &str = "usr/lib/homing/before-passphrase";
const MKINITFS: &str = "usr/share/mkinitfs/hooks-extra/50-homing-lost.sh";

/// What the scripts name, as they name it; in a test it lies below the test's folder.
const PLACES: [&str; 12] = [
    "/usr/share/initramfs-tools/hook-functions",
    "/usr/share/initramfs-tools/hooks/cryptroot",
    "/usr/bin/homing-lost-screen",
    "/usr/lib/homing/before-passphrase",
    "/etc/",
    "/boot",
    "/efi",
    "/run/homing-",
    "/bin/plymouth",
    "/scripts/functions",
    "/cryptroot/crypttab",
    "/proc/",
];

/// A system, or what is in an initial RAM disk.
struct Root(TempDir);

impl Root {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// What waits or looks at the machine, as functions: busybox has most programs within. No time passes until the test says so.
    fn stand_ins(&self) -> String {
        format!(
            "sleep() {{ until [ -e {over} ]; do command sleep 0.05; done; }}\nmodprobe() {{ :; }}\nfindmnt() {{ return 1; }}\n\
             mountpoint() {{ [ -d \"$2/mounted\" ]; }}\n",
            over = self.path("time-is-over").display()
        )
    }

    /// Every wait is over at once.
    fn time_flies(&self) {
        self.write("time-is-over", "");
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.0.path().join(inside)
    }

    fn write(&self, inside: &str, text: &str) {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().expect("a folder")).expect("it works");
        fs::write(path, text).expect("it works");
    }

    fn program(&self, inside: &str, script: &str) {
        self.write(inside, &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(self.path(inside), fs::Permissions::from_mode(0o755))
            .expect("it works");
    }

    /// A script of ours in here; every place that it names is one of this root's.
    fn script(&self, inside: &str) -> PathBuf {
        let root = self.0.path().display().to_string();
        let mut script = self.stand_ins();
        let source = text(&tree().join(inside));
        let mut rest = source.as_str();
        while !rest.is_empty() {
            // What stands behind a variable or another name lies there already.
            let begins = script.ends_with([' ', '"', '<', '>', '(', '=']);
            if begins && PLACES.iter().any(|place| rest.starts_with(place)) {
                script.push_str(&root);
            }
            let next = rest.chars().next().expect("a letter");
            script.push(next);
            rest = &rest[next.len_utf8()..];
        }
        let name = inside.replace('/', "_");
        self.write(&name, &script);
        self.path(&name)
    }

    fn run(&self, shell: &[&str], inside: &str, arguments: &[&str]) -> Output {
        Command::new(shell[0])
            .args(&shell[1..])
            .arg(self.script(inside))
            .args(arguments)
            .env("DESTDIR", self.path("destination"))
            .env("version", "6.1.0-test")
            .output()
            .expect("it works")
    }

    /// Every line that a stand-in has written down.
    fn noted(&self) -> Vec<String> {
        let noted = fs::read_to_string(self.path("noted")).unwrap_or_default();
        noted.lines().map(str::to_owned).collect()
    }

    fn note(&self, what: &str) -> String {
        format!("echo \"{what}\" >>{}", self.path("noted").display())
    }
}

/// The shells of initial RAM disks that are here.
fn shells() -> Vec<Vec<&'static str>> {
    let mut found = vec![vec!["sh"]];
    if Command::new("busybox").arg("true").status().is_ok() {
        found.push(vec!["busybox", "sh"]);
    }
    found
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A system whose disk asks for a passphrase, with everything that the hook takes along.
fn encrypted() -> Root {
    let root = Root::new();
    root.write("etc/crypttab", "root UUID=1 none luks\n");
    let fstab = format!(
        "# a comment\n/dev/mapper/root / ext4 rw 0 1\nUUID=AB-CD\t{}  vfat umask=0077 0 2\n",
        root.path("boot/efi").display()
    );
    root.write("etc/fstab", &fstab);
    root.write("usr/share/initramfs-tools/hooks/cryptroot", "");
    root.write("usr/share/initramfs-tools/hook-functions", &format!(
        "copy_exec() {{ mkdir -p \"$DESTDIR/usr/bin\" && cp \"$1\" \"$DESTDIR/usr/bin/\"; }}\nmanual_add_modules() {{ {}; }}\n",
        root.note("modules $*")
    ));
    root.program("usr/bin/homing-lost-screen", "exit 0");
    root.write("usr/lib/homing/before-passphrase", "the script");
    root.write("etc/locale.conf", "LANG=de_DE.UTF-8\n");
    root.write("etc/homing/boot-fonts/arabic.ttf", "a font");
    fs::create_dir_all(root.path("boot/efi/mounted")).expect("it works");
    root
}

#[test]
fn the_hook_takes_the_screen_along_where_a_passphrase_is_asked_for() {
    let root = encrypted();
    let said = succeeds(&root.run(&["sh"], HOOK, &[]));
    assert_eq!(said, "");
    let taken = |inside: &str| text(&root.path("destination").join(inside));
    assert_eq!(taken("etc/homing-lost"), "UUID=AB-CD vfat\n");
    assert_eq!(taken("etc/locale.conf"), "LANG=de_DE.UTF-8\n");
    assert_eq!(taken("usr/share/fonts/arabic.ttf"), "a font");
    assert_eq!(taken("usr/lib/homing/before-passphrase"), "the script");
    assert!(taken("usr/bin/homing-lost-screen").contains("exit 0"));
    assert!(
        root.path("boot/efi/homing").is_dir(),
        "the actor writes there"
    );
    let modules = root.noted().join("\n");
    assert!(modules.contains("evdev") && modules.contains("nls_cp437"));
}

#[test]
fn a_phone_without_a_passphrase_gets_nothing_and_a_missing_piece_breaks_no_initial_ram_disk() {
    for file in ["etc/crypttab", "usr/share/initramfs-tools/hooks/cryptroot"] {
        let root = encrypted();
        fs::remove_file(root.path(file)).unwrap();
        assert_eq!(succeeds(&root.run(&["sh"], HOOK, &[])), "");
        assert!(!root.path("destination").exists(), "{file}");
        assert!(!root.path("boot/efi/homing").exists(), "{file}");
    }
    for file in [
        "etc/fstab",
        "usr/bin/homing-lost-screen",
        "usr/lib/homing/before-passphrase",
    ] {
        let root = encrypted();
        fs::remove_file(root.path(file)).unwrap();
        let said = succeeds(&root.run(&["sh"], HOOK, &[]));
        assert!(said.starts_with("W: homing-lost: "), "{file}: {said}");
        assert!(!root.path("destination/etc/homing-lost").exists(), "{file}");
    }
    let root = encrypted();
    root.write("etc/crypttab", "# nothing\n\n");
    assert_eq!(succeeds(&root.run(&["sh"], HOOK, &[])), "");
    assert!(!root.path("destination").exists());
}

#[test]
fn the_start_looks_for_the_boot_partition_and_waits_briefly_where_nobody_is_needed() {
    for shell in shells() {
        for (key, seconds) in [("none", "120"), ("/etc/keys/root", "15")] {
            let root = Root::new();
            root.time_flies();
            root.write("etc/homing-lost", "UUID=AB-CD vfat\n");
            root.write("cryptroot/crypttab", &format!("root UUID=1 {key} luks\n"));
            root.write(
                "scripts/functions",
                "wait_for_udev() { :; }\nresolve_device() { [ \"$1\" = UUID=AB-CD ] && echo /dev/vda1; }\n",
            );
            root.program("usr/lib/homing/before-passphrase", &root.note("before $*"));
            succeeds(&root.run(&shell, LOCAL_TOP, &[]));
            let expected = format!("before /dev/vda1 vfat {seconds}");
            assert_eq!(root.noted(), [expected], "{shell:?}");
            // The partition never comes.
            root.write("etc/homing-lost", "UUID=other vfat\n");
            succeeds(&root.run(&shell, LOCAL_TOP, &[]));
            assert_eq!(root.noted().len(), 1, "{shell:?}");
            assert_eq!(root.run(&shell, LOCAL_TOP, &["prereqs"]).stdout, b"\n");
        }
    }
}

/// An initial RAM disk with a screen that writes down what it is told, and the copy on its boot partition.
fn begun(screen: &str) -> Root {
    let root = Root::new();
    let screen = format!("{}\n{screen}", root.note("$*"));
    root.program("usr/bin/homing-lost-screen", &screen);
    root.write("partition/homing/lost.json", "{\"message\":\"m\"}");
    fs::create_dir_all(root.path("run")).expect("it works");
    root
}

fn before(root: &Root, shell: &[&str]) -> Vec<String> {
    let partition = root.path("partition").display().to_string();
    succeeds(&root.run(shell, BEFORE, &[&partition, "vfat", "7"]));
    assert!(!root.path("run/homing-lost.json").exists());
    root.noted()
}

#[test]
fn the_message_is_shown_from_the_boot_partition_and_a_screen_that_dies_is_undone() {
    for shell in shells() {
        let root = begun("cat \"$2\" >>$(dirname $0)/../../noted");
        let copy = root.path("run/homing-lost.json").display().to_string();
        let shown = format!("--before-passphrase {copy} --for 7");
        assert_eq!(
            before(&root, &shell),
            [shown.as_str(), "{\"message\":\"m\"}"],
            "{shell:?}"
        );
        for end in ["exit 70", "[ \"$1\" = --undo ] || kill -9 $$"] {
            let root = begun(end);
            let noted = before(&root, &shell);
            assert_eq!(noted.len(), 2, "{shell:?} {end}: {noted:?}");
            assert_eq!(noted[1], "--undo", "{shell:?} {end}");
        }
    }
}

#[test]
fn what_is_no_message_or_hangs_keeps_nobody_from_the_prompt() {
    for shell in shells() {
        // It hangs: the guard's time is over at once here.
        let hangs = "[ \"$1\" = --undo ] || while :; do read line </dev/zero; done";
        let root = begun(hangs);
        root.time_flies();
        let noted = before(&root, &shell);
        assert_eq!(
            noted.last().map(String::as_str),
            Some("--undo"),
            "{shell:?}"
        );

        let links: [fn(&Root); 3] = [
            |root| {
                fs::remove_file(root.path("partition/homing/lost.json")).unwrap();
            },
            |root| {
                let copy = root.path("partition/homing/lost.json");
                fs::remove_file(&copy).unwrap();
                symlink("/proc/kmsg", copy).unwrap();
            },
            |root| {
                let folder = root.path("partition/homing");
                fs::rename(&folder, root.path("partition/other")).unwrap();
                symlink("other", folder).unwrap();
            },
        ];
        for make in links {
            let root = begun("exit 0");
            make(&root);
            assert_eq!(before(&root, &shell), Vec::<String>::new(), "{shell:?}");
        }
    }
}

#[test]
fn postmarketos_takes_what_is_there_and_reads_scripts_of_shell() {
    let files = text(&tree().join("usr/share/mkinitfs/files-extra/50-homing-lost.files"));
    let shipped = |file: &str| {
        file == "/usr/bin/homing-lost-screen" || tree().join(file.trim_start_matches('/')).exists()
    };
    assert!(files.lines().all(shipped), "{files}");
    for script in [HOOK, LOCAL_TOP, BEFORE, MKINITFS] {
        let path = tree().join(script);
        for shell in shells() {
            let mut command = Command::new(shell[0]);
            let checked = command.args(&shell[1..]).arg("-n").arg(&path).status();
            assert!(checked.unwrap().success(), "{script}");
        }
        assert!(is_executable(&path), "{script}");
    }
    let recipe = text(&crate::packaging().join("alpine/APKBUILD"));
    for path in [BEFORE, MKINITFS, "usr/share/mkinitfs-triggers"] {
        assert!(recipe.contains(path), "{path}");
    }
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).expect("it works").permissions().mode() & 0o111 == 0o111
}
