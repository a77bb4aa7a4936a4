//! Our side of a real message bus among messages of others: what it cannot read or did not ask for must end nothing.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use homing_hal::fault::{Cancel, Fault};
use homing_hal::linux::dbus::message::{Kind, LONGEST, Message};
use homing_hal::linux::dbus::value::Value;
use homing_hal::linux::dbus::{self, Callee, Limit};

use crate::bus::{Answer, Bus, join, serve};

const NAME: &str = "org.example.Talker";
const PATIENCE: Duration = Duration::from_secs(30);

/// News for one connection, with so many bytes of text.
fn tell(stream: &mut UnixStream, to: Option<&str>, length: usize) {
    let news = Message {
        path: Some("/org/example".into()),
        interface: Some(NAME.into()),
        member: Some("News".into()),
        destination: to.map(str::to_owned),
        body: vec![Value::text(&"x".repeat(length))],
        ..Message::new(Kind::Signal, 1)
    };
    stream.write_all(&news.to_bytes()).unwrap();
}

/// Somebody who tells a lot before each answer; `Long` is answered with more than anybody takes.
fn talker(bus: &Bus) {
    let (stream, _) = join(bus, NAME);
    let mut news = stream.try_clone().unwrap();
    // It ends when the bus does.
    thread::spawn(move || {
        serve(stream, move |call| {
            let to = call.sender.as_deref();
            for _ in 0..100 {
                tell(&mut news, to, 10);
            }
            tell(&mut news, to, 4 * LONGEST);
            match call.member.as_deref() {
                Some("Long") => Answer::Values(vec![Value::text(&"y".repeat(LONGEST))]),
                _ => Answer::Values(vec![Value::number(7)]),
            }
        });
    });
}

#[test]
fn an_answer_is_found_among_any_number_and_length_of_other_messages() {
    let Some(bus) = Bus::start() else { return };
    talker(&bus);
    let cancel = Cancel::new();
    let limit = || Limit {
        until: Instant::now() + PATIENCE,
        cancel: &cancel,
    };
    let mut ours = dbus::Bus::at(&bus.socket(), limit()).unwrap();
    assert!(!ours.guid().is_empty());
    let callee = Callee {
        service: NAME,
        path: "/org/example",
        interface: NAME,
    };
    let mut ask = |method| ours.call(callee, method, Vec::new(), limit());
    assert_eq!(ask("Short"), Ok(Value::number(7)));
    // An answer that is too long is a fault at once, and the next question is answered.
    let long = ask("Long");
    assert!(matches!(long, Err(Fault::Broken(_))), "{long:?}");
    assert_eq!(ask("Short"), Ok(Value::number(7)));
    // Whoever only waits for calls is not ended by news either.
    let none = ours.next_call(Limit {
        until: Instant::now() + Duration::from_millis(50),
        cancel: &cancel,
    });
    assert_eq!(none, Ok(None));
}
