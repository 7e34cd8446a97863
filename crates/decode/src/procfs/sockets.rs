//! /proc/net/tcp and tcp6: who listens where.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The state of a socket that listens (TCP_LISTEN).
const LISTENING: &str = "0A";

/// A socket that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where.
    pub address: SocketAddr,
    /// The socket, as `socket:[INODE]` of /proc/PID/fd names it.
    pub inode: u64,
}

/// Parses /proc/net/tcp or tcp6; damaged lines and other sockets are skipped.
pub fn listeners(text: &str) -> Vec<Listener> {
    text.lines().skip(1).filter_map(listener).collect()
}

/// `sl local_address rem_address st queues timers retransmits uid timeout inode ...`
fn listener(line: &str) -> Option<Listener> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (ip, port) = fields.next()?.split_once(':')?;
    let _remote = fields.next()?;
    if fields.next()? != LISTENING {
        return None;
    }
    let inode = fields.nth(5)?.parse().ok()?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(Listener { address: SocketAddr::new(ip_of(ip)?, port), inode })
}

/// Words of 32 bits as hexadecimal numbers, whose bytes are those of the address in memory.
fn ip_of(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = text.get(at..at + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    match text.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Some(IpAddr::V6(Ipv6Addr::from(bytes)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::listeners;

    /// As Linux 6.1 on x86-64 prints them.
    #[test]
    #[cfg(target_endian = "little")]
    fn only_what_listens_counts() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
                    uid  timeout inode\n   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 \
                    00:00000000 00000000     0        0 37117 1 0000000000000000 100 0 0 10 0\n   \
                    1: 0100007F:A0E4 0100007F:1F90 01 00000000:00000000 02:000003E5 00000000 0 0 \
                    40012 2\ntorn\n   2: 00000000:17 00000000:0000 0A\n";
        let found = listeners(text);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].address.to_string(), found[0].inode),
            ("127.0.0.1:8080".into(), 37117)
        );
        let text = "header\n 0: 00000000000000000000000001000000:17C0 \
                    00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 \
                    00000000 1000 0 99 1\n";
        assert_eq!(listeners(text)[0].address.to_string(), "[::1]:6080");
    }
}
