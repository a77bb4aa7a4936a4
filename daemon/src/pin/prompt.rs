//! Asks for something secret: on a terminal without showing it, else one line of the input. It must not keep or judge what was typed.

use std::io::{self, BufRead, IsTerminal};

use nix::sys::termios::{
    LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr,
};
use zeroize::Zeroizing;

use crate::error::Error;

/// The byte that Ctrl-C types.
const INTERRUPT: u8 = 3;

/// Shows `question` and returns the line typed, without its end; `None` when there was none, or Ctrl-C.
///
/// # Errors
/// [`Error::Print`]; [`Error::Kernel`] when the terminal cannot be told to show nothing.
pub(super) fn secret(question: &str) -> Result<Option<Zeroizing<String>>, Error> {
    let input = io::stdin();
    let hidden = if input.is_terminal() {
        // Hidden first: whoever answers a question that is seen must not be too quick.
        let hidden = Hidden::from(&input)?;
        crate::print(question)?;
        Some(hidden)
    } else {
        None
    };
    let mut line = Zeroizing::new(String::new());
    let read = input.lock().read_line(&mut line);
    if hidden.is_some() {
        drop(hidden);
        // The one that was typed has not been shown either.
        crate::print("\n")?;
    }
    let typed = read.map_err(|source| Error::Kernel {
        doing: "read what was typed",
        source,
    })?;
    let interrupted = line.bytes().any(|byte| byte == INTERRUPT);
    Ok((typed > 0 && !interrupted).then_some(line))
}

/// Whether somebody can be asked.
pub(super) fn somebody_is_there() -> Presence {
    match io::stdin().is_terminal() {
        true => Presence::Terminal,
        false => Presence::Input,
    }
}

/// Where an answer would come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// A person's terminal.
    Terminal,
    /// Another program, a file, or nothing.
    Input,
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden<'a> {
    terminal: &'a io::Stdin,
    before: Termios,
}

impl<'a> Hidden<'a> {
    fn from(terminal: &'a io::Stdin) -> Result<Self, Error> {
        let refused = |errno: nix::errno::Errno| Error::Kernel {
            doing: "hide what is typed",
            source: errno.into(),
        };
        let before = tcgetattr(terminal).map_err(refused)?;
        let mut settings = before.clone();
        // Ctrl-C ends the line instead of this process, which could not show again what is typed.
        settings
            .local_flags
            .remove(LocalFlags::ECHO | LocalFlags::ISIG);
        settings.control_chars[SpecialCharacterIndices::VEOL as usize] = INTERRUPT;
        tcsetattr(terminal, SetArg::TCSAFLUSH, &settings).map_err(refused)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing put back.
        let _ = tcsetattr(self.terminal, SetArg::TCSANOW, &self.before);
    }
}
