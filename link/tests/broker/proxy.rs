//! A TCP proxy that can stop passing bytes on without closing anything: the half-open connection of a lost phone.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Passes bytes between its clients and `target` until told to stall.
pub(crate) struct Proxy {
    address: SocketAddr,
    stalled: Arc<AtomicBool>,
}

impl Proxy {
    pub(crate) fn to(target: SocketAddr) -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), target)
    }

    /// The same at an address of the test's choice.
    pub(crate) fn at(own: SocketAddr, target: SocketAddr) -> Self {
        let listener = TcpListener::bind(own).expect("a port");
        let address = listener.local_addr().expect("an address");
        let stalled = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&stalled);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(target) else {
                    continue;
                };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (
                        from.try_clone().expect("a handle"),
                        to.try_clone().expect("a handle"),
                    );
                    let stalled = Arc::clone(&shared);
                    std::thread::spawn(move || pass(from, to, &stalled));
                }
            }
        });
        Self { address, stalled }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on every byte is swallowed, on old connections and on new ones.
    pub(crate) fn stall(&self) {
        self.stalled.store(true, Ordering::SeqCst);
    }

    /// New bytes pass again.
    pub(crate) fn resume(&self) {
        self.stalled.store(false, Ordering::SeqCst);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, stalled: &AtomicBool) {
    let mut bytes = [0; 4096];
    while let Ok(count) = from.read(&mut bytes) {
        if count == 0 {
            break;
        }
        if !stalled.load(Ordering::SeqCst) && to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}
