//! A repository: its key, its index and its store together. Loads and saves blobs and files; walks nothing.

use crate::chunker::Chunker;
use crate::config::{Config, VERSION};
use crate::crypto::{Key, KeyBytes, NONCE_BYTES};
use crate::error::{Error, Result};
use crate::id::Id;
use crate::index::{self, Index, Mark};
use crate::key::{KeyFile, Maker};
use crate::pack::{self, BlobKind, Entry, LENGTH_BYTES, Opener};
use crate::snapshot::Snapshot;
use crate::store::{Class, Kind, Name, Store};
use std::cell::RefCell;
use std::io::BufWriter;

/// First byte of a sealed file that is compressed.
const COMPRESSED: u8 = 2;
/// No JSON file is bigger when opened.
const MAX_FILE_BYTES: usize = 1 << 30;
/// Compression of JSON files, as of blobs.
const LEVEL: i32 = 3;
/// Bytes of an index's text that are compressed at once.
const PIECE: usize = 64 << 10;
/// How far back an index's text is searched for repetitions, as a power of two: they lie side by side, and more takes memory.
const WINDOW_LOG: u32 = 17;
/// Bytes read of a pack's end at first: enough for the header of some two thousand blobs.
const HEADER_GUESS: u64 = 80 * 1024;

/// An open repository.
pub struct Repository<S> {
    store: S,
    key: Key,
    config: Config,
    opener: RefCell<Opener>,
}

impl<S> std::fmt::Debug for Repository<S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Repository({})", self.config.id.short())
    }
}

impl<S: Store> Repository<S> {
    /// Makes a new repository with one key. The config is written last: without it there is no repository. Of several makers
    /// at the same time one succeeds.
    ///
    /// # Errors
    /// There is one already, or the store fails.
    pub fn create(store: S, password: &[u8], maker: &Maker) -> Result<Self> {
        match store.size(Name::Config) {
            Ok(_) => return Err(Error::AlreadyARepository),
            Err(error) if error.class == Class::Missing => {}
            Err(error) => return Err(error.into()),
        }
        store.prepare()?;
        let master = KeyBytes::random()?;
        let file = KeyFile::wrap(&master, password, maker)?.to_json()?;
        let key_name = Name::File(Kind::Key, Id::of(&file));
        store.put(key_name, &file)?;
        let key = Key::new(&master);
        let config = Config::random()?;
        let json = serde_json::to_vec(&config).map_err(|source| Error::Json {
            what: "the config",
            source,
        })?;
        let sealed = key.sealed(&json)?;
        store.put(Name::Config, &sealed)?;
        if store.get(Name::Config)? != sealed {
            // Somebody else was quicker. Our key opens nothing; one that stays is passed over.
            let _ = store.remove(key_name);
            return Err(Error::AlreadyARepository);
        }
        Self::of(store, key, config)
    }

    fn of(store: S, key: Key, config: Config) -> Result<Self> {
        Ok(Self {
            store,
            key,
            config,
            opener: RefCell::new(Opener::new()?),
        })
    }

