//! What scenarios are told with: real processes as values that end when dropped. It must not share code with what it tests, and it panics with a sentence where a test cannot go on.
#![forbid(unsafe_code)]

mod broker;
mod browser;
mod gpsd;
mod guest;
mod handset;
mod household;
mod intruder;
mod keeper;
mod lost_screen;
mod owner;
mod port;
mod proc;
mod program;
mod proxy;
mod scratch;
mod sim;
mod small_disk;
mod wait;
mod warden;

pub use broker::Broker;
pub use browser::Browser;
pub use gpsd::Gpsd;
pub use guest::{
    Body, BootPartition, Clock, Firmware, Fittings, GUEST_PATIENCE, Guest, Kit, Panel, Recording,
    Root, Said, SerialReceiver, Sound, SystemKit,
};
pub use handset::Handset;
pub use household::{Household, PASSPHRASE, PHONE, Receiver};
pub use intruder::{Intruder, Message, Papers, Wiretap};
pub use keeper::{HandsetKeeper, SharedHandset};
pub use lost_screen::LostScreen;
pub use owner::{Answer, Owner};
pub use port::free_port;
pub use proc::Proc;
pub use program::{foreign, ours};
pub use proxy::TcpProxy;
pub use scratch::Scratch;
pub use sim::Sim;
pub use small_disk::SmallDisk;
pub use wait::{PATIENCE, wait_until};
pub use warden::clean_up;
