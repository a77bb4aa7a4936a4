//! The folder `broker/`: all that mosquitto needs, made from the very files this project ships. Only paths, the port and the owners' lines differ from them.
use super::{Authority, Serial};
use crate::error::Error;
use crate::file::{self, Access};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const CONFIGURATION: &str = include_str!("../../../mqtt-broker-config/mosquitto.conf");
const ACCESS: &str = include_str!("../../../mqtt-broker-config/acl");

/// Where the shipped configuration expects its files, and its database.
const SHIPPED_FOLDER: &str = "/etc/mosquitto/homing/";
const SHIPPED_DATABASE: &str = "/var/lib/mosquitto/";

/// Who gives the broker its own certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerCertificate<'a> {
    /// The household's authority, for this host name or address.
    Household {
        /// Name or address in the certificate.
        host: &'a str,
    },
    /// Somebody else: the broker has one already.
    Elsewhere,
}

/// The folder of one household's broker.
#[derive(Clone, Debug)]
pub(crate) struct BrokerFiles {
    folder: PathBuf,
}

impl BrokerFiles {
    /// `broker/` inside the owner's state.
    pub(crate) fn inside(home: &Path) -> Self {
        Self {
            folder: home.join("broker"),
        }
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes everything; `account` is the account's id, from which the common names of owners and delegates follow.
    pub(crate) fn write(
        &self,
        authority: &Authority,
        server: ServerCertificate<'_>,
        port: u16,
        account: &str,
        crl: &str,
    ) -> Result<(), Error> {
        file::private_folder(&self.folder.join("data"))?;
        self.put("ca.crt", authority.certificate(), Access::Public)?;
        if let ServerCertificate::Household { host } = server {
            let credential = authority.issue_broker(host)?;
            self.put("broker.crt", &credential.certificate, Access::Public)?;
            self.put("broker.key", &credential.key, Access::Private)?;
        }
        self.put("acl", &render_access(account), Access::Private)?;
        self.put(
            "mosquitto.conf",
            &render_configuration(&self.folder, port, self.run_as()?),
            Access::Public,
        )?;
        self.write_revocations(crl)
    }

    /// Brings an access list up that was made before delegates were, or before they could be told of phones. Gives what somebody has to do then; `None` where nothing was missing or the broker's folder is on another machine.
    pub(crate) fn bring_access_up(&self) -> Result<Option<String>, Error> {
        let path = self.folder.join("acl");
        let access = match std::fs::read_to_string(&path) {
            Ok(access) => access,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Read { path, source }),
        };
        let Some(access) = with_delegates(&access) else {
            return Ok(None);
        };
        self.put("acl", &access, Access::Private)?;
        Ok(Some(format!(
            "the broker's access list {} did not let delegates reach all that is theirs; it does now. The broker has to read it: `systemctl reload mosquitto`, or SIGHUP to its process; if its mosquitto.conf names another file as `acl_file`, copy this one over that first",
            path.display()
        )))
    }

    /// The revocation list.
    pub(crate) fn revocation_list(&self) -> PathBuf {
        self.folder.join("crl.pem")
    }

    /// What somebody has to do so that the broker obeys the revocation list.
    pub(crate) fn advice(&self) -> String {
        format!(
            "The broker refuses it once it reads the new revocation list {}: if the broker runs from this folder, restart it; else copy that file over the one that `crlfile` in its mosquitto.conf names, then restart it. A restart, not a reload, also ends a connection that is open.",
            self.revocation_list().display()
        )
    }

    /// Replaces the revocation list; the broker reads it again on SIGHUP or restart.
    pub(crate) fn write_revocations(&self, crl: &str) -> Result<(), Error> {
        // A machine that joined an account has no broker's folder yet, but may have to revoke.
        file::private_folder(&self.folder)?;
        self.put("crl.pem", crl, Access::Public)
    }

    /// Started by root, mosquitto becomes the user `mosquitto`, who may not enter root's private folder.
    fn run_as(&self) -> Result<RunAs, Error> {
        let owner = std::fs::metadata(&self.folder).map_err(|source| Error::Read {
            path: self.folder.clone(),
            source,
        })?;
        Ok(if owner.uid() == 0 {
            RunAs::Root
        } else {
            RunAs::Starter
        })
    }

