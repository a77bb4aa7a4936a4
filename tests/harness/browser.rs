//! A real Chromium without a window, driven over WebDriver (W3C, classic) by its own ChromeDriver. It must not know the page it is shown.

use crate::wait::wait_until;
use crate::{Proc, Scratch, free_port};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The key under which WebDriver names an element (W3C WebDriver, section 11).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// How often a page is asked.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Starting a browser takes seconds on an idle machine, and many on a busy one.
const START: Duration = Duration::from_secs(90);

/// A browser with one page.
#[derive(Debug)]
pub struct Browser {
    http: ureq::Agent,
    session: String,
    _driver: Proc,
    // Last: what the browser wrote goes after the browser.
    _scratch: Scratch,
}

impl Browser {
    /// Starts one; `None`, with a word about it, where neither the system nor xtask has provided it.
    ///
    /// # Panics
    /// When it is there and does not start.
    #[track_caller]
    #[must_use]
    pub fn start() -> Option<Self> {
        let (Some(driver), Some(browser)) = (program("chromedriver"), program("chromium")) else {
            let why = std::env::var("HOMING_TEST_BROWSER_REASON")
                .unwrap_or_else(|_| "chromium and chromium-driver are not installed".into());
            eprintln!("SKIPPED: no browser: {why}");
            return None;
        };
        let scratch = Scratch::new();
        let port = free_port();
        let mut command = Command::new(driver);
        command
            .arg(format!("--port={port}"))
            .env("TMPDIR", scratch.folder("tmp"))
            .env("HOME", scratch.folder("home"))
            .env_remove("DBUS_SESSION_BUS_ADDRESS")
            .stdin(Stdio::null());
        let mut driver = Proc::start("chromedriver", &scratch.folder("logs"), &mut command);
        driver.wait_for_output(START, "started successfully");
        let http = ureq::Agent::config_builder()
            .timeout_global(Some(START))
            // It is on this machine, whatever stands before the web.
            .proxy(None)
            .http_status_as_error(false)
            .build()
            .new_agent();
        let mut started = Self {
            http,
            session: format!("http://127.0.0.1:{port}/session"),
            _driver: driver,
            _scratch: scratch,
        };
        let profile = started._scratch.folder("profile");
        let answer = started.post("", &capabilities(&browser, &profile));
        let id = answer["sessionId"].as_str().expect("a session has an id");
        started.session = format!("{}/{id}", started.session);
        Some(started)
    }

    /// Goes to a page and waits until it is loaded.
    ///
    /// # Panics
    /// When it cannot be loaded.
    #[track_caller]
    pub fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// Clicks, as a person, on what this CSS selector finds first.
    ///
    /// # Panics
    /// When nothing is found or it cannot be clicked.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let found = self.post(
            "/element",
            &json!({"using": "css selector", "value": selector}),
        );
        let element = found[ELEMENT].as_str().expect("an element has an id");
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    /// What this expression is in the page.
    ///
    /// # Panics
    /// When it throws.
    #[track_caller]
    #[must_use]
    pub fn value(&self, expression: &str) -> Value {
        self.post(
            "/execute/sync",
            &json!({"script": format!("return ({expression});"), "args": []}),
        )
    }

    /// The text of what this CSS selector finds first, as the page shows it.
    ///
    /// # Panics
    /// When nothing is found.
    #[track_caller]
    #[must_use]
    pub fn text(&self, selector: &str) -> String {
        let text = self.value(&format!(
            "document.querySelector({}).innerText",
            Value::from(selector)
        ));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until this expression is true in the page.
    ///
    /// # Panics
    /// When it does not become true; with what the page shows.
    #[track_caller]
    pub fn wait(&self, what: &str, expression: &str) {
        let mut looked = None::<Instant>;
        let is_true = || {
            // Each look is work for the page.
            let is_soon = looked.is_some_and(|at| at.elapsed() < LOOK_EVERY);
            if is_soon {
                return None;
            }
            let found = self.value(expression) == true;
            looked = Some(Instant::now());
            found.then_some(())
        };
        let shown = || self.text("body");
        let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until(START, what, is_true);
        }));
        assert!(waited.is_ok(), "{what}; the page shows:\n{}", shown());
    }

    /// The page as a PNG, base64.
    ///
    /// # Panics
    /// When the browser is gone.
    #[track_caller]
    #[must_use]
    pub fn screenshot(&self) -> String {
        let answer = self.http.get(format!("{}/screenshot", self.session)).call();
        value_of(answer).as_str().unwrap_or_default().to_owned()
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.session);
        let request = self
            .http
            .post(url)
            .header("content-type", "application/json");
        value_of(request.send(body.to_string()))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // An orderly end; the process group is killed after it in any case.
        let _ = self.http.delete(&self.session).call();
    }
}

fn capabilities(browser: &Path, profile: &Path) -> Value {
    json!({"capabilities": {"alwaysMatch": {
        "browserName": "chrome",
        "goog:chromeOptions": {
            "binary": browser,
            "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
                "--disable-sync", "--force-prefers-reduced-motion", "--disable-breakpad", "--disable-crash-reporter", "--mute-audio",
                "--window-size=1100,900",
                format!("--user-data-dir={}", profile.display()),
            ],
        },
    }}})
}

/// The answer's value.
#[track_caller]
fn value_of(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Value {
    let mut answer = answer.unwrap_or_else(|error| panic!("ChromeDriver did not answer: {error}"));
    let text = answer
        .body_mut()
        .read_to_string()
        .unwrap_or_else(|error| panic!("ChromeDriver's answer broke off: {error}"));
    let told: Value = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("ChromeDriver said {text:?}: {error}"));
    assert!(
        answer.status().is_success(),
        "the browser could not: {}",
        told["value"]["message"]
    );
    told["value"].clone()
}

/// `HOMING_TEST_NAME`, else what the system has.
fn program(name: &str) -> Option<PathBuf> {
    let given = std::env::var_os(format!("HOMING_TEST_{}", name.to_uppercase()));
    given.map(PathBuf::from).or_else(|| {
        let path = PathBuf::from("/usr/bin").join(name);
        path.is_file().then_some(path)
    })
}
