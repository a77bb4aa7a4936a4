//! The simulated phone's page, in a real Chromium: what it shows and lets be heard is what the phone does, and its switches are a person's hands.

use crate::story::queue;
use e2e::{
    Browser, Handset, HandsetKeeper, Household, PATIENCE, PHONE, Receiver, SharedHandset, TcpProxy,
    wait_until,
};
use homing_face::{Body, Face, Hands};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

/// A household whose phone has a page. Fields are dropped in this order.
struct Shown {
    face: Face,
    phone: SharedHandset,
    household: Household,
}

impl Shown {
    fn new(hands: Hands) -> Self {
        let mut household = Household::without_phone(Receiver::Simulated);
        let way = TcpProxy::start(household.broker.port());
        let bundle = household.bundle();
        let out = bundle.display().to_string();
        let adding = ["device", "add", PHONE, "--out", &out, "--wait", "60s"];
        let mut adding = household.owner.start("device-add", &adding);
        wait_until(PATIENCE, "the bundle", || bundle.is_file().then_some(()));
        way.lead(&bundle);
        household.handset.enrol(&bundle);
        household.handset.start();
        let status = adding.wait(PATIENCE * 2);
        assert!(status.success(), "{status}: {}", adding.log());
        // The page needs a part in the phone; the household keeps one that was never started.
        let spare = household.scratch.folder("spare");
        let spare = Handset::new(&spare, &household.sim, None);
        let phone = SharedHandset::new(std::mem::replace(&mut household.handset, spare));
        let keeper = HandsetKeeper::new(phone.clone(), Arc::new(way));
        let body = Body::new(household.sim.socket().to_path_buf());
        let face = Face::start(body, Box::new(keeper), hands, 0).expect("a free port");
        Self {
            face,
            phone,
            household,
        }
    }

    /// With its switches given to a browser; `None` where there is none. The owner's watch runs.
    fn in_a_browser() -> Option<(Browser, Self)> {
        let browser = Browser::start()?;
        let mut shown = Self::new(Hands::OnThePhone);
        shown.household.start_watch();
        browser.open(&shown.face.url());
        browser.wait(
            "the switches",
            "!document.querySelector('#switches').disabled",
        );
        Some((browser, shown))
    }

    fn world(&self) -> serde_json::Value {
        self.household.sim.ask(json!({"get": "world"}))
    }

    fn state_of(&self, order: &str) -> String {
        let log = self.household.log();
        let found = log.iter().find(|found| found["id"] == order);
        found.map_or_else(String::new, |found| {
            found["state"].as_str().unwrap_or_default().to_owned()
        })
    }

