//! What the phone's own helpers say: gpsd's lines, and the simulator's control socket.

use homing_hal::linux::gpsd::lines::{LINE_LIMIT, LineReader};
use homing_hal::linux::gpsd::message::{Message, SkyView, parse, reading};
use homing_hal::sim::request::Request;
use std::time::Duration;

/// The first byte says how the stream is cut; the same lines must come out however it is.
pub(crate) fn gpsd(bytes: &[u8]) {
    let Some((cut, stream)) = bytes.split_first() else {
        return;
    };
    let mut whole = Vec::new();
    LineReader::new().push(stream, |line| whole.push(line.to_vec()));
    let mut lines = LineReader::new();
    let mut pieces = Vec::new();
    for piece in stream.chunks(usize::from(*cut).max(1)) {
        lines.push(piece, |line| pieces.push(line.to_vec()));
        assert!(lines.capacity() <= 2 * LINE_LIMIT);
    }
    assert_eq!(whole, pieces);
    let mut sky = SkyView::default();
    for line in &whole {
        match parse(line) {
            Message::Sky(view) => sky = view,
            Message::Place(tpv) => {
                let _ = reading(&tpv, sky, Duration::from_secs(1));
            }
            Message::NoFix | Message::Version(_) | Message::Ignored => {}
        }
    }
}

/// One request; a refusal is a sentence.
pub(crate) fn control_socket(bytes: &[u8]) {
    let Ok(line) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Err(sentence) = Request::parse(line) {
        assert!(!sentence.is_empty());
    }
}
