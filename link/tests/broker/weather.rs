//! A proxy whose network is bad by a seed: resets within the handshake and within packets, stalls, half-open connections, single bytes, late ends. It must not look at the bytes.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    time::sleep,
};

/// A small generator of numbers (xorshift64*, Vigna 2016): a schedule is told by its seed alone.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        // A state of zero would stay zero, and near seeds must not begin alike.
        let mut numbers = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..8 {
            numbers.below(2);
        }
        numbers
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % end
    }
}

/// Bytes of one direction in which a handshake, the subscription and the first messages lie; trouble falls there.
const EARLY: u64 = 6_000;

/// How one direction of one connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Passes on what comes.
    Passes,
    /// After so many bytes both sides get a reset.
    Resets(u64),
    /// After so many bytes nothing comes through any more, and nobody is told.
    Swallows(u64),
}

/// What one direction is like.
#[derive(Clone, Copy, Debug)]
struct Way {
    fate: Fate,
    /// Byte by byte, each in a segment of its own, for so many bytes.
    trickle: u64,
    /// After so many bytes nothing passes for a while, then everything.
    stall: Option<(u64, Duration)>,
}

/// What one connection is like.
#[derive(Clone, Copy, Debug)]
struct Plan {
    refused: bool,
    up: Way,
    down: Way,
    /// How long after one side's end the other hears of it.
    late_end: Duration,
}

/// How bad the weather of a schedule is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Climate {
    /// Connections that meet trouble; those after them meet none.
    pub(crate) troubled: u32,
    /// The longest stall.
    pub(crate) stall: Duration,
}

impl Plan {
    const FINE: Way = Way {
        fate: Fate::Passes,
        trickle: 0,
        stall: None,
    };

    fn draw(numbers: &mut Numbers, climate: Climate) -> Self {
        let mut plan = Self {
            refused: false,
            up: Self::FINE,
            down: Self::FINE,
            late_end: Duration::from_millis(numbers.below(2) * numbers.below(300)),
        };
        let at = numbers.below(EARLY);
        let upwards = numbers.below(2) == 0;
        let way = if upwards {
            &mut plan.up
        } else {
            &mut plan.down
        };
        match numbers.below(8) {
            0 => plan.refused = true,
            1..=4 => way.fate = Fate::Resets(at),
            5 => way.fate = Fate::Swallows(at),
            6 => way.trickle = at,
            _ => {
                let longest = u64::try_from(climate.stall.as_millis()).unwrap_or(u64::MAX);
                way.stall = Some((at, Duration::from_millis(numbers.below(longest))));
            }
        }
        if numbers.below(4) == 0 {
            plan.up.trickle = numbers.below(EARLY);
        }
        plan
    }
}

/// Starts the proxy on the current runtime; it ends with it.
pub(crate) async fn bad(target: SocketAddr, seed: u64, climate: Climate) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut numbers = Numbers::new(seed);
        for connection in 0u32.. {
            let Ok((client, _)) = listener.accept().await else {
                return;
            };
            let mut plan = Plan::draw(&mut numbers, climate);
            if connection >= climate.troubled {
                plan = Plan {
                    refused: false,
                    up: Plan::FINE,
                    down: Plan::FINE,
                    late_end: Duration::ZERO,
                };
            }
            tokio::spawn(carry(client, target, plan));
        }
    });
    address
}

/// Why a direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    Reset,
}

async fn carry(mut client: TcpStream, target: SocketAddr, plan: Plan) {
    if plan.refused {
        return;
    }
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let end = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        tokio::select! {
            end = pass(from_client, to_server, plan.up) => end,
            end = pass(from_server, to_client, plan.down) => end,
        }
    };
    match end {
        End::Closed => sleep(plan.late_end).await,
        // What is dropped with a linger of zero is reset.
        End::Reset => drop((client.set_zero_linger(), server.set_zero_linger())),
    }
}

async fn pass(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut way: Way) -> End {
    let mut passed = 0;
    let mut bytes = [0; 2048];
    loop {
        let most = if passed < way.trickle { 1 } else { bytes.len() };
        let Ok(count @ 1..) = from.read(&mut bytes[..most]).await else {
            return End::Closed;
        };
        let count = u64::try_from(count).unwrap_or(0);
        if let Some((at, time)) = way.stall
            && passed + count > at
        {
            sleep(time).await;
            way.stall = None;
        }
        let (allowed, ends) = match way.fate {
            Fate::Passes => (count, None),
            Fate::Resets(at) if passed + count > at => {
                (at.saturating_sub(passed), Some(End::Reset))
            }
            Fate::Swallows(at) if passed + count > at => (at.saturating_sub(passed), None),
            Fate::Resets(_) | Fate::Swallows(_) => (count, None),
        };
        passed += count;
        let allowed = usize::try_from(allowed).unwrap_or(0);
        if to.write_all(&bytes[..allowed]).await.is_err() {
            return End::Closed;
        }
        if let Some(end) = ends {
            return end;
        }
    }
}
