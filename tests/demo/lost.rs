//! The step in which the phone is lost: locked with its owner's words through a cut of its power, opened by its account alone. It must not believe what the phone's programs say: it looks at the screen.

use crate::household::{Household, PHONE};
use crate::stage::Stage;
use e2e::{PATIENCE, wait_until};
use serde_json::{Value, json};

const MESSAGE: &str = "Please bring me home. Danke!";
const CONTACT: &str = "+49 30 901820";

/// Lost, tried, switched off and on, and home again.
pub(crate) fn locked(stage: &Stage, household: &Household) {
    stage.heading("6. It is lost: locked with its owner's words, by the account alone");
    show_screen(stage, household);
    household.homing(
        stage,
        &["lost", PHONE, "--message", MESSAGE, "--phone", CONTACT],
    );
    wait_screen(household, "lost", |screen| shows(screen, CONTACT));
    show_screen(stage, household);
    stage.say("(whoever found it pulls out the battery and puts it in again)");
    household.handset().cut_power();
    household.handset().start();
    wait_screen(household, "lost after a restart", |screen| {
        shows(screen, CONTACT)
    });
    show_screen(stage, household);
    household.homing(stage, &["lost", PHONE, "--off"]);
    wait_screen(household, "the user's session", |screen| {
        screen["shows"] == "session"
    });
    show_screen(stage, household);
}

fn screen(household: &Household) -> Value {
    household.sim.ask(json!({"get": "screen"}))
}

fn lines(screen: &Value) -> Vec<&str> {
    let lines = screen["text"].as_array().into_iter().flatten();
    lines.filter_map(Value::as_str).collect()
}

fn shows(screen: &Value, text: &str) -> bool {
    screen["shows"] == "program" && lines(screen).iter().any(|line| line.contains(text))
}

fn wait_screen(household: &Household, what: &str, holds: impl Fn(&Value) -> bool) {
    wait_until(PATIENCE, what, || holds(&screen(household)).then_some(()));
}

/// What a finder reads.
fn show_screen(stage: &Stage, household: &Household) {
    let screen = screen(household);
    let text = lines(&screen).join(" | ");
    stage.say(&format!("  On the screen: {text}"));
}
