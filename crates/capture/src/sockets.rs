//! Where a process serves net/http/pprof: the ports it listens on are asked.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use decode::procfs;

use crate::error::CaptureError;
use crate::http::{self, HttpTarget, Tls};

/// How long a port may take to answer; there may be several.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// What to do where nothing was found.
const ADVICE: &str = "import net/http/pprof in the program and serve it on a port; if it is \
                      served under another path or by TLS, give its address with --pprof URL";

/// Finds the pprof endpoint of a process on this machine.
///
/// # Errors
/// When none of its ports answers as one, or they cannot be told.
pub fn pprof_of(pid: u32) -> Result<HttpTarget, CaptureError> {
    let refuse = |reason: String| CaptureError::Refused { pid, reason, advice: Some(ADVICE) };
    let network = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    if network(&pid.to_string()) != network("self") {
        return Err(refuse("it is in a network of its own, whose ports are not ours".to_owned()));
    }
    let found = listeners(pid)?;
    let bases = found.iter().map(|address| format!("http://{}", reachable(*address)));
    for base in bases {
        let url = format!("{base}/debug/pprof/cmdline");
        if http::fetch(&url, ANSWER_TIMEOUT, &Tls::default()).is_ok() {
            return HttpTarget::attach(&base);
        }
    }
    Err(refuse(match found.as_slice() {
        [] => "it listens on no TCP port".to_owned(),
        found => {
            let ports: Vec<String> = found.iter().map(SocketAddr::to_string).collect();
            format!("nothing of what it listens on serves /debug/pprof: {}", ports.join(", "))
        }
    }))
}

/// The addresses a process listens on, each once.
fn listeners(pid: u32) -> Result<Vec<SocketAddr>, CaptureError> {
    let path = format!("/proc/{pid}/fd");
    let entries =
        fs::read_dir(&path).map_err(|source| CaptureError::from_io(pid, path.clone(), source))?;
    let links = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    let inodes: HashSet<u64> = links
        .filter_map(|link| {
            let text = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned();
            text.parse().ok()
        })
        .collect();
    let mut found: Vec<SocketAddr> = Vec::new();
    for table in ["tcp", "tcp6"] {
        // Without IPv6 there is no second table.
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        let own = procfs::listeners(&text).into_iter().filter(|it| inodes.contains(&it.inode));
        found.extend(own.map(|listener| listener.address));
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Who listens everywhere is reached on this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
