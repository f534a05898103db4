//! What the kernel tells of addresses and links (rtnetlink), as far as a lost address is concerned.
//!
//! Read by the notice thread. Only losses are told; an address that appears is our own agent's work.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

/// Groups of rtnetlink: links, IPv4 addresses, IPv6 addresses (RTMGRP_*).
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// The kernel sends no longer datagram.
const DATAGRAM_MAX: usize = 32 * 1024;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_DELADDR: u16 = 21;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
pub(in crate::rgmanager) const IFF_UP: u32 = 0x1;
pub(in crate::rgmanager) const IFF_RUNNING: u32 = 0x40;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    AddressGone(IpAddr),
    /// A link went down or away.
    LinkDown,
    /// The kernel told more than was read; something may have been missed.
    Missed,
}

pub(super) struct Netlink {
    socket: OwnedFd,
    buffer: Vec<u8>,
    /// By index of the interface, whether it can carry traffic.
    links: BTreeMap<u32, bool>,
}

impl Netlink {
    pub(super) fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // No protocol means NETLINK_ROUTE.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        Ok(Self { socket, buffer: vec![0; DATAGRAM_MAX], links: BTreeMap::new() })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Everything told until now.
    pub(super) fn take(&mut self) -> Vec<Told> {
        let mut told = Vec::new();
        loop {
            match recv(&self.socket, &mut self.buffer[..], RecvFlags::empty()) {
                Ok((count, _)) => read_datagram(&self.buffer[..count], &mut self.links, &mut told),
                Err(rustix::io::Errno::NOBUFS) => told.push(Told::Missed),
                Err(_) => return told,
            }
        }
    }
}

/// Type and body of each message of a datagram. Each has a header of 16 bytes: length, type, flags, sequence, port.
pub(in crate::rgmanager) fn messages(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (length, kind) = (number_u32(rest, 0)? as usize, number_u16(rest, 4)?);
        let body = rest.get(16..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some((kind, body))
    })
}

fn read_datagram(datagram: &[u8], links: &mut BTreeMap<u32, bool>, told: &mut Vec<Told>) {
    for (kind, body) in messages(datagram) {
        match kind {
            RTM_DELADDR => told.extend(address_of(body).map(Told::AddressGone)),
            RTM_DELLINK => {
                links.remove(&number_u32(body, 4).unwrap_or_default());
                told.push(Told::LinkDown);
            }
            RTM_NEWLINK => {
                let (Some(index), Some(flags)) = (number_u32(body, 4), number_u32(body, 8)) else { return };
                let works = flags & (IFF_UP | IFF_RUNNING) == IFF_UP | IFF_RUNNING;
                // Told for every small change of a link; only the fall counts.
                if links.insert(index, works) != Some(works) && !works {
                    told.push(Told::LinkDown);
                }
            }
            _ => {}
        }
    }
}

/// An address message: 8 bytes (family first), then attributes. The local address is the one that an agent sets;
/// on links without a peer both attributes name it.
pub(in crate::rgmanager) fn address_of(body: &[u8]) -> Option<IpAddr> {
    let mut attributes = body.get(8..)?;
    let mut found = None;
    while let (Some(length), Some(kind)) = (number_u16(attributes, 0), number_u16(attributes, 2)) {
        let length = usize::from(length);
        let value = attributes.get(4..length)?;
        let address = match value.len() {
            4 => <[u8; 4]>::try_from(value).ok().map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes))),
            16 => <[u8; 16]>::try_from(value).ok().map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes))),
            _ => None,
        };
        match kind {
            IFA_LOCAL => return address,
            IFA_ADDRESS => found = address,
            _ => {}
        }
        attributes = attributes.get(aligned(length)..).unwrap_or_default();
    }
    found
}

fn aligned(length: usize) -> usize {
    // A length below its own header would never end the loop.
    length.max(4).next_multiple_of(4)
}

pub(in crate::rgmanager) fn number_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(in crate::rgmanager) fn number_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(16 + body.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes
    }

    fn link(index: u32, flags: u32) -> Vec<u8> {
        let mut body = vec![0; 4];
        body.extend(index.to_ne_bytes());
        body.extend(flags.to_ne_bytes());
        body.extend([0; 4]);
        message(RTM_NEWLINK, &body)
    }

    fn read(bytes: &[u8], links: &mut BTreeMap<u32, bool>) -> Vec<Told> {
        let mut told = Vec::new();
        read_datagram(bytes, links, &mut told);
        told
    }

    #[test]
    fn a_removed_address_is_named_by_its_local_side() {
        let mut body = vec![2, 24, 0, 0, 1, 0, 0, 0];
        body.extend([8, 0, 1, 0, 10, 0, 0, 1, 8, 0, 2, 0, 10, 0, 0, 9]);
        let mut both = message(RTM_DELADDR, &body);
        both.extend(message(RTM_DELADDR, &body[..16]));
        let address = |last| Told::AddressGone(IpAddr::from([10, 0, 0, last]));
        assert_eq!(read(&both, &mut BTreeMap::new()), [address(9), address(1)]);
    }

    #[test]
    fn only_the_fall_of_a_link_is_told_and_only_once() {
        let mut links = BTreeMap::new();
        assert_eq!(read(&link(3, IFF_UP | IFF_RUNNING), &mut links), []);
        assert_eq!(read(&link(3, IFF_UP), &mut links), [Told::LinkDown]);
        assert_eq!(read(&link(3, IFF_UP), &mut links), []);
    }

    #[test]
    fn garbage_ends_the_reading_and_nothing_else() {
        for length in 0..64_u8 {
            let bytes: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(7)).collect();
            read(&bytes, &mut BTreeMap::new());
            address_of(&bytes);
        }
        assert_eq!(read(&[0; 64], &mut BTreeMap::new()), []);
    }
}
