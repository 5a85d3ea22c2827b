//! A line that is shared with somebody else: by ourselves we take all of it, and beside him next to nothing.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
};

use anyhow::Context as _;
use hfetch_tests::{
    check,
    harness::{Scratch, eventually},
    own_network,
    sim::{RepoBuilder, SimHub, Storage},
};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use serde_json::Value;

use super::FILE;

const MB: u64 = 1_000_000;
/// Of the line, in bytes per second, and 75 milliseconds of it.
const LINE: u64 = 2 * MB;
const QUEUE: u64 = LINE * 3 / 40;

/// Somebody else: one connection that takes what it can get.
struct Neighbour {
    got: Arc<AtomicU64>,
    leave: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Neighbour {
    fn come() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address: SocketAddr = listener.local_addr()?;
        let got = Arc::new(AtomicU64::new(0));
        let leave = Arc::new(AtomicBool::new(false));
        let sends = std::thread::spawn(move || {
            let Ok((mut stream, _)) = listener.accept() else { return };
            while stream.write_all(&[0; 16 << 10]).is_ok() {}
        });
        let (count, leaves) = (got.clone(), leave.clone());
        let mut stream = TcpStream::connect(address)?;
        // As much as the system allows, which is more than may wait: what holds him is the line.
        set_socket_recv_buffer_size(&stream, 1 << 20)?;
        let reads = std::thread::spawn(move || {
            let mut buffer = [0; 16 << 10];
            while let Ok(bytes @ 1..) = stream.read(&mut buffer)
                && !leaves.load(Relaxed)
            {
                count.fetch_add(bytes as u64, Relaxed);
            }
        });
        Ok(Self {
            got,
            leave,
            threads: vec![sends, reads],
        })
    }

    /// Waits until he has got so many more bytes.
    async fn gets(&self, bytes: u64) -> anyhow::Result<()> {
        let enough = self.got.load(Relaxed) + bytes;
        eventually("bytes of the neighbour", async || match self.got.load(Relaxed) {
            got if got >= enough => Ok(()),
            got => Err(format!("{got} of {enough}")),
        })
        .await
    }

    fn go(self) -> anyhow::Result<()> {
        self.leave.store(true, Relaxed);
        for thread in self.threads {
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("a thread of the neighbour"))?;
        }
        Ok(())
    }
}

async fn limit(scratch: &Scratch) -> anyhow::Result<Value> {
    scratch.hfctl(["limit", "--json"]).await?.json()
}

async fn ours(scratch: &Scratch, id: &str) -> anyhow::Result<u64> {
    scratch.show(id).await?["bytes_done"].as_u64().context("bytes_done")
}

/// His part of what comes to both of us while he gets so many bytes.
async fn share_of(neighbour: &Neighbour, scratch: &Scratch, id: &str, bytes: u64) -> anyhow::Result<f64> {
    let (ours_before, before) = (ours(scratch, id).await?, neighbour.got.load(Relaxed));
    neighbour.gets(bytes).await?;
    let his = neighbour.got.load(Relaxed) - before;
    let ours = ours(scratch, id).await? - ours_before;
    Ok(his as f64 / (his + ours) as f64)
}

#[test]
fn a_connection_of_somebody_else_keeps_its_rate_while_we_give_way() -> anyhow::Result<()> {
    own_network::run(
        "network::yields::a_connection_of_somebody_else_keeps_its_rate_while_we_give_way",
        async {
            if own_network::slow_line(LINE, QUEUE)?.is_none() {
                return Ok(());
            }
            let hub = SimHub::builder()
                .repo(RepoBuilder::model("org/m").seeded_as(FILE, 240 * MB, 5, Storage::Linked))
                .start()?;
            let scratch = Scratch::new(hub.endpoint())?.config("[bandwidth]\nyield = true\n")?;
            let daemon = scratch.daemon().await?;
            assert_eq!(limit(&scratch).await?["yield"]["bytes_per_sec"], Value::Null);
            let id = scratch.submit(&["org/m", "-x", "8"]).await?;
            // By ourselves we take most of it, and keep the queue short.
            eventually("the line by ourselves", async || {
                let now = limit(&scratch).await.map_err(|error| error.to_string())?;
                let rate = now["bytes_per_sec"].as_u64().unwrap_or_default();
                match rate > LINE * 3 / 5 && now["yield"]["bytes_per_sec"].is_u64() {
                    true => Ok(()),
                    false => Err(now.to_string()),
                }
            })
            .await?;
            let neighbour = Neighbour::come()?;
            // Until he is seen.
            neighbour.gets(8 * MB).await?;
            // On a busy machine he is not always quick enough to take what is his, and we may: then he is looked at again.
            let mut share = 0.0;
            for _ in 0..3 {
                share = share_of(&neighbour, &scratch, &id, 8 * MB).await?;
                println!("beside us he keeps {:.1} %", share * 100.0);
                if share >= 0.85 {
                    break;
                }
            }
            let told = scratch.hfctl(["limit"]).await?.ok()?;
            // 85 % is the aim; what was seen is 76 to 86. Without it he keeps a fortieth, as is shown below.
            assert!(share >= 0.6, "{share}: {told}");
            assert!(
                told.contains("gives way to others: ") && told.contains("at most"),
                "{told}"
            );
            neighbour.go()?;
            eventually("the line by ourselves again", async || {
                let now = limit(&scratch).await.map_err(|error| error.to_string())?;
                match now["bytes_per_sec"].as_u64().unwrap_or_default() > LINE * 3 / 5 {
                    true => Ok(()),
                    false => Err(now.to_string()),
                }
            })
            .await?;
            // Without it he would have to fight for his part.
            std::fs::write(scratch.path("hfetch.toml"), "[bandwidth]\nyield = false\n")?;
            scratch.hfctl(["daemon", "reload"]).await?.ok()?;
            assert_eq!(limit(&scratch).await?["yield"], Value::Null);
            let neighbour = Neighbour::come()?;
            neighbour.gets(MB / 10).await?;
            let share = share_of(&neighbour, &scratch, &id, MB / 2).await?;
            println!("otherwise {:.1} %", share * 100.0);
            assert!(share < 0.6, "{share}");
            neighbour.go()?;
            scratch.hfctl(["cancel", &id]).await?.ok()?;
            daemon.stop().await?;
            check::sound(&scratch, &[&hub])
        },
    )
}
