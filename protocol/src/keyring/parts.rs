//! What a keyring holds, and its bytes before they are wrapped. It must not encrypt, nor print a secret.

use super::{LONGEST_PEM, MOST_DEVICES};
use crate::Malformed;
use crate::authority::MOST_ENTRIES;
use crate::cbor::{self, Fields, Map};
use crate::id::{AccountId, ClientId, DeviceId};
use crate::keys::{KemPublic, KemSecret, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

/// Most clients that a keyring remembers to have put out (protocol v1).
pub const MOST_PUT_OUT: usize = 256;

/// A phone of the account, as every owner client should know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownDevice {
    /// Its id.
    pub device: DeviceId,
    /// The owner's name for it, at most 64 bytes.
    pub name: String,
    /// The ROOT-signed device certificate; empty until the phone has enrolled.
    pub certificate: Vec<u8>,
    /// The ROOT-signed key set; empty until the phone has enrolled.
    pub key_set: Vec<u8>,
    /// Serial number of its TLS certificate, for the revocation list.
    pub tls_serial: Vec<u8>,
}

#[cfg(test)]
impl KnownDevice {
    /// A phone that has not claimed its bundle yet.
    pub(crate) fn invited(device: DeviceId) -> Self {
        Self {
            device,
            name: "pocket".into(),
            certificate: Vec::new(),
            key_set: Vec::new(),
            tls_serial: Vec::new(),
        }
    }
}

/// An owner client or delegate of the account: what putting it out, and naming it as a reader of a later phone, takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownClient {
    /// Its id; what it may order stands in the authority list.
    pub client: ClientId,
    /// What people call it, at most 64 bytes.
    pub name: String,
    /// Its reading key.
    pub reading: KemPublic,
    /// Serial number of its TLS certificate, for the revocation list.
    pub tls_serial: Vec<u8>,
    /// The phones that a delegate was given, at most 256; `None` for one of the owner's own machines, which has them all.
    pub phones: Option<Vec<DeviceId>>,
    /// The client that added it, where that is known: what a client adds that is put out meanwhile does not count.
    pub added_by: Option<ClientId>,
}

/// What finding needs: opened by the passphrase alone.
#[derive(Clone)]
pub struct FindPart {
    /// The account.
    pub account: AccountId,
    /// ROOT's public half.
    pub root: VerifyingKey,
    /// The find client's signing key.
    pub signing: SigningKey,
    /// The find client's reading key.
    pub reading: KemSecret,
    /// `mqtts://HOST:PORT`.
    pub broker: String,
    /// The household CA, PEM.
    pub ca_pem: String,
    /// The newest ROOT-signed authority list.
    pub authority: Vec<u8>,
    /// The phones.
    pub devices: Vec<KnownDevice>,
}

/// What only passphrase and kit together open.
#[derive(Clone)]
pub struct FullPart {
    /// ROOT.
    pub root: SigningKey,
    /// The household CA's key, PEM.
    pub ca_key_pem: Zeroizing<String>,
    /// The newest revocation list, PEM.
    pub crl_pem: String,
    /// The clients that were given a certificate, at most as many as an authority list has entries.
    pub clients: Vec<KnownClient>,
    /// The clients that were put out, the newest last, at most [`MOST_PUT_OUT`]: none of them comes back.
    pub put_out: Vec<ClientId>,
}

impl core::fmt::Debug for FindPart {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "FindPart({}, secret)", self.account)
    }
}
impl core::fmt::Debug for FullPart {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("FullPart(secret)")
    }
}

pub(super) fn write_find(find: &FindPart) -> Zeroizing<Vec<u8>> {
    let devices = find.devices.iter().map(write_device);
    Zeroizing::new(
        Map::new()
            .bytes(0, &find.account.0)
            .bytes(1, &find.root.0)
            .bytes(2, find.signing.to_bytes().as_ref())
            .bytes(3, find.reading.to_bytes().as_ref())
            .text(4, &find.broker)
            .text(5, &find.ca_pem)
            .bytes(6, &find.authority)
            .list(7, devices)
            .encode(),
    )
}

pub(crate) fn write_device(device: &KnownDevice) -> ciborium::Value {
    Map::new()
        .bytes(0, &device.device.0)
        .text(1, &device.name)
        .bytes(2, &device.certificate)
        .bytes(3, &device.key_set)
        .bytes(4, &device.tls_serial)
        .value()
}

pub(super) fn read_find(bytes: &[u8]) -> Result<FindPart, Malformed> {
    let value = cbor::decode(bytes)?;
    let mut fields = Fields::of(&value)?;
    let part = FindPart {
        account: AccountId(fields.bytes(0)?),
        root: VerifyingKey(fields.bytes(1)?),
        signing: SigningKey::from_bytes(&fields.bytes(2)?),
        reading: KemSecret::from_bytes(&fields.bytes(3)?),
        broker: fields.text(4, 300)?.to_owned(),
        ca_pem: fields.text(5, LONGEST_PEM)?.to_owned(),
        authority: fields.blob(6)?.to_vec(),
        devices: fields
            .list(7, MOST_DEVICES)?
            .iter()
            .map(read_device)
            .collect::<Result<_, _>>()?,
    };
    fields.end()?;
    Ok(part)
}

