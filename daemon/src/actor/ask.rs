//! How the agent asks the privileged half: one packet to its socket, one back, beside the loop where it may take long. It must not judge the answer.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use homing_protocol::actor::{Answer, LONGEST_PACKET, Request};
use homing_protocol::id::{BeaconNonce, CommandId};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, send, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use tokio::sync::mpsc::UnboundedSender;

use crate::boottime;
use crate::worker::{self, Input};

/// How long a hand-over may take: a session that is ended gets ten seconds from systemd, and a slow phone as long again.
const HAND_OVER: Duration = Duration::from_secs(45);
/// How long a beacon waits for its challenge. Where that is too short, it shows itself without one, and the next one asks again.
const CHALLENGE: Duration = Duration::from_millis(500);
/// Not before this is the next asked for where nobody answered.
const PAUSE: Duration = Duration::from_secs(10);

/// The privileged half, as the agent sees it; a test has another.
pub(crate) trait Privileged {
    /// A challenge for the next beacon; `None` where nobody answers at once.
    fn challenge(&mut self) -> Option<BeaconNonce>;
    /// Hands a command over, unless that is under way; [`Input::ActorAnswered`] brings the answer.
    fn hand_over(&mut self, command: CommandId, authority: &[u8], signed: &[u8]);
    /// A hand-over has ended.
    fn answered(&mut self, command: CommandId, went: Went);
}

/// Whether a hand-over came to something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Went {
    /// An outcome, or a refusal.
    Through,
    /// Nobody answered, or it could not be done now.
    Wrong,
}

/// The privileged half behind its socket.
#[derive(Debug)]
pub(crate) struct ActorSocket {
    path: PathBuf,
    inputs: UnboundedSender<Input>,
    /// Whoever hands over, one after the other in the order in which they were accepted: the privileged half takes only rising numbers.
    worker: Option<Sender<(CommandId, Request)>>,
    /// What is under way.
    handed: Vec<CommandId>,
    silent_until: Duration,
}

impl ActorSocket {
    pub(crate) fn new(path: PathBuf, inputs: UnboundedSender<Input>) -> Self {
        Self {
            path,
            inputs,
            worker: None,
            handed: Vec::new(),
            silent_until: Duration::ZERO,
        }
    }
}

impl ActorSocket {
    /// The thread that hands over, from the first time on.
    fn worker(&mut self) -> Result<&Sender<(CommandId, Request)>, String> {
        if self.worker.is_none() {
            let (sender, handed) = channel::<(CommandId, Request)>();
            let (path, inputs) = (self.path.clone(), self.inputs.clone());
            worker::spawn("hand-over", move || {
                for (command, request) in handed {
                    let answer = ask(&path, &request, HAND_OVER).map_err(|error| error.to_string());
                    // The brain is gone only when the process ends.
                    let _ = inputs.send(Input::ActorAnswered { command, answer });
                }
            })?;
            self.worker = Some(sender);
        }
        self.worker
            .as_ref()
            .ok_or_else(|| "no thread hands over".to_owned())
    }
}

impl Privileged for ActorSocket {
    fn challenge(&mut self) -> Option<BeaconNonce> {
        let now = boottime::now().ok()?;
        if now < self.silent_until {
            return None;
        }
        match ask(&self.path, &Request::Challenge, CHALLENGE) {
            Ok(Answer::Challenge(nonce)) => Some(nonce),
            Ok(_) => None,
            Err(error) => {
                tracing::debug!("no challenge for this beacon: {error}");
                if error.kind() == io::ErrorKind::TimedOut {
                    // One that hangs would hold up each beacon; one that is not there says so at once.
                    self.silent_until = now + PAUSE;
                }
                None
            }
        }
    }

    fn hand_over(&mut self, command: CommandId, authority: &[u8], signed: &[u8]) {
        if self.handed.contains(&command) {
            return;
        }
        self.handed.push(command);
        let request = Request::Order {
            authority: authority.to_vec(),
            command: signed.to_vec(),
        };
        let sent = self.worker().and_then(|worker| {
            let gone = |_| "the thread that hands over has ended".to_owned();
            worker.send((command, request)).map_err(gone)
        });
        if let Err(why) = sent {
            self.worker = None;
            let answer = Err(why);
            let _ = self.inputs.send(Input::ActorAnswered { command, answer });
        }
    }

    fn answered(&mut self, command: CommandId, went: Went) {
        self.handed.retain(|handed| *handed != command);
        if went == Went::Through {
            // It is there: the beacon that tells of this may well be answered by an end.
            self.silent_until = Duration::ZERO;
        }
    }
}

/// Asks one thing.
///
/// # Errors
/// The system's; `TimedOut` where nobody answers in time, `InvalidData` for an answer that is none.
pub(crate) fn ask(path: &Path, request: &Request, patience: Duration) -> io::Result<Answer> {
    let stream = connected(path, patience)?;
    send(
        stream.as_raw_fd(),
        &request.encode(),
        MsgFlags::MSG_NOSIGNAL,
    )?;
    let mut packet = vec![0; LONGEST_PACKET];
    let length = match recv(stream.as_raw_fd(), &mut packet, MsgFlags::empty()) {
        Err(nix::errno::Errno::EAGAIN) => return Err(io::ErrorKind::TimedOut.into()),
        received => received?,
    };
    if length == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Answer::decode(&packet[..length])
        .map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault.to_string()))
}

fn connected(path: &Path, patience: Duration) -> io::Result<OwnedFd> {
    let stream = socket(
        AddressFamily::Unix,
        SockType::SeqPacket,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let limit = TimeVal::milliseconds(i64::try_from(patience.as_millis()).unwrap_or(i64::MAX));
    // A listener whose queue is full makes a connection wait: the same limit holds for it.
    setsockopt(&stream, sockopt::SendTimeout, &limit)?;
    setsockopt(&stream, sockopt::ReceiveTimeout, &limit)?;
    match connect(stream.as_raw_fd(), &UnixAddr::new(path)?) {
        // The queue was full for as long as that.
        Err(nix::errno::Errno::EAGAIN) => Err(io::ErrorKind::TimedOut.into()),
        connected => connected.map(|()| stream).map_err(io::Error::from),
    }
}

/// A phone without a privileged half.
#[cfg(test)]
pub(crate) struct Nobody;

#[cfg(test)]
impl Privileged for Nobody {
    fn challenge(&mut self) -> Option<BeaconNonce> {
        None
    }
    fn hand_over(&mut self, _command: CommandId, _authority: &[u8], _signed: &[u8]) {}
    fn answered(&mut self, _command: CommandId, _went: Went) {}
}
