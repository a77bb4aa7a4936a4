//! Asks the phone's privileged half about a typed code: one packet to its socket, one back. It judges nothing itself.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use homing_protocol::actor::{Answer, CodeAnswer, LONGEST_PACKET, Request};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, send, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use zeroize::Zeroizing;

use crate::keypad::Verdict;

/// How long an answer may take: the right code ends the episode first, and a phone's services take their time to start.
const PATIENCE_S: i64 = 60;

/// What the privileged half says about the digits; [`Verdict::Unheard`] where nobody answers.
#[must_use]
pub fn ask(path: &Path, digits: Zeroizing<String>) -> Verdict {
    let packet = Zeroizing::new(Request::Code { digits }.encode());
    let seconds = |wait_s: u32| Duration::from_secs(u64::from(wait_s));
    match exchange(path, &packet).as_deref().map(Answer::decode) {
        Ok(Ok(Answer::Code(CodeAnswer::Right | CodeAnswer::NoEpisode))) => Verdict::Right,
        Ok(Ok(Answer::Code(CodeAnswer::Wrong { wait_s }))) => Verdict::Wrong(seconds(wait_s)),
        Ok(Ok(Answer::Code(CodeAnswer::Wait { wait_s }))) => Verdict::Wait(seconds(wait_s)),
        Ok(_) | Err(_) => Verdict::Unheard,
    }
}

fn exchange(path: &Path, packet: &[u8]) -> Result<Vec<u8>, Errno> {
    let socket: OwnedFd = socket(
        AddressFamily::Unix,
        SockType::SeqPacket,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let patience = TimeVal::seconds(PATIENCE_S);
    setsockopt(&socket, sockopt::ReceiveTimeout, &patience)?;
    setsockopt(&socket, sockopt::SendTimeout, &patience)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    send(socket.as_raw_fd(), packet, MsgFlags::MSG_NOSIGNAL)?;
    let mut answer = vec![0; LONGEST_PACKET];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    answer.truncate(length);
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{Backlog, accept, bind, listen};

    /// A privileged half that answers one question.
    fn answering(answer: CodeAnswer) -> (Verdict, Request) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("actor.sock");
        let listener = socket(
            AddressFamily::Unix,
            SockType::SeqPacket,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .unwrap();
        bind(listener.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        listen(&listener, Backlog::new(1).unwrap()).unwrap();
        std::thread::scope(|scope| {
            let other = scope.spawn(move || {
                let stream = accept(listener.as_raw_fd()).unwrap();
                let mut packet = vec![0; 4096];
                let length = recv(stream, &mut packet, MsgFlags::empty()).unwrap();
                let answer = Answer::Code(answer).encode();
                send(stream, &answer, MsgFlags::MSG_NOSIGNAL).unwrap();
                let _ = nix::unistd::close(stream);
                Request::decode(&packet[..length]).unwrap()
            });
            let verdict = ask(&path, Zeroizing::new("12345678".into()));
            (verdict, other.join().unwrap())
        })
    }

    #[test]
    fn typed_digits_are_asked_about_and_the_answer_is_taken_at_its_word() {
        let digits = Zeroizing::new("12345678".to_owned());
        for (answer, wanted) in [
            (CodeAnswer::Right, Verdict::Right),
            (
                CodeAnswer::Wrong { wait_s: 30 },
                Verdict::Wrong(Duration::from_secs(30)),
            ),
            (
                CodeAnswer::Wait { wait_s: 7 },
                Verdict::Wait(Duration::from_secs(7)),
            ),
        ] {
            let (verdict, asked) = answering(answer);
            assert_eq!(verdict, wanted);
            assert_eq!(
                asked,
                Request::Code {
                    digits: digits.clone()
                }
            );
        }
        let nobody = Path::new("/nowhere/actor.sock");
        assert_eq!(ask(nobody, digits), Verdict::Unheard);
    }
}
