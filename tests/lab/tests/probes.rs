//! The probes tell the truth: who holds an address, what a client gets; and the forwarder leads into the lab.

mod common;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::{Duration, SystemTime};

use common::{SOON, lab};
use lab::{Cut, Nic, Outcome, Place};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
const ADD: &str = "ip addr add 10.77.0.100/24 dev eth0";
const DELETE: &str = "ip addr del 10.77.0.100/24 dev eth0";

#[test]
fn the_watch_knows_who_holds_an_address_until_power_is_gone_not_until_the_network_is() {
    let lab = lab(2);
    let watch = lab.watch_address(VIP.into());
    assert!(watch.holders().is_empty());
    lab.sh_ok(Place::Host(1), ADD).unwrap();
    watch.wait_holder(1, SOON).unwrap();
    lab.cut(1, &Nic::ALL, Cut::Carrier).unwrap();
    assert_eq!(lab.holders(VIP.into()), [1], "a host cut from the network still holds its address");
    lab.power_off(1).unwrap();
    assert!(lab.holders(VIP.into()).is_empty());
    lab.sh_ok(Place::Host(2), ADD).unwrap();
    watch.wait_holder(2, SOON).unwrap();
    let history = watch.finish().expect("the address never had two holders");
    assert_eq!(history.iter().map(|span| span.host).collect::<Vec<_>>(), [1, 2]);
    assert!(history[0].until.unwrap() <= history[1].from);
}

#[test]
fn the_watch_flags_two_holders() {
    let lab = lab(2);
    let watch = lab.watch_address(VIP.into());
    lab.sh_ok(Place::Host(1), ADD).unwrap();
    lab.sh_ok(Place::Host(2), ADD).unwrap();
    lab::wait_for("the overlap", SOON, || watch.overlaps().first().cloned()).unwrap();
    lab.sh_ok(Place::Host(1), DELETE).unwrap();
    watch.wait_holder(2, SOON).unwrap();
    assert_eq!(watch.overlaps()[0].hosts, [1, 2]);
    assert!(watch.finish().is_err());
}

#[test]
fn the_watch_knows_addresses_of_the_sixth_version() {
    let lab = lab(1);
    let address = "fd00:77::100".parse().unwrap();
    assert!(lab.holders(address).is_empty());
    lab.sh_ok(Place::Host(1), "ip addr add fd00:77::100/64 dev eth0 nodad").unwrap();
    assert_eq!(lab.holders(address), [1]);
}

/// A web server in a host that answers with the host's name.
fn serve(lab: &lab::Lab, host: usize) -> lab::Running {
    let log = lab.folder().join("web.log");
    let script = "mkdir -p /srv/web && hostname > /srv/web/index.html && cd /srv/web && exec python3 -m http.server 80";
    lab.spawn(Place::Host(host), &["sh", "-c", script], &log).expect("the server starts")
}

#[test]
fn the_poller_sees_pages_failures_and_the_outage_between() {
    let lab = lab(2);
    let begin = SystemTime::now();
    let poller = lab.poll_http(SocketAddrV4::new(VIP, 80), "/").unwrap();
    let _servers = [serve(&lab, 1), serve(&lab, 2)];
    lab.sh_ok(Place::Host(1), ADD).unwrap();
    let first = poller.wait_page(begin, SOON, |page| page == "node1").unwrap();

    let off = lab.power_off(1).unwrap();
    lab.sh_ok(Place::Host(2), ADD).unwrap();
    // What the gratuitous ARP of a real address agent does.
    lab.sh_ok(Place::Client, "ip neigh flush all").unwrap();
    let second = poller.wait_page(off, SOON, |page| page == "node2").unwrap();
    assert!(second.ended > off && second.ended > first.ended);
    assert!(poller.outage(first.sent) >= second.ended.duration_since(off).unwrap());

    lab.put(2, "/srv/web/index.html", "changed\nmore\n", 0o644).unwrap();
    poller.wait_page(second.sent, SOON, |page| page == "changed").unwrap();
    lab.sh_ok(Place::Host(2), "rm /srv/web/index.html; mkdir /srv/web/index.html; chmod 700 /srv/web").unwrap();
    let answers = poller.finish();
    assert!(answers.iter().any(|answer| matches!(answer.outcome, Outcome::Nothing(_))));
    let mean = answers.last().unwrap().sent.duration_since(begin).unwrap() / u32::try_from(answers.len()).unwrap();
    assert!(mean < Duration::from_millis(300), "one request per 10 ms, got one per {mean:?}");
}

#[test]
fn the_forwarder_leads_from_the_machine_into_a_place() {
    let lab = lab(1);
    let _server = serve(&lab, 1);
    let target = SocketAddr::from((Nic::Ring0.address(1), 80));
    let forward = lab.forward(0, Place::Luci, target).unwrap();
    let local = forward.local();
    assert!(local.ip().is_loopback());
    let page = lab::wait_for("the page through the forwarder", SOON, || {
        let mut stream = TcpStream::connect(local).ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        let mut page = String::new();
        stream.read_to_string(&mut page).ok()?;
        page.contains("node1").then_some(page)
    })
    .unwrap();
    assert!(page.starts_with("HTTP/1.0 200"));
    drop(forward);
    assert!(TcpStream::connect(local).is_err(), "it ends with its handle");
}
