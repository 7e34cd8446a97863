//! systemd's notification protocol (sd_notify(3)): ready, reloading, stopping, and signs of life.
//! Without systemd all of it does nothing.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// Who started us and wants to know how we are.
#[derive(Debug)]
pub(crate) struct Supervisor {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// Half of what systemd waits for a sign of life.
    alive_every: Option<Duration>,
    alive_last: Instant,
}

impl Supervisor {
    /// As the environment names it.
    pub(crate) fn from_env() -> Supervisor {
        let micros = std::env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok());
        Supervisor {
            socket: std::env::var("NOTIFY_SOCKET").ok().and_then(|name| connect(&name)),
            alive_every: micros.map(|micros: u64| Duration::from_micros(micros) / 2),
            alive_last: Instant::now(),
        }
    }

    /// Everything is up.
    pub(crate) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// The configuration is read again; [`ready`](Self::ready) says when that is done.
    pub(crate) fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The end has begun.
    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// Says that we live, when it is time to.
    pub(crate) fn alive(&mut self) {
        if self.alive_every.is_some_and(|every| self.alive_last.elapsed() >= every) {
            self.alive_last = Instant::now();
            self.send("WATCHDOG=1");
        }
    }

    fn send(&self, text: &str) {
        if let Some((socket, address)) = &self.socket {
            // It may be gone; nothing of ours depends on it.
            let _ = socket.send_to_addr(text.as_bytes(), address);
        }
    }
}

fn connect(name: &str) -> Option<(UnixDatagram, SocketAddr)> {
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name).ok()?,
        None => SocketAddr::from_pathname(name).ok()?,
    };
    Some((UnixDatagram::unbound().ok()?, address))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::time::Instant;

    use super::{Supervisor, connect};

    #[test]
    fn what_systemd_hears() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let ear = UnixDatagram::bind(&path).unwrap();
        let socket = connect(path.to_str().unwrap());
        let supervisor = Supervisor { socket, alive_every: None, alive_last: Instant::now() };
        supervisor.ready("watching 3 targets");
        supervisor.reloading();
        supervisor.stopping();
        let hear = || {
            let mut buffer = [0; 200];
            let count = ear.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..count].to_vec()).unwrap()
        };
        assert_eq!(hear(), "READY=1\nSTATUS=watching 3 targets");
        assert!(hear().starts_with("RELOADING=1\nMONOTONIC_USEC="));
        assert_eq!(hear(), "STOPPING=1");
    }
}
