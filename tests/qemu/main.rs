//! Stories in an emulated phone: the ARM homingd on Debian's kernel, with a real gpsd and the shipped broker. They must not run where no guest was prepared; then they say so.
#![forbid(unsafe_code)]

mod cuts;
mod encrypted;
mod finder;
mod finding;
mod first;
mod household;
mod impostor;
mod lost;
mod pace;
mod phosh;
mod picture;
mod power;
mod sound;
mod system;
