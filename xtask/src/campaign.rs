//! `cargo xtask campaign NAME`: the long runs of the harnesses, by hand; what they found lies in docs/evidence. It must not judge: each harness does.

use crate::{check, house, tools};

/// One long run: a test that is ignored otherwise, told by its environment how often and where its result belongs.
struct Campaign {
    name: &'static str,
    says: &'static str,
    /// The option that says how often, and its default.
    count: (&'static str, u64),
    /// The package, and cargo's choice of its targets.
    package: &'static [&'static str],
    /// The test's whole path.
    test: &'static str,
    needs: Needs,
}

/// What must be there before it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// Nothing but the test.
    Nothing,
    /// Our programs and the foreign ones (mosquitto, gpsd).
    Programs,
}

/// Every campaign; a harness adds its line here.
const CAMPAIGNS: &[Campaign] = &[
    Campaign {
        name: "hostile-broker",
        says: "the agent and an owner over a broker that does what it likes, in process",
        count: ("--schedules", 100_000),
        package: &["homingd", "--lib"],
        test: "wiring::hostile::campaign::a_campaign_of_hostile_schedules",
        needs: Needs::Nothing,
    },
    Campaign {
        name: "kills",
        says: "kill -9 of the real agent at random moments, end to end",
        count: ("--count", 2_000),
        package: &["e2e", "--test", "scenarios"],
        test: "kills::a_campaign_of_kills",
        needs: Needs::Programs,
    },
    Campaign {
        name: "small-model",
        says: "every order of events of a small household, until no state is left",
        count: ("--states", 20_000_000),
        package: &["homing-policy", "--test", "judge"],
        test: "model::a_campaign_of_two_clients_with_four_orders_each",
        needs: Needs::Nothing,
    },
    Campaign {
        name: "malformed",
        says: "damaged messages of every kind, each given to its decoder",
        count: ("--messages", 10_000_000),
        package: &["homing-protocol", "--test", "malformed"],
        test: "campaign::a_campaign_of_damaged_messages",
        needs: Needs::Nothing,
    },
    Campaign {
        name: "bad-network",
        says: "a link over networks that stall, reset, swallow and trickle, before a real broker",
        count: ("--schedules", 10_000),
        package: &["homing-link", "--test", "broker"],
        test: "chaos::a_campaign_of_bad_networks",
        needs: Needs::Programs,
    },
    Campaign {
        name: "io-faults",
        says: "each file operation of the agent fails at each of its first hits, in each way it can",
        count: ("--hits", 5),
        package: &["homingd", "--lib"],
        test: "wiring::io_faults::a_campaign_of_io_faults",
        needs: Needs::Nothing,
    },
    Campaign {
        name: "clocks",
        says: "wall clocks that jump, are believed or not, and phones that sleep for weeks",
        count: ("--schedules", 50_000),
        package: &["homingd", "--lib"],
        test: "wiring::clocks::a_campaign_of_clocks",
        needs: Needs::Nothing,
    },
    Campaign {
        name: "day",
        says: "a normal day of the real agent in minutes: nothing grows",
        count: ("--hours", 24),
        package: &["e2e", "--test", "scenarios"],
        test: "day::a_whole_day",
        needs: Needs::Programs,
    },
    Campaign {
        name: "archive-kills",
        says: "kill -9 of backups and restores at random moments of their work, judged by restic too",
        count: ("--count", 1_000),
        package: &["homing-backup", "--test", "kill"],
        test: "a_campaign_of_archive_kills",
        needs: Needs::Nothing,
    },
    Campaign {
        name: "archive-trees",
        says: "random folder trees and their changes, restored by us and by restic, and compared",
        count: ("--trees", 100),
        package: &["homing-backup", "--test", "trees"],
        test: "a_campaign_of_random_trees",
        needs: Needs::Nothing,
    },
];

/// How often; read by the test.
const COUNT: &str = "HOMING_CAMPAIGN_COUNT";
/// The first seed; read by the test.
const SEED: &str = "HOMING_CAMPAIGN_SEED";
/// The file for the result, JSON; written by the test.
const RESULT: &str = "HOMING_CAMPAIGN_RESULT";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    count: u64,
    seed: u64,
}

