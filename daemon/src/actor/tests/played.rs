//! The privileged half behind its socket, and whoever has every order that was ever signed. What one order does is told beside this.

use super::*;

/// A privileged half behind its socket, on a thread of its own.
struct Served {
    path: PathBuf,
    stop: Option<std::thread::JoinHandle<()>>,
}

impl Served {
    fn start(service: Service, settings: crate::config::Settings) -> Self {
        let path = settings.actor_socket();
        let listener = crate::actor::socket::Listener::open(&path).unwrap();
        let mut signals = crate::signal::Signals::install().unwrap();
        let mut service = service;
        let stop = std::thread::spawn(move || {
            crate::actor::serve(&mut service, &listener, &mut signals, &settings).unwrap();
        });
        Self {
            path,
            stop: Some(stop),
        }
    }
    fn ask(&self, request: &Request) -> Answer {
        crate::actor::ask::ask(&self.path, request, std::time::Duration::from_secs(30)).unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM).unwrap();
        if let Some(thread) = self.stop.take() {
            thread.join().unwrap();
        }
    }
}

#[test]
fn who_has_every_order_that_was_ever_signed_can_play_them_in_any_order_to_no_other_effect() {
    // The owner locked, unlocked, locked again; one order to lock was held back all the while, and once the end is, too.
    for is_end_held_back in [false, true] {
        let mut house = House::new();
        let settings = crate::config::Settings {
            state_dir: house.folder.path().to_owned(),
            runtime_dir: house.folder.path().to_owned(),
            ..crate::config::Settings::default()
        };
        let nonce = house.challenge();
        let first = house.lost(1);
        let held_back = house.lost(2);
        let off = house.ending(3, &[1, 2], nonce);
        let second = house.lost(4);
        let old = house.off(5, BeaconNonce([9; 16]));
        let authority = house.authority();
        let doors = Arc::clone(&house.doors);
        let code = house.code(4);
        let lockdown = Box::new(Lent(Arc::clone(&doors)));
        let served = Served::start(house.open_with(lockdown), settings);
        let play = |command: &[u8]| {
            served.ask(&Request::Order {
                authority: authority.clone(),
                command: command.to_vec(),
            })
        };
        let standing = || doors.lock().unwrap().standing.clone();
        let begun: &[_] = match is_end_held_back {
            true => &[&first, &second],
            false => &[&first, &off, &second],
        };
        for command in begun {
            assert!(matches!(play(command), Answer::Outcome { .. }));
        }
        assert_eq!(standing(), Standing::Locked);
        let all = [&first, &held_back, &off, &second, &old];
        for round in 0..60 {
            let _ = play(all[(round * 7 + round / 5) % all.len()]);
            let cut = &off[..off.len() - 1 - round];
            assert!(matches!(play(cut), Answer::Refused(_)));
            assert_eq!(standing(), Standing::Locked, "round {round}");
        }
        let digits = Zeroizing::new(code.digits().to_owned());
        let answer = served.ask(&Request::Code { digits });
        assert_eq!(answer, Answer::Code(CodeAnswer::Right));
        for round in 0..60 {
            let _ = play(all[(round * 7 + round / 5) % all.len()]);
            assert_eq!(standing(), Standing::Open, "round {round}");
        }
    }
}