    fn put(&self, name: &str, content: &str, access: Access) -> Result<(), Error> {
        file::replace(&self.folder.join(name), content.as_bytes(), access)
    }
}

/// Who the broker runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RunAs {
    /// Whoever starts it.
    Starter,
    /// Root, said in its configuration.
    Root,
}

/// What stands above the shipped text in root's own folder.
const AS_ROOT: &str = "# This folder is root's alone: without the next line mosquitto, started by root, would become the user\n# `mosquitto` and could not read it. Better: copy the folder's files to /etc/mosquitto/homing, give them to the\n# user mosquitto, and use the shipped mosquitto.conf.\nuser root\n\n";

fn render_configuration(folder: &Path, port: u16, run_as: RunAs) -> String {
    let folder = format!("{}/", folder.display());
    let head = match run_as {
        RunAs::Starter => "",
        RunAs::Root => AS_ROOT,
    };
    let shipped = CONFIGURATION
        .lines()
        .map(|line| match line.split_once(' ') {
            Some(("listener", _)) => format!("listener {port}"),
            _ => line
                .replace(SHIPPED_FOLDER, &folder)
                .replace(SHIPPED_DATABASE, &format!("{folder}data/")),
        })
        .map(|line| line + "\n");
    std::iter::once(head.to_owned()).chain(shipped).collect()
}

/// What a delegate may use.
const DELEGATES: [&str; 6] = [
    "topic read homing/v1/+/+/up/beacon",
    "topic read homing/v1/+/+/up/receipt",
    "topic read homing/v1/+/+/up/report",
    "topic read homing/v1/account/+/client/+",
    "topic write homing/v1/+/+/cmd",
    "topic write homing/v1/+/+/authority",
];

/// What the name of an owner's certificate begins with, in the broker's access list.
const OWNERS: &str = "user owner-";

fn render_access(account: &str) -> String {
    format!(
        "{}\n\n{OWNERS}{account}\ntopic readwrite homing/v1/#\n\n{}",
        ACCESS.trim_end(),
        delegates_block(account)
    )
}

fn delegates_block(account: &str) -> String {
    format!(
        "# Delegates: what phones say, which is sealed, what the owner tells them, which is too, and orders to phones, which judge them. Not the keyring, no claims.\nuser delegate-{account}\n{}\n",
        DELEGATES.join("\n")
    )
}

/// The access list with all that delegates need, if something is missing; every other line stays as it is.
fn with_delegates(access: &str) -> Option<String> {
    let mut lines = access.lines().map(str::trim);
    let account = lines.find_map(|line| line.strip_prefix(OWNERS))?;
    let user = format!("user delegate-{account}");
    let Some(at) = access.lines().position(|line| line.trim() == user) else {
        let block = delegates_block(account);
        return Some(format!("{}\n\n{block}", access.trim_end()));
    };
    let rest = access.lines().skip(at + 1).map(str::trim);
    let has: Vec<&str> = rest.take_while(|line| !line.starts_with("user ")).collect();
    let missing: Vec<&str> = DELEGATES
        .into_iter()
        .filter(|line| !has.contains(line))
        .collect();
    if missing.is_empty() {
        return None;
    }
    let mut all: Vec<&str> = access.lines().collect();
    all.splice(at + 1..at + 1, missing);
    Some(all.join("\n") + "\n")
}