    /// What the page's server answers to these bytes.
    fn raw(&self, request: &str) -> String {
        let address = self.face.url();
        let address = address
            .trim_start_matches("http://")
            .trim_end_matches('/')
            .to_owned();
        let mut stream = TcpStream::connect(&address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let request = request.replace("HERE", &address);
        stream.write_all(request.as_bytes()).expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer
    }
}

#[test]
fn a_person_hears_the_muted_phone_ring_in_a_browser_and_handles_it() {
    let Some((browser, shown)) = Shown::in_a_browser() else {
        return;
    };

    browser.click("#mute");
    browser.click("#headset");
    wait_until(PATIENCE, "the phone to be muted", || {
        let mixer = &shown.world()["mixer"];
        (mixer["mute"] == true && mixer["route"] == "headset").then_some(())
    });
    browser.click("#headset");
    every_other_switch_reaches_the_body(&browser, &shown);
    browser.click("#headset");
    browser.click("#listen");
    browser.wait(
        "a quiet room",
        "document.querySelector('#listening').textContent.includes('quiet')",
    );
    let ring = queue(&shown.household.owner, &["ring", PHONE, "--for", "5m"]);
    browser.wait(
        "the phone to be seen ringing",
        "document.querySelector('#phone').classList.contains('heard')",
    );
    // A full-scale sweep has −3 dBFS; the samples have come through the page's own sound.
    browser.wait(
        "the siren in the listener's ears",
        "parseFloat(document.querySelector('#listening').textContent) > -10",
    );
    browser.wait(
        "the order among those that the phone was given",
        "document.querySelector('#ledger').innerText.includes('Ring! – running')",
    );
    if let Some(folder) = std::env::var_os("HOMING_TEST_SCREENSHOTS") {
        let path = std::path::Path::new(&folder).join("ringing.png.base64");
        std::fs::write(path, browser.screenshot()).expect("written");
    }
    queue(&shown.household.owner, &["ring", PHONE, "--stop"]);
    browser.wait(
        "the page to be quiet",
        "!document.querySelector('#phone').classList.contains('heard')",
    );
    wait_until(PATIENCE, "the ring to be over", || {
        (shown.state_of(&ring) == "cancelled").then_some(())
    });
}

/// Sliders and lists are moved as a person's browser reports it, by the event that follows.
fn every_other_switch_reaches_the_body(browser: &Browser, shown: &Shown) {
    let wait = |what: &str, reached: &dyn Fn(&serde_json::Value) -> bool| {
        wait_until(PATIENCE, what, || reached(&shown.world()).then_some(()));
    };
    let choose = |control: &str, value: &str| {
        let script = format!(
            "(control => {{ control.value = {value:?}; control.dispatchEvent(new Event('change')); }})(document.querySelector({control:?}))"
        );
        let _ = browser.value(&script);
    };
    wait("the headset to be out", &|world| {
        world["mixer"]["route"] == "speaker"
    });
    choose("#volume", "35");
    wait("the volume", &|world| world["mixer"]["volume"] == 35);
    choose("#percent", "12");
    wait("the charge", &|world| world["battery"]["percent"] == 12.0);
    browser.click("#charging");
    wait("the charger", &|world| {
        world["battery"]["charging"] == "charging"
    });
    browser.click("#indoors");
    wait("the roof", &|world| world["position"]["indoors"] == true);
    choose("#somewhere", "48.85837,2.29448");
    wait("another place", &|world| {
        world["position"]["lat"] == 48.858_37
    });
    browser.click("[name=carrier][value=cellular]");
    wait("the other network", &|world| {
        world["network"]["kind"] == "cellular"
    });
}

#[test]
fn a_phone_that_sleeps_has_no_power_or_no_network_gets_its_orders_when_that_ends() {
    let Some((browser, shown)) = Shown::in_a_browser() else {
        return;
    };
    let hindrances = [
        ("#off", "#on", "Its power is cut."),
        ("#asleep", "#on", "It sleeps"),
        (
            "[name=carrier][value=none]",
            "[name=carrier][value=wifi]",
            "It is on.",
        ),
    ];
    for (hinder, let_go, told) in hindrances {
        browser.click(hinder);
        let said = format!("document.querySelector('#whose').innerText.includes({told:?})");
        browser.wait("the page to say so", &said);
        if hinder.contains("carrier") {
            let carrier = "document.querySelector('#carrier').innerText === 'no network'";
            browser.wait("the network to be gone", carrier);
        }
        let order = queue(&shown.household.owner, &["locate", PHONE]);
        let waits = shown.state_of(&order);
        assert!(
            waits == "queued" || waits == "sent",
            "{hinder}: who answered? {waits}"
        );
        browser.click(let_go);
        wait_until(PATIENCE * 2, "the order to be done", || {
            (shown.state_of(&order) == "done").then_some(())
        });
    }
    assert!(shown.phone.get().runs());
}

#[test]
fn nobody_but_the_page_itself_moves_the_switches_and_not_while_a_story_is_told() {
    let shown = Shown::new(Hands::Away);
    let before = shown.world()["mixer"].clone();
    let post = |headers: &str, path: &str, body: &str| {
        let request = format!(
            "POST {path} HTTP/1.1\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        shown.raw(&request)
    };
    let mute = r#"{"set":"mixer","mute":true}"#;
    let own = "Host: HERE\r\nX-Homing-Face: 1\r\n";
    for (headers, path, body, status) in [
        // Another page of the same browser, and one whose name was made to lead here.
        ("Host: HERE\r\n", "/set", mute, "403"),
        (
            "Host: example.org\r\nX-Homing-Face: 1\r\n",
            "/set",
            mute,
            "421",
        ),
        (own, "/set", mute, "403"),
        (own, "/standing", r#"{"to":"off"}"#, "403"),
    ] {
        let answer = post(headers, path, body);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
    }
    let seen = shown.raw("GET /world HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n");
    assert!(seen.starts_with("HTTP/1.1 421"), "{seen}");
    assert_eq!(shown.world()["mixer"], before);

    shown.face.give(Hands::OnThePhone);
    let done = post(own, "/set", mute);
    assert!(done.starts_with("HTTP/1.1 200"), "{done}");
    assert_eq!(shown.world()["mixer"]["mute"], true);
    // What only drivers do, and what nobody understands, is not passed on.
    for (body, status) in [
        (r#"{"do":"siren_open"}"#, "403"),
        (r#"{"set":"mixer","volume":101}"#, "422"),
        ("mute!", "422"),
    ] {
        let answer = post(own, "/set", body);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
    }
    let page = shown.raw("GET / HTTP/1.1\r\nHost: HERE\r\nConnection: close\r\n\r\n");
    assert!(
        page.contains("content-security-policy: default-src 'none'"),
        "{page}"
    );
}