pub(crate) fn read_device(value: &ciborium::Value) -> Result<KnownDevice, Malformed> {
    let mut fields = Fields::of(value)?;
    let device = KnownDevice {
        device: DeviceId(fields.bytes(0)?),
        name: fields.text(1, 64)?.to_owned(),
        certificate: fields.blob(2)?.to_vec(),
        key_set: fields.blob(3)?.to_vec(),
        tls_serial: fields.blob(4)?.to_vec(),
    };
    fields.end()?;
    Ok(device)
}

pub(super) fn write_full(full: &FullPart) -> Zeroizing<Vec<u8>> {
    let map = Map::new()
        .bytes(0, full.root.to_bytes().as_ref())
        .text(1, &full.ca_key_pem)
        .text(2, &full.crl_pem);
    let clients = full.clients.iter().map(|client| {
        let map = Map::new()
            .bytes(0, &client.client.0)
            .text(1, &client.name)
            .bytes(2, &client.reading.0)
            .bytes(3, &client.tls_serial);
        let map = match &client.phones {
            Some(phones) => map.list(4, phones.iter().map(|phone| octets(&phone.0))),
            None => map,
        };
        match &client.added_by {
            Some(by) => map.bytes(5, &by.0).value(),
            None => map.value(),
        }
    });
    let map = if full.clients.is_empty() {
        map
    } else {
        map.list(3, clients)
    };
    let map = if full.put_out.is_empty() {
        map
    } else {
        map.list(4, full.put_out.iter().map(|client| octets(&client.0)))
    };
    Zeroizing::new(map.encode())
}

pub(super) fn read_full(bytes: &[u8]) -> Result<FullPart, Malformed> {
    let value = cbor::decode(bytes)?;
    let mut fields = Fields::of(&value)?;
    let part = FullPart {
        root: SigningKey::from_bytes(&fields.bytes(0)?),
        ca_key_pem: Zeroizing::new(fields.text(1, LONGEST_PEM)?.to_owned()),
        crl_pem: fields.text(2, 1024 * 1024)?.to_owned(),
        clients: read_clients(fields.maybe(3))?,
        put_out: match fields.maybe(4) {
            None => Vec::new(),
            Some(value) => read_ids(value, 4, 1..=MOST_PUT_OUT)?
                .into_iter()
                .map(ClientId)
                .collect(),
        },
    };
    fields.end()?;
    Ok(part)
}

/// Left out when empty, as it was before there was more than one client.
fn read_clients(value: Option<&ciborium::Value>) -> Result<Vec<KnownClient>, Malformed> {
    match value {
        None => Ok(Vec::new()),
        Some(ciborium::Value::Array(items)) if items.len() > MOST_ENTRIES => {
            Err(Malformed::TooMany)
        }
        Some(ciborium::Value::Array(items)) if !items.is_empty() => {
            items.iter().map(read_client).collect()
        }
        Some(_) => Err(Malformed::Field(3)),
    }
}

fn read_client(value: &ciborium::Value) -> Result<KnownClient, Malformed> {
    let mut fields = Fields::of(value)?;
    let client = KnownClient {
        client: ClientId(fields.bytes(0)?),
        name: fields.text(1, 64)?.to_owned(),
        reading: KemPublic(fields.bytes(2)?),
        tls_serial: fields.blob(3)?.to_vec(),
        phones: match fields.maybe(4) {
            None => None,
            Some(value) => {
                let ids = read_ids(value, 4, 0..=MOST_DEVICES)?;
                Some(ids.into_iter().map(DeviceId).collect())
            }
        },
        added_by: fields
            .maybe(5)
            .map(|id| cbor::as_bytes(id).map(ClientId).ok_or(Malformed::Field(5)))
            .transpose()?,
    };
    fields.end()?;
    Ok(client)
}

fn octets(id: &[u8; 16]) -> ciborium::Value {
    ciborium::Value::Bytes(id.to_vec())
}

fn read_ids(
    value: &ciborium::Value,
    field: i64,
    lengths: core::ops::RangeInclusive<usize>,
) -> Result<Vec<[u8; 16]>, Malformed> {
    let ciborium::Value::Array(items) = value else {
        return Err(Malformed::Field(field));
    };
    if items.len() > *lengths.end() {
        return Err(Malformed::TooMany);
    }
    if !lengths.contains(&items.len()) {
        return Err(Malformed::Field(field));
    }
    items
        .iter()
        .map(|item| cbor::as_bytes(item).ok_or(Malformed::Field(field)))
        .collect()
}