    /// Opens a repository with a password.
    ///
    /// # Errors
    /// [`Error::NotARepository`], [`Error::WrongPassword`], [`Error::UnknownVersion`], or the store fails.
    pub fn open(store: S, password: &[u8]) -> Result<Self> {
        let config = match store.get(Name::Config) {
            Err(error) if error.class == Class::Missing => return Err(Error::NotARepository),
            other => other?,
        };
        let mut keys = Vec::new();
        store.list(Kind::Key, &mut |id, _| keys.push(id))?;
        keys.sort();
        let mut refused = None;
        for id in &keys {
            let json = store.get(Name::File(Kind::Key, *id))?;
            // A damaged or costly key must not hide one that fits.
            let opened = KeyFile::parse(&json)
                .and_then(|file| file.unwrap_with(*id, password))
                .and_then(|master| master.map(|master| opened_by(&master, &config)).transpose());
            match opened {
                Ok(Some((key, config))) => return Self::of(store, key, config),
                Ok(None) => {}
                // Nothing another key could mend.
                Err(error @ Error::UnknownVersion(_)) => return Err(error),
                // That of another maker, who came too late, opens with the same password.
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.unwrap_or(Error::WrongPassword { keys: keys.len() }))
    }

    /// This repository's copy in another store, where the same key opens it.
    pub(crate) fn copied_to<T: Store>(&self, store: T) -> Result<Repository<T>> {
        Repository::of(store, self.key.clone(), self.config.clone())
    }

    /// The store below.
    #[must_use]
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// The master key, ready for use.
    #[must_use]
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// The config.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Refuses what this program must not write to.
    ///
    /// # Errors
    /// [`Error::OldVersion`].
    pub const fn writable(&self) -> Result<()> {
        if self.config.version == VERSION {
            Ok(())
        } else {
            Err(Error::OldVersion)
        }
    }

    /// Cuts content as this repository's other clients do.
    ///
    /// # Errors
    /// The config's polynomial is none of the format's.
    pub fn chunker(&self) -> Result<Chunker> {
        Chunker::new(self.config.chunker_polynomial).ok_or(Error::Malformed(
            "a config with a polynomial of the wrong degree",
        ))
    }

    /// Names and sizes of all files of a kind, sorted by name.
    ///
    /// # Errors
    /// The store fails.
    pub fn list(&self, kind: Kind) -> Result<Vec<(Id, u64)>> {
        let mut files = Vec::new();
        self.store
            .list(kind, &mut |id, size| files.push((id, size)))?;
        files.sort_unstable();
        Ok(files)
    }

    /// Compresses, seals and stores a JSON file; returns its name.
    ///
    /// # Errors
    /// The store fails.
    pub fn save_file(&self, kind: Kind, json: &[u8]) -> Result<Id> {
        let (id, sealed) = sealed(&self.key, json)?;
        self.store.put(Name::File(kind, id), &sealed)?;
        Ok(id)
    }

    /// Stores an index file, as [`Repository::save_file`] would; its text, which is much larger, is never in memory as a whole.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) fn save_index(
        &self,
        packs: &[(Id, Vec<Entry>)],
        marked: &[(Id, Vec<Entry>, Mark)],
    ) -> Result<Id> {
        let mut start = vec![0; NONCE_BYTES];
        start.push(COMPRESSED);
        let written = zstd::stream::write::Encoder::new(start, LEVEL).and_then(|mut encoder| {
            encoder.window_log(WINDOW_LOG)?;
            let mut text = BufWriter::with_capacity(PIECE, encoder);
            index::write_json(&mut text, packs, marked)?;
            let encoder = text.into_inner().map_err(|error| error.into_error())?;
            encoder.finish()
        });
        let mut sealed = written.map_err(|source| Error::Compression {
            what: "compressing an index",
            source,
        })?;
        self.key.seal(&mut sealed, 0)?;
        let id = Id::of(&sealed);
        self.store.put(Name::File(Kind::Index, id), &sealed)?;
        Ok(id)
    }

    /// Loads, checks, opens and decompresses a JSON file.
    ///
    /// # Errors
    /// The store fails, or [`Error::Damaged`].
    pub fn load_file(&self, kind: Kind, id: Id) -> Result<Vec<u8>> {
        let name = Name::File(kind, id);
        let damaged = |how: &str| Error::Damaged {
            name,
            how: how.into(),
        };
        let mut sealed = self.store.get(name)?;
        if Id::of(&sealed) != id {
            return Err(damaged("its content has another name"));
        }
        let plain = self
            .key
            .open(&mut sealed)
            .map_err(|_| damaged("its seal does not fit"))?;
        match plain {
            [b'{' | b'[', ..] => Ok(plain.to_vec()),
            [COMPRESSED, compressed @ ..] => decompress(compressed).map_err(damaged),
            _ => Err(damaged("it is of an unknown encoding")),
        }
    }

    /// Loads all index files.
    ///
    /// # Errors
    /// One cannot be loaded; without it, blobs would be taken for missing.
    pub fn load_index(&self) -> Result<Index> {
        let mut index = Index::default();
        for (id, _) in self.list(Kind::Index)? {
            index.read(&self.load_file(Kind::Index, id)?)?;
        }
        Ok(index)
    }

    /// All snapshots, oldest first.
    ///
    /// # Errors
    /// One cannot be loaded.
    pub fn snapshots(&self) -> Result<Vec<(Id, Snapshot)>> {
        let mut snapshots = Vec::new();
        for (id, _) in self.list(Kind::Snapshot)? {
            snapshots.push((id, Snapshot::parse(&self.load_file(Kind::Snapshot, id)?)?));
        }
        snapshots.sort_by_key(|(id, snapshot)| (snapshot.time, *id));
        Ok(snapshots)
    }

