//! The examples of how another client joins: its request, the answer to an owner's own and to a delegate's, and a notice. Checks nothing itself.

use crate::examples::{Example, authority, signed_steps};
use crate::files::{BROKER, CA, KEY, device, kit};
use crate::json::object;
use crate::sample::{Draws, address, kem, signing};
use homing_protocol::admission::{ClientAnswer, ClientRequest, Notice, OwnersShare};

/// What the sample's partner asks with.
pub(crate) fn request() -> ClientRequest {
    ClientRequest {
        key: signing("partner").public(),
        reading: kem("partner").public(),
        name: "Partner".into(),
    }
}

/// All of them.
pub(crate) fn examples() -> Vec<Example> {
    let owners = OwnersShare {
        kit: kit(),
        keyring: b"a keyring's blob stands here".to_vec(),
    };
    vec![
        asking(),
        answer("client-answer-owner", Some(owners)),
        answer("client-answer-delegate", None),
        notice(),
    ]
}

fn asking() -> Example {
    let request = request();
    let signed = request.sign(&signing("partner")).expect("short enough");
    Example {
        name: "client-request",
        inputs: object! {
            "signer": "partner", "key": request.key.0, "reading": request.reading.0, "name": request.name.as_str(),
            "fingerprint": request.fingerprint(),
        },
        steps: signed_steps(b"homing/v1 client request", &signed),
        random: Vec::new(),
    }
}

fn answer(name: &'static str, owners: Option<OwnersShare>) -> Example {
    let answer = ClientAnswer {
        account: address().account,
        root: signing("root").public(),
        broker: BROKER.into(),
        ca_pem: CA.into(),
        tls_certificate_pem: CA.into(),
        tls_key_pem: String::from(KEY).into(),
        authority: authority().sign(&signing("root")).expect("short enough"),
        devices: vec![device()],
        owners,
    };
    let mut draws = Draws::new(name);
    let file = answer.seal(&request(), &mut draws).expect("one phone");
    let (enc, ciphertext) = file.split_first_chunk::<32>().expect("an encapsulated key");
    let payload = kem("partner")
        .open(
            None,
            b"homing/v1 client answer",
            &request().key.0,
            enc,
            ciphertext,
        )
        .expect("sealed to it");
    let owners = answer.owners.as_ref();
    Example {
        name,
        inputs: object! {
            "recipient": "partner", "account": answer.account.0, "root": answer.root.0, "broker": BROKER, "ca_pem": CA,
            "tls_certificate_pem": CA, "tls_key_pem": KEY, "authority": answer.authority.as_slice(),
            "kit": owners.map(|owners| *owners.kit.0), "keyring": owners.map(|owners| owners.keyring.as_slice()),
        },
        steps: vec![("payload", payload.to_vec()), ("file", file)],
        random: draws.taken,
    }
}

fn notice() -> Example {
    let notice = Notice {
        account: address().account,
        client: request().client(),
        number: 4,
        authority: authority().sign(&signing("root")).expect("short enough"),
        devices: vec![device()],
    };
    let mut draws = Draws::new("client-notice");
    let (root, reading) = (signing("root"), kem("partner"));
    let sealed = notice
        .seal(&root, &reading.public(), &mut draws)
        .expect("one phone");
    let context = b"homing/v1 client notice";
    let (enc, ciphertext) = sealed
        .split_first_chunk::<32>()
        .expect("an encapsulated key");
    let signed = reading
        .open(None, context, &notice.client.0, enc, ciphertext)
        .expect("sealed to it");
    let mut steps = signed_steps(context, &signed);
    steps.push(("envelope", sealed));
    Example {
        name: "client-notice",
        inputs: object! {
            "signer": "root", "recipient": "partner", "account": notice.account.0, "client": notice.client.0,
            "number": notice.number, "authority": notice.authority.as_slice(),
        },
        steps,
        random: draws.taken,
    }
}
