//! A piece of a pack that is fetched while the one before it is being used, by a thread with a way of its own to the store. Decides nothing of what is fetched, and tries nothing again.

use crate::index::PackNumber;
use crate::store::{Name, Store, StoreError};
use std::ops::Range;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::Builder;

/// What is fetched next.
pub(crate) struct Piece {
    pub(crate) pack: PackNumber,
    /// Where it lies in the pack.
    pub(crate) range: Range<u64>,
    /// Bytes of it that are wanted.
    pub(crate) wanted: u64,
}

/// The thread's end of the work: which file, what of it, and a buffer for that.
type Order = (Name, Range<u64>, Vec<u8>);
type Answer = Result<Vec<u8>, StoreError>;

/// One thread that fetches, one piece at a time. It ends by itself once this is dropped and its request is answered.
pub(crate) struct Ahead {
    orders: Sender<Order>,
    answers: Receiver<Answer>,
    /// What was ordered and not taken.
    under_way: Option<Piece>,
    /// A request failed, which may have taken as long as a server is given: nothing more is fetched ahead, so that who has
    /// patience, and tells of it, finds out.
    has_failed: bool,
}

impl Ahead {
    /// Begins; `None` where there is no thread to be had.
    pub(crate) fn start(store: Box<dyn Store + Send>) -> Option<Self> {
        let (orders, ordered) = mpsc::channel::<Order>();
        let (answer, answers) = mpsc::channel();
        let work = move || {
            for (name, range, mut buffer) in ordered {
                let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
                let got = store.get_range(name, range.start, length, &mut buffer);
                if answer.send(got.map(|()| buffer)).is_err() {
                    return;
                }
            }
        };
        Builder::new().name("ahead".into()).spawn(work).ok()?;
        Some(Self {
            orders,
            answers,
            under_way: None,
            has_failed: false,
        })
    }

    /// Is nothing under way, and may something be?
    pub(crate) const fn is_idle(&self) -> bool {
        self.under_way.is_none() && !self.has_failed
    }

    /// Orders a piece; only where nothing is under way.
    pub(crate) fn order(&mut self, name: Name, piece: Piece, buffer: Vec<u8>) {
        if self
            .orders
            .send((name, piece.range.clone(), buffer))
            .is_ok()
        {
            self.under_way = Some(piece);
        }
    }

    /// The piece that was ordered: waits for one that holds this part of this pack, and takes any other only if it has come.
    /// `None` also where it could not be had; who needs it then asks again, with patience.
    pub(crate) fn take(&mut self, pack: PackNumber, part: &Range<u64>) -> Option<(Piece, Vec<u8>)> {
        let piece = self.under_way.take()?;
        let holds =
            piece.pack == pack && piece.range.start <= part.start && part.end <= piece.range.end;
        let answer = match holds {
            true => self.answers.recv().ok()?,
            false => match self.answers.try_recv() {
                Ok(answer) => answer,
                Err(_) => {
                    self.under_way = Some(piece);
                    return None;
                }
            },
        };
        self.has_failed = answer.is_err();
        answer.ok().map(|bytes| (piece, bytes))
    }
}
