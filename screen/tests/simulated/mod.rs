//! What every test of the program itself does: writes an actor's words and asks the simulated phone. It waits for nothing.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

/// What an actor writes of an episode; on the boot partition without a code.
pub(crate) fn notice(message: &str, code_digits: Option<u8>) -> Value {
    json!({
        "episode": "00112233445566778899aabbccddeeff",
        "message": message,
        "contact": "+49 170 1234567",
        "code_digits": code_digits,
        "since_unix_s": 1_700_000_000,
    })
}

/// Asks the simulator whose socket lies in this folder; nothing that is asked here is refused.
pub(crate) fn ask(folder: &Path, request: &Value) -> Value {
    let mut stream = UnixStream::connect(folder.join("sim.sock")).expect("the simulator");
    writeln!(stream, "{request}").expect("asked");
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .expect("answered");
    let answer: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(answer["error"], Value::Null, "{request}");
    answer
}
