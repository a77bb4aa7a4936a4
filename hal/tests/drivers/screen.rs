//! The simulated panel, touch and keys: they conform, and what is seen is what a person would see.

use std::cell::RefCell;

use base64::prelude::{BASE64_STANDARD, Engine};
use homing_hal::capability::panel::{Backlight, Frame, Panel};
use homing_hal::capability::touch::{CaseKey, Touch};
use homing_hal::conformance;
use homing_hal::fault::{Cancel, Fault};
use homing_hal::sim::client::{SimPanel, SimTouch};
use homing_hal::sim::screen::decode;
use serde_json::{Value, json};

use crate::phone::Phone;

/// What is seen on the phone.
fn seen(phone: &RefCell<Phone>) -> Frame {
    let told = phone.borrow_mut().ask(r#"{"get":"screen"}"#);
    let png = BASE64_STANDARD
        .decode(told["png"].as_str().unwrap())
        .unwrap();
    decode(&png).unwrap()
}

fn told(phone: &RefCell<Phone>) -> Value {
    phone.borrow_mut().ask(r#"{"get":"world"}"#)["screen"].clone()
}

#[test]
fn the_simulated_panel_conforms_and_is_one_program_s_at_a_time() {
    let phone = RefCell::new(Phone::start());
    let socket = phone.borrow().socket.clone();
    let session = seen(&phone);
    conformance::a_working_panel(&mut SimPanel::new(&socket), &|| seen(&phone));
    assert_eq!(seen(&phone), session, "the session is seen again");
    let mut panel = SimPanel::new(&socket);
    panel.take().unwrap();
    let second = SimPanel::new(&socket).take();
    assert!(matches!(second, Err(Fault::Busy(_))), "{second:?}");
}

#[test]
fn a_program_that_dies_with_the_panel_leaves_no_session_to_be_seen() {
    let phone = RefCell::new(Phone::start());
    let socket = phone.borrow().socket.clone();
    assert_eq!(told(&phone)["shows"], "session");
    let mut panel = SimPanel::new(&socket);
    let geometry = panel.take().unwrap();
    panel.light(Backlight::Percent(50)).unwrap();
    drop(panel);
    conformance::eventually("the panel to be free", || told(&phone)["held"] == false);
    assert_eq!(told(&phone)["shows"], "nothing");
    assert!(seen(&phone).luma.iter().all(|luma| *luma == 0));
    let mut next = SimPanel::new(&socket);
    assert_eq!(next.take(), Ok(geometry));
    next.release().unwrap();
    assert_eq!(told(&phone)["shows"], "session");
}

#[test]
fn the_simulated_touch_and_keys_conform() {
    let phone = RefCell::new(Phone::start());
    let socket = phone.borrow().socket.clone();
    let mut panel = SimPanel::new(&socket);
    panel.take().unwrap();
    let tap = |x: f32, y: f32| {
        let line = json!({"set": "touch", "x": x, "y": y}).to_string();
        phone.borrow_mut().order(&line);
    };
    let press = |key: CaseKey| {
        let line = json!({"set": "key", "press": key}).to_string();
        phone.borrow_mut().order(&line);
    };
    // What was done before somebody listened is not for him.
    press(CaseKey::Power);
    conformance::a_working_touch(&mut SimTouch::new(&socket), &tap, &press);
    phone
        .borrow_mut()
        .order(r#"{"fail":"panel","how":"broken"}"#);
    let mut touch = SimTouch::new(&socket);
    assert!(matches!(touch.next(&Cancel::new()), Err(Fault::Broken(_))));
    assert!(matches!(panel.take(), Err(Fault::Broken(_))));
}

#[test]
fn an_asker_who_has_seen_the_screen_is_not_sent_its_pixels_again() {
    let phone = RefCell::new(Phone::start());
    let version = told(&phone)["version"].clone();
    let line = json!({"get": "screen", "seen": version}).to_string();
    assert_eq!(phone.borrow_mut().ask(&line)["png"], Value::Null);
    phone.borrow_mut().order(r#"{"set":"key","press":"power"}"#);
    let after = phone.borrow_mut().ask(&line);
    assert!(after["png"].is_string());
    assert_eq!(after["shows"], "nothing");
}
