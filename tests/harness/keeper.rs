//! Whoever runs the simulated phone's programs, for its page: power, sleep, the way to the broker, the ledger. It must not know what the phone answers.

use crate::{Handset, TcpProxy};
use homing_face::{Keeper, Question, Reach, Standing};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A handset that a story and a page share.
#[derive(Clone, Debug)]
pub struct SharedHandset(Arc<Mutex<Handset>>);

impl SharedHandset {
    /// Shares it.
    #[must_use]
    pub fn new(handset: Handset) -> Self {
        Self(Arc::new(Mutex::new(handset)))
    }

    /// The handset; whoever else wants it waits.
    pub fn get(&self) -> MutexGuard<'_, Handset> {
        // A story that failed in the middle leaves at worst a phone that is off.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a shared handset for its page.
#[derive(Debug)]
pub struct HandsetKeeper {
    handset: SharedHandset,
    way: Arc<TcpProxy>,
}

impl HandsetKeeper {
    /// A keeper of this handset, whose traffic goes through `way`.
    #[must_use]
    pub fn new(handset: SharedHandset, way: Arc<TcpProxy>) -> Self {
        Self { handset, way }
    }
}

impl Keeper for HandsetKeeper {
    fn standing(&mut self) -> Standing {
        let mut handset = self.handset.get();
        if handset.is_suspended() {
            Standing::Asleep
        } else if handset.runs() {
            Standing::On
        } else {
            Standing::Off
        }
    }

    fn put(&mut self, standing: Standing) {
        let mut handset = self.handset.get();
        match standing {
            Standing::On if handset.is_suspended() => handset.resume(),
            Standing::On => handset.start(),
            // A phone without power cannot fall asleep.
            Standing::Asleep if handset.runs() => handset.suspend(),
            Standing::Asleep => {}
            Standing::Off => handset.cut_power(),
        }
    }

    fn carry(&mut self, reach: Reach) {
        match reach {
            Reach::Open => self.way.open(),
            Reach::Cut => self.way.close(),
        }
    }

    fn ledger(&mut self) -> Question {
        let ask = self.handset.get().question(&["ledger", "--json"]);
        Box::new(move || {
            let answer = ask();
            if answer.status.success() {
                Ok(answer.json_lines())
            } else {
                Err(io::Error::other(answer.stderr))
            }
        })
    }
}
