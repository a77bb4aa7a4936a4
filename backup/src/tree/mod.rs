//! Trees: one folder's entries, emitted byte for byte as restic emits them. Touches no file; fields it does not know survive.

mod read;

use crate::gojson;
use crate::id::Id;
use crate::timestamp::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

pub use read::{parse, parse_each};

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeKind {
    /// A regular file.
    File,
    /// A folder.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A block device.
    Dev,
    /// A character device.
    CharDev,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// Not known to restic's format, such as an irregular file of another system.
    Other,
}

const KINDS: [(NodeKind, &str); 8] = [
    (NodeKind::File, "file"),
    (NodeKind::Dir, "dir"),
    (NodeKind::Symlink, "symlink"),
    (NodeKind::Dev, "dev"),
    (NodeKind::CharDev, "chardev"),
    (NodeKind::Fifo, "fifo"),
    (NodeKind::Socket, "socket"),
    (NodeKind::Other, ""),
];

impl NodeKind {
    /// Its name in a tree.
    #[must_use]
    pub fn name(self) -> &'static str {
        KINDS
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or("", |(_, name)| name)
    }

    pub(crate) fn from_name(name: &str) -> Self {
        KINDS
            .iter()
            .find(|(_, known)| *known == name)
            .map_or(Self::Other, |(kind, _)| *kind)
    }
}

/// Go's bits of a file mode (`io/fs.FileMode`) beside the nine of permission.
pub mod mode {
    /// A folder.
    pub const DIR: u32 = 1 << 31;
    /// A symbolic link.
    pub const SYMLINK: u32 = 1 << 27;
    /// A device.
    pub const DEVICE: u32 = 1 << 26;
    /// A named pipe.
    pub const FIFO: u32 = 1 << 25;
    /// A socket.
    pub const SOCKET: u32 = 1 << 24;
    /// Set user id.
    pub const SETUID: u32 = 1 << 23;
    /// Set group id.
    pub const SETGID: u32 = 1 << 22;
    /// A character device, with [`DEVICE`].
    pub const CHAR_DEVICE: u32 = 1 << 21;
    /// Sticky.
    pub const STICKY: u32 = 1 << 20;

    /// Unix permission bits (07777) → Go's.
    #[must_use]
    pub const fn from_unix(unix: u32) -> u32 {
        let mut go = unix & 0o777;
        if unix & 0o4000 != 0 {
            go |= SETUID;
        }
        if unix & 0o2000 != 0 {
            go |= SETGID;
        }
        if unix & 0o1000 != 0 {
            go |= STICKY;
        }
        go
    }

    /// Go's bits → Unix permission bits (07777).
    #[must_use]
    pub const fn to_unix(go: u32) -> u32 {
        let mut unix = go & 0o777;
        if go & SETUID != 0 {
            unix |= 0o4000;
        }
        if go & SETGID != 0 {
            unix |= 0o2000;
        }
        if go & STICKY != 0 {
            unix |= 0o1000;
        }
        unix
    }
}

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name, any bytes but `/` and 0.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: NodeKind,
    /// Go's mode bits, see [`mode`].
    pub mode: u32,
    /// Last change of content.
    pub mtime: Timestamp,
    /// Last access; set to `mtime`, as restic does by default, so that reading changes nothing.
    pub atime: Timestamp,
    /// Last change of metadata.
    pub ctime: Timestamp,
    /// Owner's number.
    pub uid: u32,
    /// Group's number.
    pub gid: u32,
    /// Owner's name.
    pub user: String,
    /// Group's name.
    pub group: String,
    /// Inode number.
    pub inode: u64,
    /// The file system's number.
    pub device_id: u64,
    /// Bytes of a file.
    pub size: u64,
    /// Hard links.
    pub links: u64,
    /// Where a symbolic link points, any bytes.
    pub link_target: Vec<u8>,
    /// Extended attributes, ACLs among them: name and value.
    pub xattrs: Vec<(String, Vec<u8>)>,
    /// A device's number.
    pub device: u64,
    /// Pieces of a file, in order.
    pub content: Option<Vec<Id>>,
    /// A folder's tree.
    pub subtree: Option<Id>,
    /// What restic noted when it could not read all of it.
    pub error: String,
    /// Fields of other programs.
    pub unknown: Map<String, Value>,
}

