//! Five fake nodes on loopback, ports 21111 to 21115, for working on the pages without a cluster. Any node is paired
//! with the password `westos`; node5 never answers.

#[path = "../tests/it/fake.rs"]
mod fake;

use std::net::SocketAddr;

#[tokio::main]
async fn main() {
    let nodes = fake::Fake::new();
    for number in 1..=5u16 {
        let address = SocketAddr::from(([127, 0, 0, 1], 21110 + number));
        nodes.node_at(&format!("node{number}"), address).await;
    }
    nodes.change(|world| world.nodes.get_mut("node5").expect("node").hung = true);
    std::future::pending::<()>().await;
}
