//! From the network's return, as the phone's kernel tells it, to the first order answered. It must not let the agent know earlier.

use std::time::{Duration, Instant};

use e2e::wait_until;
use homing_owner::delivery::State;
use homing_protocol::command::Op;
use serde_json::json;

use crate::error::Error;
use crate::house::{House, PATIENCE, Phone, local, owner_credentials};
use crate::owner::Client;
use crate::record::Record;
use crate::samples::Samples;
use crate::weather::{Dice, SEED};

/// How often the network goes away.
const TIMES: usize = 20;

/// Measures.
///
/// # Errors
/// An order that is not answered, and whatever keeps the household from being built.
pub(crate) async fn run() -> Result<(), Error> {
    eprintln!("reconnect: building a household");
    let house = House::build();
    let phone = house.phone("phone", "")?;
    let account = house.unlock()?;
    let papers = owner_credentials(&account)?;
    let endpoint = local(house.broker().port());
    let mut client = Client::connect(&account, papers, endpoint, phone.line.device).await?;
    let mut record = Record::new("reconnect");
    record.setting("times", TIMES);
    record.setting("absence", "11 to 25 s, the seed's choice");
    record.setting("seed", SEED);
    for (name, delay) in [
        ("near", Duration::ZERO),
        ("far", Duration::from_millis(150)),
    ] {
        phone.line.proxy.delay(delay);
        let samples = series(&house, &phone, &mut client).await?;
        record.figure(&format!("{name}.answered"), "ms", &samples);
    }
    record.write(house.household.scratch.path())
}

async fn series(house: &House, phone: &Phone, client: &mut Client) -> Result<Samples, Error> {
    let mut dice = Dice::new(SEED);
    let mut samples = Samples::default();
    // Longer than the 10 s for which homingd spares itself a second hasty attempt: networks do not go every few seconds.
    for round in 0..TIMES {
        let known = phone.handset.agent_log().matches(LOST).count();
        phone.line.proxy.close();
        wait_until(PATIENCE, "the agent to notice", || {
            (phone.handset.agent_log().matches(LOST).count() > known).then_some(())
        });
        client.rest(dice.between(11_000, 25_000)).await?;
        let order = client.order(Op::Status)?;
        client.rest(Duration::from_millis(100)).await?;
        let kind = if round % 2 == 0 { "cellular" } else { "wifi" };
        phone.line.proxy.open();
        let back = Instant::now();
        house
            .household
            .sim
            .ask(json!({"set": "network", "kind": kind, "metered": "no"}));
        let answered = client.answer(order, State::Done, PATIENCE).await?;
        samples.add(answered - back);
        // The network has come to rest, and what homingd does about that is over.
        client.rest(Duration::from_secs(4)).await?;
    }
    Ok(samples)
}

/// What the agent logs when it has no connection.
const LOST: &str = "not connected: ";
