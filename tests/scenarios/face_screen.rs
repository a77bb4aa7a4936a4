//! The simulated phone's screen on its page, in a real Chromium: the pixels are the phone's own, and a person touches them.

use e2e::{Browser, LostScreen, PATIENCE, Scratch, Sim, wait_until};
use homing_face::{Body, Face, Hands, Keeper, Question, Reach, Standing};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Nobody runs programs on this phone but the test.
struct Nobody;

impl Keeper for Nobody {
    fn standing(&mut self) -> Standing {
        Standing::On
    }

    fn put(&mut self, _: Standing) {}

    fn carry(&mut self, _: Reach) {}

    fn ledger(&mut self) -> Question {
        Box::new(|| Ok(Vec::new()))
    }
}

/// A body with a lost screen and a page. Fields are dropped in this order.
struct Shown {
    browser: Browser,
    face: Face,
    _screen: LostScreen,
    sim: Sim,
    notice: PathBuf,
    _scratch: Scratch,
}

impl Shown {
    /// `None` where there is no browser.
    fn start() -> Option<Self> {
        let browser = Browser::start()?;
        let scratch = Scratch::new();
        let folder = scratch.folder("phone");
        let sim = Sim::start(&folder);
        let config = folder.join("homingd.toml");
        let text = format!(
            "actor_dir = {:?}\n[hal]\nbackend = \"sim\"\n[hal.sim]\nsocket = {:?}\n",
            folder.join("actor"),
            sim.socket()
        );
        std::fs::write(&config, text).expect("a configuration");
        let screen = LostScreen::start(&folder, &config);
        let body = Body::new(sim.socket().to_path_buf());
        let face = Face::start(body, Box::new(Nobody), Hands::OnThePhone, 0).expect("a free port");
        browser.open(&face.url());
        browser.wait(
            "the switches",
            "!document.querySelector('#switches').disabled",
        );
        Some(Self {
            browser,
            face,
            _screen: screen,
            sim,
            notice: folder.join("actor/shown/notice.json"),
            _scratch: scratch,
        })
    }

    fn lose(&self, message: &str) {
        let notice = json!({
            "episode": "00112233445566778899aabbccddeeff",
            "message": message,
            "contact": "+49 170 1234567",
            "code_digits": 8,
            "since_unix_s": 1_700_000_000,
        });
        let folder = self.notice.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(folder).expect("a folder");
        let new = self.notice.with_extension("new");
        std::fs::write(&new, notice.to_string()).expect("written");
        std::fs::rename(new, &self.notice).expect("shown");
    }

    fn seen(&self) -> Value {
        self.sim.ask(json!({"get": "world"}))["screen"].clone()
    }

    fn wait_text(&self, text: &str) {
        self.browser.wait(
            text,
            &format!("document.querySelector('#panel').alt.split('\\n').includes({text:?})"),
        );
    }

    fn press_power(&self) {
        self.browser.click("#power");
    }

    fn wait_dark(&self) {
        self.browser.wait(
            "the panel to be dark",
            "document.querySelector('#panel').alt === \"The phone's screen is dark\"",
        );
    }

    /// A finger comes down and is lifted at this place of the panel, as a browser reports it.
    fn tap(&self, x: f64, y: f64) {
        let _ = self.browser.value(&format!(
            "(panel => {{
                const box = panel.getBoundingClientRect();
                const place = {{ pointerId: 7, bubbles: true, clientX: box.left + box.width * {x}, clientY: box.top + box.height * {y} }};
                panel.dispatchEvent(new PointerEvent('pointerdown', place));
                panel.dispatchEvent(new PointerEvent('pointerup', place));
            }})(document.querySelector('#panel'))"
        ));
    }

    /// The pixels that the page shows are those that are seen on the phone, once the page has caught up.
    fn the_page_shows_the_phone_s_pixels(&self) {
        wait_until(PATIENCE, "the page to have the newest pixels", || {
            let shown = self.browser.value(
                "(panel => panel.complete && panel.naturalWidth === 720 ? panel.dataset.version : '')(document.querySelector('#panel'))",
            );
            let newest = self.seen()["version"].to_string();
            (shown.as_str() == Some(newest.as_str())).then_some(())
        });
        // What the page would fetch is what the phone shows; the lit part is what the page has painted.
        let lit = "(panel => {
            const canvas = new OffscreenCanvas(720, 1440);
            const context = canvas.getContext('2d');
            context.drawImage(panel, 0, 0, 720, 1440);
            const { data } = context.getImageData(0, 0, 720, 1440);
            let sum = 0;
            for (let at = 0; at < data.length; at += 4) sum += data[at];
            return sum;
        })(document.querySelector('#panel'))";
        let lit = self.browser.value(lit).as_u64().unwrap_or_default();
        let dark = self.seen()["backlight_percent"] == 0;
        assert_eq!(lit == 0, dark, "{lit}");
    }
}

#[test]
fn a_person_sees_the_session_go_reads_the_message_and_types_on_the_phone_s_own_pixels() {
    let Some(shown) = Shown::start() else {
        return;
    };
    shown.wait_text("Diary, Monday");
    shown.the_page_shows_the_phone_s_pixels();
    shown.lose("Please call, it is only a phone to you.");
    shown.wait_text("Please call, it is only a phone to you.");
    shown.wait_text("+49 170 1234567");
    shown.the_page_shows_the_phone_s_pixels();
    if let Some(folder) = std::env::var_os("HOMING_TEST_SCREENSHOTS") {
        let path = Path::new(&folder).join("lost.png.base64");
        std::fs::write(path, shown.browser.screenshot()).expect("written");
    }

    // The button at the lower rim opens the keypad; its middle column has 2, 5, 8 and 0.
    shown.tap(0.5, 0.93);
    shown.wait_text("Unlock code");
    shown.wait_text("0/8");
    shown.tap(0.5, 0.93);
    shown.wait_text("1/8");
    shown.press_power();
    shown.wait_dark();
    shown.the_page_shows_the_phone_s_pixels();
    // A touch only wakes it: the keypad is closed.
    shown.tap(0.5, 0.93);
    shown.wait_text("Please call, it is only a phone to you.");
    // Each press is seen before the next: none may be under way when the hands are taken away.
    shown.press_power();
    shown.wait_dark();
    shown.press_power();
    shown.wait_text("Please call, it is only a phone to you.");

    shown.face.give(Hands::Away);
    shown.browser.wait(
        "the switches to be gone",
        "document.querySelector('#switches').disabled",
    );
    shown.tap(0.5, 0.93);
    shown.face.give(Hands::OnThePhone);
    std::fs::remove_file(&shown.notice).expect("removed");
    shown.wait_text("Diary, Monday");
    shown.the_page_shows_the_phone_s_pixels();
}