impl Node {
    /// An entry with that name and kind and nothing else.
    #[must_use]
    pub fn new(name: &[u8], kind: NodeKind) -> Self {
        Self {
            name: name.to_vec(),
            kind,
            mode: 0,
            mtime: Timestamp::default(),
            atime: Timestamp::default(),
            ctime: Timestamp::default(),
            uid: 0,
            gid: 0,
            user: String::new(),
            group: String::new(),
            inode: 0,
            device_id: 0,
            size: 0,
            links: 0,
            link_target: Vec::new(),
            xattrs: Vec::new(),
            device: 0,
            content: None,
            subtree: None,
            error: String::new(),
            unknown: Map::new(),
        }
    }

    /// Appends the entry's JSON.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"name\":");
        gojson::name(out, &self.name);
        out.extend_from_slice(b",\"type\":");
        gojson::string(out, self.kind.name().as_bytes());
        number(out, "mode", u64::from(self.mode));
        for (key, time) in [
            ("mtime", self.mtime),
            ("atime", self.atime),
            ("ctime", self.ctime),
        ] {
            field(out, key);
            out.push(b'"');
            out.extend_from_slice(time.to_string().as_bytes());
            out.push(b'"');
        }
        for (key, id) in [("uid", self.uid), ("gid", self.gid)] {
            field(out, key);
            gojson::unsigned(out, u64::from(id));
        }
        text(out, "user", self.user.as_bytes());
        text(out, "group", self.group.as_bytes());
        number(out, "inode", self.inode);
        number(out, "device_id", self.device_id);
        number(out, "size", self.size);
        number(out, "links", self.links);
        text(out, "linktarget", &self.link_target);
        if std::str::from_utf8(&self.link_target).is_err() {
            field(out, "linktarget_raw");
            base64(out, &self.link_target);
        }
        self.write_xattrs(out);
        number(out, "device", self.device);
        self.write_content(out);
        if let Some(subtree) = &self.subtree {
            field(out, "subtree");
            id(out, subtree);
        }
        text(out, "error", self.error.as_bytes());
        for (key, value) in &self.unknown {
            out.push(b',');
            gojson::string(out, key.as_bytes());
            out.push(b':');
            out.extend_from_slice(value.to_string().as_bytes());
        }
        out.push(b'}');
    }

    fn write_xattrs(&self, out: &mut Vec<u8>) {
        if self.xattrs.is_empty() {
            return;
        }
        field(out, "extended_attributes");
        for (index, (name, value)) in self.xattrs.iter().enumerate() {
            out.extend_from_slice(if index == 0 {
                b"[{\"name\":"
            } else {
                b",{\"name\":"
            });
            gojson::string(out, name.as_bytes());
            field(out, "value");
            base64(out, value);
            out.push(b'}');
        }
        out.push(b']');
    }

    fn write_content(&self, out: &mut Vec<u8>) {
        field(out, "content");
        let Some(content) = &self.content else {
            out.extend_from_slice(b"null");
            return;
        };
        out.push(b'[');
        for (index, blob) in content.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            id(out, blob);
        }
        out.push(b']');
    }
}

fn field(out: &mut Vec<u8>, key: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Go leaves out numbers that are zero.
fn number(out: &mut Vec<u8>, key: &str, value: u64) {
    if value != 0 {
        field(out, key);
        gojson::unsigned(out, value);
    }
}

/// Go leaves out empty texts.
fn text(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    if !value.is_empty() {
        field(out, key);
        gojson::string(out, value);
    }
}

fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
    out.push(b'"');
}

fn id(out: &mut Vec<u8>, id: &Id) {
    out.push(b'"');
    out.extend_from_slice(&id.hex());
    out.push(b'"');
}

/// A tree's JSON, built entry by entry in the order of their names.
#[derive(Clone, Debug)]
pub struct TreeWriter {
    json: Vec<u8>,
    entries: usize,
}

impl Default for TreeWriter {
    fn default() -> Self {
        Self {
            json: b"{\"nodes\":[".to_vec(),
            entries: 0,
        }
    }
}

impl TreeWriter {
    /// Appends an entry; its name must come after the last one's.
    pub fn push(&mut self, node: &Node) {
        if self.entries > 0 {
            self.json.push(b',');
        }
        node.write(&mut self.json);
        self.entries += 1;
    }

