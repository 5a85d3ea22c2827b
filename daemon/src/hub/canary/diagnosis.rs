//! What the system measured of one of our connections: asked of it by netlink (`sock_diag`), as `ss -i` does. Our own clock would
//! count the time until we are woken as well, which on a busy machine is longer than anything that a line does.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const IPPROTO_TCP: u8 = 6;
/// The attribute that holds `tcp_info`.
const INET_DIAG_INFO: u16 = 2;
/// Length of `nlmsghdr`, and of `inet_diag_msg` behind it.
const HEAD: (usize, usize) = (16, 72);
/// In `tcp_info`: the smoothed round trip, after a handshake that of the handshake; and what had to be sent again.
const RTT: usize = 68;
const TOTAL_RETRANS: usize = 100;
/// The system answers at once.
const PATIENCE: Duration = Duration::from_millis(100);

/// The round trip of a connection of ours; `None` when it was not measured, because a packet was lost. Blocks for a moment.
pub(super) fn round_trip(local: SocketAddr, peer: SocketAddr) -> io::Result<Option<Duration>> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    let question = question(local, peer);
    sendto(&socket, &question, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0_u8; 4096];
    let (_, length) = recv(&socket, &mut answer, RecvFlags::empty())?;
    let info = tcp_info(answer.get(..length).unwrap_or_default())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the system does not know the connection"))?;
    let field = |at: usize| info.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
    let rtt = field(RTT).filter(|rtt| *rtt > 0 && field(TOTAL_RETRANS) == Some(0));
    Ok(rtt.map(|micros| Duration::from_micros(u64::from(micros))))
}

/// `nlmsghdr` and `inet_diag_req_v2`: which connection.
fn question(local: SocketAddr, peer: SocketAddr) -> Vec<u8> {
    let family = match peer {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let mut body = Vec::with_capacity(56);
    let family = u8::try_from(family.as_raw()).unwrap_or_default();
    body.extend([family, IPPROTO_TCP, 1 << (INET_DIAG_INFO - 1), 0]);
    // In any state.
    body.extend(u32::MAX.to_ne_bytes());
    body.extend(local.port().to_be_bytes());
    body.extend(peer.port().to_be_bytes());
    for address in [local, peer] {
        body.extend(sixteen(address.ip()));
    }
    // On any interface, and whatever its cookie.
    body.extend(0_u32.to_ne_bytes());
    body.extend([0xff; 8]);
    let length = u32::try_from(HEAD.0 + body.len()).unwrap_or_default();
    let mut message = Vec::with_capacity(HEAD.0 + body.len());
    message.extend(length.to_ne_bytes());
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// An address in the first of sixteen bytes.
fn sixteen(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&v4.octets());
            bytes
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// Finds `tcp_info` among the attributes of an answer; `None` when it is another answer.
fn tcp_info(answer: &[u8]) -> Option<&[u8]> {
    let kind = answer.get(4..6)?.try_into().ok().map(u16::from_ne_bytes)?;
    if kind != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let mut rest = answer.get(HEAD.0 + HEAD.1..)?;
    loop {
        let half = |at: usize| rest.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes);
        let (length, kind) = (usize::from(half(0)?), half(2)?);
        if length < 4 {
            return None;
        }
        if kind == INET_DIAG_INFO {
            return rest.get(4..length);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_with_care() {
        let mut answer = vec![0; HEAD.0 + HEAD.1];
        answer[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        let attribute = |kind: u16, data: &[u8]| {
            let length = u16::try_from(4 + data.len()).unwrap();
            let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
            bytes.extend(data);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        answer.extend(attribute(8, &[1]));
        assert_eq!(tcp_info(&answer), None);
        answer.extend(attribute(INET_DIAG_INFO, &[1, 2, 3, 4, 5]));
        assert_eq!(tcp_info(&answer), Some([1, 2, 3, 4, 5].as_slice()));
        for length in 0..answer.len() - 8 {
            assert_eq!(tcp_info(&answer[..length]), None, "{length}");
        }
        let mut error = answer.clone();
        error[4] = 2;
        assert_eq!(tcp_info(&error), None);
        let mut short = answer;
        short[HEAD.0 + HEAD.1] = 3;
        assert_eq!(tcp_info(&short), None);
    }
}
