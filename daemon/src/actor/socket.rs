//! The privileged half's socket: who may ask what, one packet and one answer a connection, several at a time so that nobody keeps the others out. It must not read more than a packet.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use homing_protocol::actor::{Answer, LONGEST_PACKET, Request};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, getsockopt, listen, socket, sockopt,
};
use nix::unistd::{Uid, User, geteuid};
use std::os::fd::AsRawFd;

use crate::error::Error;

/// How long whoever connected may keep silent.
const SILENCE: Duration = Duration::from_secs(2);
/// Connections at once; of more, the greediest user's oldest goes.
const MOST_CONNECTIONS: usize = 16;
/// How many more may wait outside.
const BACKLOG: i32 = 16;
/// The user of the screen at which the code is typed.
const SCREEN_USER: &str = "homing-lost";

/// Where requests arrive.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: UnixListener,
    /// Removed when this ends; a socket of the service manager's stays.
    own: Option<PathBuf>,
}

impl Listener {
    /// The socket on which the service manager listens for us, else one of our own at `path`.
    ///
    /// # Errors
    /// [`Error::Folder`] when none can be had there.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let handed = sd_notify::listen_fds().map_or(0, |sockets| sockets.len());
        let opened = match (handed, path) {
            (0, path) => own(path).map(|socket| (socket, Some(path.to_owned()))),
            _ => homing_hal::linux::activation::first_socket()
                .map(|socket| (socket, None))
                .ok_or_else(|| ErrorKind::NotConnected.into()),
        };
        let opened = opened.and_then(|(socket, own)| {
            socket.set_nonblocking(true)?;
            Ok(Self { socket, own })
        });
        opened.map_err(|source| Error::Folder {
            path: path.to_owned(),
            source,
        })
    }

    /// Whether the service manager listens, and starts this process again when somebody asks.
    pub(crate) const fn is_activated(&self) -> bool {
        self.own.is_none()
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = &self.own {
            // Whoever comes next makes it anew.
            drop(fs::remove_file(path));
        }
    }
}

/// A socket of our own, for whoever is of its folder's group: the service manager says who that is by making the folder.
fn own(path: &Path) -> io::Result<UnixListener> {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(error);
    }
    let made: OwnedFd = socket(
        AddressFamily::Unix,
        SockType::SeqPacket,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    bind(made.as_raw_fd(), &UnixAddr::new(path)?)?;
    if let Some(folder) = path.parent() {
        // Its maker's own group would let nobody else in.
        std::os::unix::fs::chown(path, None, Some(fs::metadata(folder)?.gid()))?;
    }
    fs::set_permissions(path, Permissions::from_mode(0o660))?;
    listen(&made, Backlog::new(BACKLOG)?)?;
    Ok(UnixListener::from(made))
}

/// Who may ask: the agent orders, the screen hands codes over, root and whoever this process is may both.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doorkeeper {
    own: Uid,
    agent: Uid,
    screen: Option<Uid>,
}

impl Doorkeeper {
    /// The agent is who owns its state directory, the screen a user of its own.
    pub(crate) fn of(state_dir: &Path) -> Self {
        let own = geteuid();
        let agent = fs::metadata(state_dir).map_or(own, |found| Uid::from_raw(found.uid()));
        let screen = User::from_name(SCREEN_USER).ok().flatten();
        Self {
            own,
            agent,
            screen: screen.map(|user| user.uid),
        }
    }
    /// Whether this user may ask this.
    fn lets(&self, user: Uid, request: &Request) -> Entry {
        let may = user.is_root()
            || user == self.own
            || match request {
                Request::Challenge | Request::Order { .. } => user == self.agent,
                Request::Code { .. } => Some(user) == self.screen,
                Request::Standing => user == self.agent || Some(user) == self.screen,
            };
        if may { Entry::Yes } else { Entry::No }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Yes,
    No,
}

/// Somebody who has connected and not asked yet.
#[derive(Debug)]
pub(crate) struct Caller {
    stream: UnixStream,
    user: Uid,
    /// When it is put out, time since boot.
    until: Duration,
}

impl AsFd for Caller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Everybody who has connected.
#[derive(Debug, Default)]
pub(crate) struct Callers(Vec<Caller>);

impl Callers {
    /// Whether nobody is there.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Who is waited for.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Caller> {
        self.0.iter()
    }
    /// How long the next of them may still keep silent.
    pub(crate) fn patience(&self, now: Duration) -> Option<Duration> {
        let ends = self.0.iter().map(|caller| caller.until.saturating_sub(now));
        ends.min()
    }

