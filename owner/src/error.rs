//! What can go wrong on the owner's side without any I/O. Carries no secret and no content of a message.
use homing_protocol::Malformed;

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Verifying or opening what a phone sent.
    #[error("a message that claims to come from the phone is not acceptable: {0}")]
    Hear(Malformed),
    /// Signing or sealing something for a phone.
    #[error("cannot sign or seal for the phone: {0}")]
    Seal(Malformed),
    /// Reading what this owner signed earlier.
    #[error("what was stored is not what this account signed: {0}")]
    Stored(Malformed),
    /// Unwrapping the keyring.
    #[error("the keyring does not open: {0}")]
    Keyring(Malformed),
    /// Unwrapping the keyring with a wrong passphrase, kit secret or recovery code.
    #[error("wrong passphrase, or a recovery kit of another account")]
    WrongSecret,
    /// Reading a recovery code or kit secret that a person typed.
    #[error("{0}")]
    Mistyped(&'static str),
    /// Adding a client beyond what the protocol allows.
    #[error("the account has 64 clients, as many as an authority list holds; revoke one first")]
    TooManyClients,
    /// Adding a reader beyond what the protocol allows.
    #[error(
        "a phone seals to 8 readers at most, and that many clients are there; revoke one first"
    )]
    TooManyReaders,
    /// Adding a client that was put out of the account.
    #[error(
        "that machine was put out of the account, and no client comes back with the keys it had; let it make new ones"
    )]
    PutOut,
    /// Giving a phone to a client that has them all, or to none.
    #[error("that is no delegate: the owner's own machines have every phone")]
    NotADelegate,
    /// Adding a phone beyond what a keyring holds.
    #[error("the account has 256 phones, as many as a keyring holds")]
    TooManyPhones,
}