    /// Loads a blob into `out`; `sealed` is scratch.
    ///
    /// # Errors
    /// It is in no index, the store fails, or [`Error::DamagedBlob`].
    pub fn load_blob(
        &self,
        index: &Index,
        kind: BlobKind,
        id: &Id,
        sealed: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let (number, entry) = index.find(kind, id).ok_or(Error::NoSuchBlob(*id))?;
        let pack = index.pack(number);
        let name = Name::File(Kind::Pack, pack);
        self.store
            .get_range(name, u64::from(entry.offset), entry.length as usize, sealed)?;
        self.open_blob(pack, &entry, sealed, out)
    }

    /// Opens a sealed blob that was read from a pack.
    ///
    /// # Errors
    /// [`Error::DamagedBlob`].
    pub fn open_blob(
        &self,
        pack: Id,
        entry: &Entry,
        sealed: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let opened = self.opener.borrow_mut().open(&self.key, entry, sealed, out);
        opened.map_err(|how| Error::DamagedBlob {
            blob: entry.id,
            pack,
            how: how.into(),
        })
    }

    /// What a pack holds, from its own header.
    ///
    /// # Errors
    /// The store fails, or the header is damaged.
    pub fn pack_entries(&self, pack: Id, size: u64) -> Result<Vec<Entry>> {
        let name = Name::File(Kind::Pack, pack);
        let damaged = |how: &str| Error::Damaged {
            name,
            how: how.into(),
        };
        let mut tail = Vec::new();
        let guess = HEADER_GUESS.min(size);
        let length_of = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        self.store
            .get_range(name, size - guess, length_of(guess), &mut tail)?;
        let Some((_, last)) = tail.split_last_chunk::<LENGTH_BYTES>() else {
            return Err(damaged("it is shorter than a header"));
        };
        let length =
            pack::header_length(*last, size).map_err(|error| damaged(&error.to_string()))?;
        let wanted = length + LENGTH_BYTES;
        if wanted > tail.len() {
            self.store
                .get_range(name, size - wanted as u64, wanted, &mut tail)?;
        }
        let from = tail
            .len()
            .checked_sub(wanted)
            .ok_or_else(|| damaged("it shrank while it was read"))?;
        let header = self
            .key
            .open(&mut tail[from..from + length])
            .map_err(|_| damaged("the seal of its header does not fit"))?;
        pack::parse_header(header, size - wanted as u64)
            .map_err(|error| damaged(&error.to_string()))
    }
}

/// A JSON file compressed and sealed, with the name that this gives it.
///
/// # Errors
/// No randomness, no memory for the compression.
pub(crate) fn sealed(key: &Key, json: &[u8]) -> Result<(Id, Vec<u8>)> {
    let mut plain = vec![COMPRESSED];
    let compressed = zstd::bulk::compress(json, LEVEL).map_err(|source| Error::Compression {
        what: "compressing a file",
        source,
    })?;
    plain.extend_from_slice(&compressed);
    let sealed = key.sealed(&plain)?;
    Ok((Id::of(&sealed), sealed))
}

/// The key of that master key, and the config that it opens.
fn opened_by(master: &KeyBytes, sealed: &[u8]) -> Result<(Key, Config)> {
    let key = Key::new(master);
    let damaged = |_| Error::Damaged {
        name: Name::Config,
        how: "its seal does not fit".into(),
    };
    let config = Config::parse(key.open(&mut sealed.to_vec()).map_err(damaged)?)?;
    Ok((key, config))
}

fn decompress(compressed: &[u8]) -> Result<Vec<u8>, &'static str> {
    use std::io::Read;
    let failed = |_| "it does not decompress";
    let mut decoder = zstd::stream::read::Decoder::with_buffer(compressed).map_err(failed)?;
    let mut out = Vec::new();
    let limit = MAX_FILE_BYTES as u64 + 1;
    (&mut decoder)
        .take(limit)
        .read_to_end(&mut out)
        .map_err(failed)?;
    if out.len() > MAX_FILE_BYTES {
        Err("it is absurdly large")
    } else {
        Ok(out)
    }
}
