//! A broker that speaks just enough MQTT 5 over TLS to misbehave exactly as told.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::household::{ALWAYS, Household};

/// What it does wrong.
#[derive(Clone, Copy)]
pub(crate) enum Manners {
    /// Answers CONNECT with this reason code.
    RefusesConnect(u8),
    /// Answers everything but PUBLISH, with a server keep-alive of 2 s: on a crowded machine a ping may take one.
    NeverAcknowledges,
    /// Answers PUBLISH only in full groups of this many, last first.
    AcknowledgesBackwards(usize),
    /// Answers each PUBLISH with this reason code.
    RefusesPublish(u8),
    /// Answers each SUBSCRIBE with this reason code.
    RefusesSubscriptions(u8),
    /// Says goodbye with this reason code after SUBACK.
    Disconnects(u8),
    /// Sends a message of this many bytes after SUBACK.
    SendsTooMuch(usize),
    /// Sends so many messages before SUBACK.
    SendsEarly(u8),
}

/// Its address; the thread ends with the process.
pub(crate) fn start(household: &Household, manners: Manners) -> SocketAddr {
    let identity = household.broker(&["127.0.0.1"], ALWAYS);
    let chain =
        vec![CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes()).expect("PEM")];
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).expect("PEM");
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a configuration");
    let config = Arc::new(config);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let tls = ServerConnection::new(Arc::clone(&config)).expect("a connection");
            // The end of a connection shows as an error here; the next one is served.
            let _ = serve(&mut StreamOwned::new(tls, client), manners);
        }
    });
    address
}

fn serve(
    stream: &mut StreamOwned<ServerConnection, TcpStream>,
    manners: Manners,
) -> io::Result<()> {
    let mut owed = Vec::new();
    loop {
        let (kind, body) = packet(stream)?;
        let reply: Vec<u8> = match kind >> 4 {
            // CONNACK: no session; property 19 = server keep-alive.
            1 => match manners {
                Manners::RefusesConnect(code) => vec![0x20, 3, 0, code, 0],
                Manners::NeverAcknowledges => vec![0x20, 6, 0, 0, 3, 19, 0, 2],
                _ => vec![0x20, 3, 0, 0, 0],
            },
            8 => {
                let code = if let Manners::RefusesSubscriptions(code) = manners {
                    code
                } else {
                    1
                };
                let mut reply = Vec::new();
                if let Manners::SendsEarly(count) = manners {
                    // QoS 1 to topic "t", packet ids from 1, the number as payload.
                    reply.extend((1..=count).flat_map(|n| [0x32, 7, 0, 1, b't', 0, n, 0, n]));
                }
                reply.extend([0x90, 4, body[0], body[1], 0, code]);
                if let Manners::Disconnects(code) = manners {
                    reply.extend([0xE0, 2, code, 0]);
                }
                if let Manners::SendsTooMuch(bytes) = manners {
                    reply.extend(big_message(bytes));
                }
                reply
            }
            3 => {
                let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
                let id = [body[2 + topic], body[3 + topic]];
                acknowledge(id, manners, &mut owed)
            }
            12 => vec![0xD0, 0],
            14 => return Ok(()),
            _ => Vec::new(),
        };
        stream.write_all(&reply)?;
        stream.flush()?;
    }
}

fn acknowledge(id: [u8; 2], manners: Manners, owed: &mut Vec<[u8; 2]>) -> Vec<u8> {
    match manners {
        Manners::NeverAcknowledges => Vec::new(),
        Manners::RefusesPublish(code) => vec![0x40, 4, id[0], id[1], code, 0],
        Manners::AcknowledgesBackwards(group) => {
            owed.push(id);
            if owed.len() < group {
                return Vec::new();
            }
            owed.drain(..)
                .rev()
                .flat_map(|id| [0x40, 2, id[0], id[1]])
                .collect()
        }
        _ => vec![0x40, 2, id[0], id[1]],
    }
}

/// A QoS 1 PUBLISH to topic "t" with packet id 1.
fn big_message(bytes: usize) -> Vec<u8> {
    let mut remaining = bytes + 6;
    let mut packet = vec![0x32];
    while remaining >= 128 {
        packet.push(u8::try_from(remaining % 128).expect("below 128") | 0x80);
        remaining /= 128;
    }
    packet.push(u8::try_from(remaining).expect("below 128"));
    packet.extend([0, 1, b't', 0, 1, 0]);
    packet.resize(packet.len() + bytes, 0);
    packet
}

/// One packet: its first byte and what follows the length.
fn packet(stream: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    let kind = byte[0];
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        stream.read_exact(&mut byte)?;
        length |= usize::from(byte[0] & 0x7F) << shift;
        shift += 7;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((kind, body))
}
