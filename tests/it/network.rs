//! What a network does below HTTP: names, addresses, certificates, links that come and go; and real proxies with TLS behind
//! them. Most of these tests have a network of their own.

mod certificates;
mod http2;
mod https_proxy;
mod links;
mod names;
mod proxies;
mod ways;
mod yields;

use std::fs;

use hfetch_tests::{
    harness::Scratch,
    sim::{Authority, RepoBuilder, SimHub, Storage},
};

const MIB: u64 = 1 << 20;
const FILE: &str = "model.safetensors";
const SIZE: u64 = 8 * MIB;
/// Stands in for a public address: it is none of a network that only we can reach.
const PUBLIC: &str = "203.0.113.5";

fn repo() -> RepoBuilder {
    RepoBuilder::model("org/m")
        .seeded_as(FILE, SIZE, 5, Storage::Linked)
        .plain("config.json", b"{\"a\": 1}".to_vec())
}

/// Trusts `authority` alone.
fn trusting(endpoint: &str, authority: &Authority) -> anyhow::Result<Scratch> {
    let scratch = Scratch::new(endpoint)?;
    let file = scratch.path("ca.pem");
    fs::write(&file, authority.pem())?;
    Ok(scratch.env("SSL_CERT_FILE", &file.display().to_string()))
}

/// Waits until the detail of a held job holds these words.
async fn held_for(scratch: &Scratch, id: &str, words: &[&str]) -> anyhow::Result<String> {
    hfetch_tests::harness::eventually(&format!("job {id} held for {words:?}"), async || {
        let job = scratch.show(id).await.map_err(|error| error.to_string())?;
        let detail = job["detail"].as_str().unwrap_or_default();
        match job["state"] == "held" && words.iter().all(|word| detail.contains(word)) {
            true => Ok(detail.to_owned()),
            false => Err(job.to_string()),
        }
    })
    .await
}

/// Bytes of the file that were sent and were not needed.
fn again(hub: &SimHub) -> u64 {
    hub.journal().duplicate_bytes(FILE)
}
