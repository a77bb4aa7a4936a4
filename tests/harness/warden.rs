//! A small shell that outlives the test process by a moment: however that ends, also by SIGKILL, it ends the processes and removes the folders left. It must not act while the test lives.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Reads `+ GROUP`, `- GROUP`, `d FOLDER` and `r FOLDER`; at the end of its input, which is the end of the test
/// process, it kills the groups and removes the folders that are still on its list. One item a line, so that
/// names may hold spaces. (The kill of dash takes no `--`.)
const SCRIPT: &str = r#"
trap '' HUP INT TERM
groups= folders=
without() { printf '%s' "$1" | grep -Fxv -- "$2"; }
while IFS= read -r line; do
    what=${line#? }
    case $line in
        '+ '*) groups="$groups
$what" ;;
        '- '*) groups=$(without "$groups" "$what") ;;
        'd '*) folders="$folders
$what" ;;
        'r '*) folders=$(without "$folders" "$what") ;;
    esac
done
IFS='
'
for group in $groups; do kill -9 "-$group" 2>/dev/null; done
for folder in $folders; do rm -rf -- "$folder"; done
"#;

/// The shell, once something is guarded.
enum Warden {
    NotYet,
    Watches(Child),
    /// Everything was cleaned up: nothing is begun any more.
    Closed,
}

static WARDEN: Mutex<Warden> = Mutex::new(Warden::NotYet);

/// Starts a process that ends with the test process. What `start` makes, files too, cannot come into the middle of a
/// [`clean_up`]: whoever comes after one waits for the end of this process.
pub(crate) fn start_guarded(start: impl FnOnce() -> Child) -> Child {
    let mut warden = open();
    let child = start();
    tell_to(&mut warden, &format!("+ {}\n", child.id()));
    child
}

/// Makes something that no process is in, likewise.
pub(crate) fn undisturbed<R>(make: impl FnOnce() -> R) -> R {
    let _open = open();
    make()
}

/// The warden, unless everything was cleaned up: then the caller has no business any more, and waits for its end.
fn open() -> MutexGuard<'static, Warden> {
    loop {
        let warden = WARDEN.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*warden, Warden::Closed) {
            return warden;
        }
        drop(warden);
        std::thread::park();
    }
}

/// The group has ended and was reaped: its number may be given to somebody else.
pub(crate) fn release_group(group: i32) {
    tell(&format!("- {group}\n"));
}

/// From now on this folder is removed with the test process.
pub(crate) fn guard_folder(folder: &Path) {
    tell(&format!("d {}\n", folder.display()));
}

/// The folder was removed.
pub(crate) fn release_folder(folder: &Path) {
    tell(&format!("r {}\n", folder.display()));
}

/// Ends every process and removes every folder of the harness now, and waits until that is done. For a program
/// that is told to end in the middle of its work; what it still holds of the harness is dead afterwards.
pub fn clean_up() {
    let mut warden = WARDEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Warden::Watches(mut shell) = std::mem::replace(&mut *warden, Warden::Closed) {
        drop(shell.stdin.take());
        let _ = shell.wait();
    }
}

fn tell(line: &str) {
    let mut warden = WARDEN.lock().unwrap_or_else(PoisonError::into_inner);
    // Whatever is released after everything was cleaned up was cleaned up.
    if !matches!(*warden, Warden::Closed) {
        tell_to(&mut warden, line);
    }
}

fn tell_to(warden: &mut Warden, line: &str) {
    if matches!(warden, Warden::NotYet) {
        *warden = Warden::Watches(start());
    }
    let told = match warden {
        Warden::Watches(shell) => shell.stdin.as_mut(),
        Warden::NotYet | Warden::Closed => None,
    };
    let told = told.map(|pipe| pipe.write_all(line.as_bytes()));
    assert!(
        matches!(told, Some(Ok(()))),
        "the warden that cleans up after a test is gone"
    );
}

fn start() -> Child {
    Command::new("sh")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A group of its own: Ctrl-C in the terminal must not reach it.
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("could not start sh: {error}"))
}
