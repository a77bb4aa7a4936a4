//! A broker that does what it likes, between a real agent on each of two phones and the real logic of three clients, by seed and in virtual time. It must not wait for anything real.

mod account;
mod campaign;
mod crashes;
mod family;
mod handset;
mod play;
mod step;
mod world;
