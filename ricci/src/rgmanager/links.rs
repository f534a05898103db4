//! Asks the kernel, at this moment, whether an address is on this node and whether its link carries traffic.
//!
//! Used by `notice` to be sure of what it was told, and by `agents` for `monitor_link` of an address, which no agent of today
//! does. A question of its own, not a copy kept up to date: what it says is true when it says it.

use std::io;
use std::net::IpAddr;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

use super::notice::netlink::{IFF_RUNNING, IFF_UP, address_of, messages, number_u16, number_u32};

const RTM_GETLINK: u16 = 18;
const RTM_GETADDR: u16 = 22;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// NLM_F_REQUEST | NLM_F_DUMP.
const DUMP: u16 = 0x301;
/// The kernel sends no longer datagram.
const DATAGRAM_MAX: usize = 32 * 1024;
/// Bodies of the questions: zeros say "all". Of an address and of a link.
const ADDRESS_BODY: usize = 8;
const LINK_BODY: usize = 16;
/// IFLA_IFNAME.
const NAME: u16 = 3;

/// The link that has an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) name: String,
    /// Up, and its other end too.
    pub(super) works: bool,
}

/// Where an address is; one that works if several have it. `None`: it is not on this node.
pub(super) fn find(address: IpAddr) -> io::Result<Option<Link>> {
    let mut with_it = Vec::new();
    dump(RTM_GETADDR, ADDRESS_BODY, |body| {
        if address_of(body) == Some(address) {
            with_it.extend(number_u32(body, 4));
        }
    })?;
    if with_it.is_empty() {
        return Ok(None);
    }
    let mut found: Option<Link> = None;
    dump(RTM_GETLINK, LINK_BODY, |body| {
        let (Some(index), Some(flags)) = (number_u32(body, 4), number_u32(body, 8)) else { return };
        let works = flags & (IFF_UP | IFF_RUNNING) == IFF_UP | IFF_RUNNING;
        if with_it.contains(&index) && found.as_ref().is_none_or(|known| !known.works) {
            found = Some(Link { name: name_of(body).unwrap_or_else(|| format!("number {index}")), works });
        }
    })?;
    Ok(found)
}

/// What `monitor_link` complains of; `None`: nothing, or the kernel does not say.
pub(super) fn fault(address: IpAddr) -> Option<String> {
    match find(address) {
        Ok(Some(Link { name, works: false })) => {
            Some(format!("the link {name}, which has the address {address}, is down (monitor_link)"))
        }
        Ok(_) => None,
        Err(error) => {
            tracing::warn!("the kernel does not say how the link of {address} is: {error}");
            None
        }
    }
}

fn dump(kind: u16, body: usize, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    let length = 16 + body;
    let mut question = vec![0; length];
    question[..4].copy_from_slice(&u32::try_from(length).unwrap_or_default().to_ne_bytes());
    question[4..6].copy_from_slice(&kind.to_ne_bytes());
    question[6..8].copy_from_slice(&DUMP.to_ne_bytes());
    sendto(&socket, &question, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        // The kernel answers before it lets go of the question; there is nothing to wait for.
        let (count, _) = recv(&socket, &mut buffer[..], RecvFlags::DONTWAIT)?;
        for (kind, body) in messages(&buffer[..count]) {
            match kind {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => return Err(io::Error::other("the kernel refuses the question")),
                _ => take(body),
            }
        }
    }
}

fn name_of(body: &[u8]) -> Option<String> {
    let mut rest = body.get(LINK_BODY..)?;
    loop {
        let (length, kind) = (usize::from(number_u16(rest, 0)?), number_u16(rest, 2)?);
        let value = rest.get(4..length)?;
        if kind == NAME {
            return Some(String::from_utf8_lossy(value).trim_end_matches('\0').to_owned());
        }
        rest = rest.get(length.max(4).next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_has_its_address_and_nobody_has_one_for_documentation() {
        let link = find(IpAddr::from([127, 0, 0, 1])).unwrap();
        assert_eq!(link.map(|link| link.name), Some("lo".to_owned()));
        assert_eq!(find(IpAddr::from([192, 0, 2, 213])).unwrap(), None);
        assert_eq!(fault(IpAddr::from([192, 0, 2, 213])), None);
    }
}