/// The serials that a revocation list (PEM) names; an owner who comes back must not forget whom the household put out.
pub(crate) fn revoked_serials(crl: &str) -> Result<Vec<Serial>, Error> {
    let damaged = |_| Error::Damaged("revocation list");
    let (_, pem) = x509_parser::pem::parse_x509_pem(crl.as_bytes())
        .map_err(|_| Error::Damaged("revocation list"))?;
    let (_, list) = x509_parser::parse_x509_crl(&pem.contents)
        .map_err(|_| Error::Damaged("revocation list"))?;
    list.iter_revoked_certificates()
        .map(|revoked| revoked.raw_serial().try_into().map(Serial).map_err(damaged))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_the_port_and_the_owners_differ_from_the_shipped_files() {
        let folder = Path::new("/home/o/.local/share/homing/broker");
        let rendered = render_configuration(folder, 18_883, RunAs::Starter);
        assert!(!rendered.contains("/etc/mosquitto") && !rendered.contains("/var/lib"));
        assert!(rendered.contains("\nlistener 18883\n"));
        assert!(rendered.contains("\ncrlfile /home/o/.local/share/homing/broker/crl.pem\n"));
        let back = rendered
            .replace("/home/o/.local/share/homing/broker/data/", SHIPPED_DATABASE)
            .replace("/home/o/.local/share/homing/broker/", SHIPPED_FOLDER)
            .replace("listener 18883", "listener 8883");
        assert_eq!(back, CONFIGURATION);
        let as_root = render_configuration(folder, 18_883, RunAs::Root);
        assert_eq!(as_root.strip_prefix(AS_ROOT), Some(rendered.as_str()));
        let access = render_access("aa");
        let added = access.strip_prefix(ACCESS.trim_end()).expect("shipped");
        assert!(added.starts_with("\n\nuser owner-aa\ntopic readwrite homing/v1/#\n"));
        let (_, delegates) = added.split_once("user delegate-aa\n").expect("a block");
        assert!(!delegates.contains("readwrite") && !delegates.contains("keyring"));
    }

    #[test]
    fn an_access_list_of_before_delegates_gets_their_block_and_keeps_every_other_line() {
        let now = render_access("aa");
        assert_eq!(with_delegates(&now), None, "nothing is missing");
        let (before, _) = now.split_once("\n# Delegates").expect("a block");
        let own = format!("{before}\nuser guest\ntopic read homing/v1/other\n");
        let brought_up = with_delegates(&own).expect("missing");
        assert!(brought_up.starts_with(own.trim_end()));
        assert_eq!(with_delegates(&brought_up), None);
        // A block without the newest line gets that line, in its place.
        let short = now.replace("topic read homing/v1/account/+/client/+\n", "") + "user guest\n";
        let brought_up = with_delegates(&short).expect("missing");
        let (_, block) = brought_up
            .split_once("user delegate-aa\n")
            .expect("a block");
        assert!(block.starts_with("topic read homing/v1/account/+/client/+\n"));
        assert_eq!(brought_up.lines().count(), short.lines().count() + 1);
        assert_eq!(with_delegates("user somebody\n"), None, "no household's");
    }

    #[test]
    fn the_revoked_serials_read_back_from_the_list() {
        let authority = Authority::generate("test").expect("authority");
        let revoked: Vec<_> = (0..3)
            .map(|_| authority.issue_client("aa").expect("certificate").serial)
            .collect();
        let crl = authority.revocation_list(4, &revoked).expect("list");
        assert_eq!(revoked_serials(&crl).expect("read"), revoked);
        let empty = authority.revocation_list(1, &[]).expect("list");
        assert_eq!(revoked_serials(&empty).expect("read"), Vec::new());
        assert!(revoked_serials("nonsense").is_err());
    }

    #[test]
    fn the_folder_holds_what_mosquitto_needs_and_the_key_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().expect("folder");
        let authority = Authority::generate("test").expect("authority");
        let crl = authority.revocation_list(1, &[]).expect("list");
        let files = BrokerFiles::inside(home.path());
        let server = ServerCertificate::Household { host: "localhost" };
        files
            .write(&authority, server, 8883, "aa", &crl)
            .expect("written");
        for name in [
            "mosquitto.conf",
            "acl",
            "ca.crt",
            "broker.crt",
            "broker.key",
            "crl.pem",
            "data",
        ] {
            assert!(files.folder().join(name).exists(), "{name}");
        }
        let key = std::fs::metadata(files.folder().join("broker.key")).expect("key");
        assert_eq!(key.permissions().mode() & 0o777, 0o600);
    }
}