/// `cargo xtask campaign NAME [--schedules|--count N] [--seed N]`.
///
/// # Errors
/// One sentence: an unknown name or option, or the campaign found something.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let Some((name, options)) = arguments.split_first() else {
        return Err(format!("campaign takes a name\n\n{}", help()));
    };
    let Some(campaign) = CAMPAIGNS.iter().find(|known| known.name == name) else {
        return Err(format!("there is no campaign {name:?}\n\n{}", help()));
    };
    let wanted = read(campaign, options)?;
    let mut found = tools::Found::default();
    if campaign.needs == Needs::Programs {
        found = tools::provide(&tools::TOOLS)?;
        check::build()?;
    }
    let result = house::root().join(format!("docs/evidence/{name}.json"));
    house::announce(&format!(
        "campaign {name}: {} from seed {}",
        wanted.count, wanted.seed
    ));
    let mut command = house::cargo();
    command.args(["test", "--locked"]);
    // The programs are built as `cargo xtask test` builds them; what runs in process is worth optimising.
    if campaign.needs == Needs::Nothing {
        command.args(["--profile", "campaign"]);
    }
    command
        .arg("--package")
        .args(campaign.package)
        .args(["--", "--ignored", "--exact", "--nocapture", campaign.test])
        .envs(&found)
        .env(COUNT, wanted.count.to_string())
        .env(SEED, wanted.seed.to_string())
        .env(RESULT, &result);
    house::run("the campaign", &mut command)?;
    eprintln!("\nits result: {}", result.display());
    Ok(())
}

fn read(campaign: &Campaign, options: &[String]) -> Result<Wanted, String> {
    let mut wanted = Wanted {
        count: campaign.count.1,
        seed: 1,
    };
    for pair in options.chunks(2) {
        let [option, value] = pair else {
            return Err(format!("{} takes a number", pair[0]));
        };
        let number = value
            .parse()
            .map_err(|_| format!("{option} takes a whole number, not {value:?}"))?;
        match option.as_str() {
            "--seed" => wanted.seed = number,
            count if count == campaign.count.0 => wanted.count = number,
            other => {
                return Err(format!(
                    "{} takes {} and --seed, not {other:?}",
                    campaign.name, campaign.count.0
                ));
            }
        }
    }
    Ok(wanted)
}

/// What `--help` prints: the campaigns there are.
pub(crate) fn help() -> String {
    let mut text = String::from(
        "cargo xtask campaign NAME [OPTION N] [--seed N]\n\n\
         A long run of one harness, by hand. It prints what it does, and writes its result to\n\
         docs/evidence/NAME.json. The campaigns:\n",
    );
    for campaign in CAMPAIGNS {
        let (option, default) = campaign.count;
        text.push_str(&format!(
            "\n  {}  [{option} {default}]\n      {}\n",
            campaign.name, campaign.says
        ));
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn each_campaign_is_named_once_and_explained() {
        let help = help();
        for campaign in CAMPAIGNS {
            let same = CAMPAIGNS.iter().filter(|other| other.name == campaign.name);
            assert_eq!(same.count(), 1);
            assert!(help.contains(campaign.name) && help.contains(campaign.says));
        }
    }

    #[test]
    fn count_and_seed_are_read_and_anything_else_is_refused() {
        let campaign = &CAMPAIGNS[0];
        let wanted = read(campaign, &words("--schedules 7 --seed 9")).unwrap();
        assert_eq!(wanted, Wanted { count: 7, seed: 9 });
        assert_eq!(read(campaign, &[]).unwrap().count, campaign.count.1);
        for wrong in ["--count 7", "--schedules", "--schedules many"] {
            assert!(read(campaign, &words(wrong)).is_err(), "{wrong}");
        }
        assert!(
            run(&words("nonsense"))
                .unwrap_err()
                .contains("hostile-broker")
        );
    }
}
