//! A mosquitto of our own on a free port, from the shipped configuration, killed on drop.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    time::Instant,
};

use tempfile::TempDir;

use crate::{
    DEADLINE,
    household::{ALWAYS, Household, Identity, Years},
    port::free_port,
};

const SHIPPED_CONF: &str = include_str!("../../../mqtt-broker-config/mosquitto.conf");
const SHIPPED_ACL: &str = include_str!("../../../mqtt-broker-config/acl");
/// The owner client that the ACL file names.
pub(crate) const OWNER: &str = "owner-0123456789abcdef0123456789abcdef";

/// The broker and the household it serves.
pub(crate) struct Mosquitto {
    pub(crate) household: Household,
    program: PathBuf,
    dir: TempDir,
    port: u16,
    child: Option<Child>,
    lines: Receiver<String>,
    log: Vec<String>,
}

impl Mosquitto {
    /// Starts with a certificate for 127.0.0.1 and localhost. `None`, loudly, where no mosquitto is installed.
    pub(crate) fn start() -> Option<Self> {
        Self::start_named(&["127.0.0.1", "localhost"], ALWAYS)
    }

    /// Starts with a broker certificate for these names and years.
    pub(crate) fn start_named(names: &[&str], years: Years) -> Option<Self> {
        let Some(program) = find() else {
            eprintln!(
                "SKIPPED: mosquitto is neither in PATH nor in /usr/sbin; install the package `mosquitto`"
            );
            return None;
        };
        let household = Household::new();
        let dir = tempfile::Builder::new()
            .prefix("homing-link-")
            .tempdir()
            .expect("a folder");
        let port = free_port();
        let (_, lines) = mpsc::channel();
        let mut broker = Self {
            household,
            program,
            dir,
            port,
            child: None,
            lines,
            log: Vec::new(),
        };
        broker.write_files(names, years);
        broker.launch();
        Some(broker)
    }

    fn write_files(&self, names: &[&str], years: Years) {
        let at = |name: &str| self.dir.path().join(name);
        let identity = self.household.broker(names, years);
        // mosquitto started by root drops to its own user, who must get at the files.
        fs::set_permissions(self.dir.path(), fs::Permissions::from_mode(0o755)).expect("mode");
        fs::create_dir(at("data")).expect("data");
        fs::set_permissions(at("data"), fs::Permissions::from_mode(0o777)).expect("mode");
        for (name, content) in [
            ("mosquitto.conf", rendered(self.dir.path(), self.port)),
            (
                "acl",
                format!("{SHIPPED_ACL}user {OWNER}\ntopic readwrite homing/v1/#\n"),
            ),
            ("ca.crt", self.household.ca_pem()),
            ("broker.crt", identity.certificate_pem),
            ("broker.key", identity.key_pem),
            ("crl.pem", self.household.crl_pem(&[])),
        ] {
            write(&at(name), &content);
        }
    }

    /// Starts the process (again) and waits until it says that it runs.
    pub(crate) fn launch(&mut self) {
        let mut child = Command::new(&self.program)
            .arg("-c")
            .arg(self.dir.path().join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("mosquitto starts");
        let stderr = child.stderr.take().expect("piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        self.child = Some(child);
        self.lines = lines;
        self.wait_for_log(" running");
    }

    /// Waits until mosquitto logs a line with `part`, from now on.
    pub(crate) fn wait_for_log(&mut self, part: &str) {
        let end = Instant::now() + DEADLINE;
        loop {
            match self
                .lines
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(line) => {
                    let found = line.contains(part);
                    self.log.push(line);
                    if found {
                        return;
                    }
                }
                Err(_) => panic!(
                    "mosquitto never logged {part:?}, but:\n{}",
                    self.log.join("\n")
                ),
            }
        }
    }

    /// Everything logged so far.
    pub(crate) fn log(&mut self) -> String {
        while let Ok(line) = self.lines.try_recv() {
            self.log.push(line);
        }
        self.log.join("\n")
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Ends it in good order (SIGTERM), which saves its database.
    pub(crate) fn stop(&mut self) {
        self.signal("-TERM");
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }

    /// Sends SIGHUP and waits until it was heard.
    pub(crate) fn reload(&mut self) {
        self.signal("-HUP");
        self.wait_for_log("Reloading config.");
    }

    fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("it runs").id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &id])
                .status()
                .expect("kill")
                .success()
        );
    }

    /// Deletes its database.
    pub(crate) fn delete_database(&self) {
        let _ = fs::remove_file(self.database());
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.dir.path().join("data/mosquitto.db")
    }

    /// Publishes a new revocation list; when mosquitto reads it is another matter.
    pub(crate) fn revoke(&self, identity: &Identity) {
        write(
            &self.dir.path().join("crl.pem"),
            &self.household.crl_pem(&[identity.serial]),
        );
    }

    /// Publishes an empty revocation list whose next one was due at the end of 2024.
    pub(crate) fn let_crl_expire(&self) {
        write(
            &self.dir.path().join("crl.pem"),
            &self.household.crl_pem_until(&[], 2024),
        );
    }

    /// Adds lines to the ACL file.
    pub(crate) fn extend_acl(&self, lines: &str) {
        let path = self.dir.path().join("acl");
        let content = fs::read_to_string(&path).expect("acl");
        write(&path, &format!("{content}{lines}\n"));
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The shipped configuration with nothing replaced but paths and the port.
fn rendered(dir: &Path, port: u16) -> String {
    let dir = dir.display().to_string();
    SHIPPED_CONF
        .replace("/etc/mosquitto/homing/", &format!("{dir}/"))
        .replace("/var/lib/mosquitto/", &format!("{dir}/data/"))
        .replace("listener 8883", &format!("listener {port} 127.0.0.1"))
        + &in_own_network()
}

/// In a name space of its own there is no user but root, to whom the broker would not drop.
fn in_own_network() -> String {
    std::env::var_os(crate::names::INSIDE)
        .map(|_| "\nuser root\n".to_owned())
        .unwrap_or_default()
}

fn write(path: &Path, content: &str) {
    fs::write(path, content).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("mode");
}

fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")]);
    folders
        .map(|folder| folder.join("mosquitto"))
        .find(|program| program.is_file())
}