    /// Lets in who waits outside.
    ///
    /// # Errors
    /// The system's, when it gives no more connections.
    pub(crate) fn let_in(&mut self, listener: &Listener, now: Duration) -> io::Result<()> {
        // Not without end: whoever connects faster than this is looked at in between.
        for _ in 0..2 * MOST_CONNECTIONS {
            let stream = match listener.socket.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                    ) =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            let user = getsockopt(&stream, sockopt::PeerCredentials)?.uid();
            self.0.push(Caller {
                stream,
                user: Uid::from_raw(user),
                until: now + SILENCE,
            });
            self.make_room();
        }
        Ok(())
    }

    fn make_room(&mut self) {
        if self.0.len() <= MOST_CONNECTIONS {
            return;
        }
        let count = |user: Uid| self.0.iter().filter(|caller| caller.user == user).count();
        let greediest = self
            .0
            .iter()
            .map(|caller| caller.user)
            .max_by_key(|user| count(*user));
        let oldest = self
            .0
            .iter()
            .position(|caller| Some(caller.user) == greediest);
        if let Some(index) = oldest {
            self.0.remove(index);
        }
    }

    /// Takes what they ask, and puts out who keeps silent or asks what he may not.
    pub(crate) fn take_requests(
        &mut self,
        doorkeeper: &Doorkeeper,
        now: Duration,
    ) -> Vec<(Request, Caller)> {
        let mut asked = Vec::new();
        let mut silent = Vec::new();
        for mut caller in self.0.drain(..) {
            match caller.read() {
                Ok(Some(request)) if doorkeeper.lets(caller.user, &request) == Entry::Yes => {
                    asked.push((request, caller));
                }
                Ok(Some(_)) => {
                    tracing::warn!("user {} asked what it may not", caller.user);
                    caller.reply(&Answer::Refused(homing_protocol::Refusal::NotAllowed));
                }
                Ok(None) if now < caller.until => silent.push(caller),
                Ok(None) => {}
                Err(error) => tracing::debug!("user {} asked nothing: {error}", caller.user),
            }
        }
        self.0 = silent;
        asked
    }
}

impl Caller {
    /// The request, once it is there.
    fn read(&mut self) -> io::Result<Option<Request>> {
        // One byte more than the longest packet: the kernel cuts a longer one, and a cut one is none.
        let mut packet = zeroize::Zeroizing::new(vec![0; LONGEST_PACKET + 1]);
        let length = match self.stream.read(&mut packet) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        Request::decode(&packet[..length])
            .map(Some)
            .map_err(|fault| io::Error::new(ErrorKind::InvalidData, fault.to_string()))
    }

    /// Answers, and ends the connection. Who does not listen any more has to ask again.
    pub(crate) fn reply(mut self, answer: &Answer) {
        if let Err(error) = self.stream.write_all(&answer.encode()) {
            tracing::debug!("an answer was not taken: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use homing_protocol::Refusal;
    use nix::unistd::Gid;
    use zeroize::Zeroizing;

    use super::*;

    #[test]
    fn the_agent_orders_the_screen_hands_codes_over_and_a_stranger_learns_nothing() {
        let [own, agent, screen, stranger] = [100, 101, 102, 103].map(Uid::from_raw);
        let doorkeeper = Doorkeeper {
            own,
            agent,
            screen: Some(screen),
        };
        let order = Request::Order {
            authority: Vec::new(),
            command: Vec::new(),
        };
        let digits = Zeroizing::new("12345678".to_owned());
        let code = Request::Code { digits };
        // Challenge, order, code, standing.
        let requests = [Request::Challenge, order, code, Request::Standing];
        for (user, may) in [
            (own, [true; 4]),
            (Uid::from_raw(0), [true; 4]),
            (agent, [true, true, false, true]),
            (screen, [false, false, true, true]),
            (stranger, [false; 4]),
        ] {
            let lets = requests
                .each_ref()
                .map(|request| doorkeeper.lets(user, request) == Entry::Yes);
            assert_eq!(lets, may, "{user}");
        }
    }

    #[test]
    fn who_may_not_ask_is_told_so_and_is_not_heard() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("actor.sock");
        let listener = Listener::open(&path).unwrap();
        listener.socket.set_nonblocking(false).unwrap();
        // Somebody else than whoever runs this.
        let other = Uid::from_raw(geteuid().as_raw() + 1);
        let doorkeeper = Doorkeeper {
            own: other,
            agent: other,
            screen: None,
        };
        let asked = std::thread::spawn(move || {
            let digits = Zeroizing::new("12345678".to_owned());
            crate::actor::ask::ask(&path, &Request::Code { digits }, Duration::from_secs(30))
        });
        let (stream, _) = listener.socket.accept().unwrap();
        let mut callers = Callers(vec![Caller {
            stream,
            user: Uid::from_raw(other.as_raw() + 1),
            until: Duration::MAX,
        }]);
        let heard = callers.take_requests(&doorkeeper, Duration::ZERO);
        assert!(heard.is_empty());
        assert_eq!(
            asked.join().unwrap().unwrap(),
            Answer::Refused(Refusal::NotAllowed)
        );
    }

    #[test]
    fn a_socket_of_our_own_is_for_the_group_of_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let group = if geteuid().is_root() {
            Gid::from_raw(4242)
        } else {
            nix::unistd::getegid()
        };
        nix::unistd::chown(folder.path(), None, Some(group)).unwrap();
        let path = folder.path().join("actor.sock");
        let _listener = Listener::open(&path).unwrap();
        let made = fs::metadata(&path).unwrap();
        assert_eq!((made.gid(), made.mode() & 0o777), (group.as_raw(), 0o660));
    }
}