    /// The finished JSON.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.json.extend_from_slice(b"]}\n");
        self.json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree as restic 0.14 wrote it.
    const BY_RESTIC: &str = r#"{"nodes":[{"name":"empty","type":"file","mode":420,"mtime":"1938-04-24T22:13:20Z","atime":"1938-04-24T22:13:20Z","ctime":"2026-11-22T22:51:46.779411256Z","uid":0,"gid":0,"user":"root","group":"root","inode":10027037,"device_id":65024,"links":1,"content":[]},{"name":"f","type":"file","mode":8389097,"mtime":"2026-11-22T22:51:46.632771682Z","atime":"2026-11-22T22:51:46.632771682Z","ctime":"2026-11-22T22:51:46.784771689Z","uid":0,"gid":0,"user":"root","group":"root","inode":10027036,"device_id":65024,"size":3,"links":1,"extended_attributes":[{"name":"user.t","value":"dg=="}],"content":["98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4"]},{"name":"l","type":"symlink","mode":134218239,"mtime":"2026-11-22T22:51:46.632771682Z","atime":"2026-11-22T22:51:46.632771682Z","ctime":"2026-11-22T22:51:46.632771682Z","uid":0,"gid":0,"user":"root","group":"root","inode":10027038,"device_id":65024,"links":1,"linktarget":"/x/ü\u0026\u003c","content":null},{"name":"q\\\"\\\\ $'\\né","type":"dir","mode":2147484141,"mtime":"2026-11-22T22:51:46.636771682Z","atime":"2026-11-22T22:51:46.636771682Z","ctime":"2026-11-22T22:51:46.636771682Z","uid":0,"gid":0,"user":"root","group":"root","inode":10027040,"device_id":65024,"content":null,"subtree":"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}]}
"#;

    fn rewritten(json: &str) -> String {
        let mut writer = TreeWriter::default();
        for node in parse(json.as_bytes()).unwrap() {
            writer.push(&node);
        }
        String::from_utf8(writer.finish()).unwrap()
    }

    #[test]
    fn a_tree_of_restic_is_written_back_byte_for_byte() {
        assert_eq!(rewritten(BY_RESTIC), BY_RESTIC);
        assert_eq!(rewritten("{\"nodes\":[]}\n"), "{\"nodes\":[]}\n");
        assert_eq!(rewritten("{\"nodes\":null}"), "{\"nodes\":[]}\n");
    }

    #[test]
    fn fields_of_other_programs_survive_at_the_end() {
        let json = BY_RESTIC.replacen(
            "\"content\":[]",
            "\"content\":[],\"generic_attributes\":{\"a\":[1,null]}",
            1,
        );
        assert_eq!(rewritten(&json), json);
    }

    #[test]
    fn what_other_programs_write_as_null_is_nothing() {
        let bare = r#"{"nodes":[{"name":"a","type":"file","mode":420}]}"#;
        let names = [
            "mtime",
            "atime",
            "ctime",
            "uid",
            "gid",
            "user",
            "group",
            "inode",
            "device_id",
            "size",
            "links",
            "device",
            "content",
            "subtree",
            "error",
            "linktarget",
            "linktarget_raw",
            "extended_attributes",
        ];
        let nulls: String = names.map(|name| format!(r#","{name}":null"#)).concat();
        let json = bare.replace("420", &format!("420{nulls}"));
        assert_eq!(
            parse(json.as_bytes()).unwrap(),
            parse(bare.as_bytes()).unwrap()
        );
        let nameless = bare.replace("\"a\"", "null");
        assert!(parse(nameless.as_bytes()).is_err());
    }

    #[test]
    fn a_link_target_of_any_bytes_survives() {
        let mut node = Node::new(b"l", NodeKind::Symlink);
        node.link_target = b"/a/\xff\xfe".to_vec();
        let mut json = Vec::new();
        node.write(&mut json);
        assert_eq!(serde_json::from_slice::<Node>(&json).unwrap(), node);
        assert!(
            String::from_utf8(json)
                .unwrap()
                .contains(r#""linktarget":"/a/\ufffd\ufffd","linktarget_raw":"L2Ev//4=""#)
        );
    }

    #[test]
    fn names_that_lead_out_of_a_folder_are_refused() {
        for name in ["", ".", "..", "a/b", "/", "a\\\\x00b", "\\\\x2f"] {
            let json = BY_RESTIC.replacen("\"empty\"", &format!("\"{name}\""), 1);
            assert!(parse(json.as_bytes()).is_err(), "{name:?}");
        }
    }
}
