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
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use serde_json::Value;
use tokio::time::Instant;

use super::FILE;

const MB: u64 = 1_000_000;
/// Of the line, in bytes per second, and 75 milliseconds of it.
const LINE: u64 = 2 * MB;
const QUEUE: u64 = LINE * 3 / 40;
/// What the neighbour has room for: two seconds of the line, in which nobody has to give his thread a turn.
const ROOM: usize = 4_000_000;
/// How much he gets while it is looked at, and how often that is: some seconds each.
const WINDOW: u64 = 8 * MB;
const WINDOWS: usize = 3;

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
            while stream.write_all(&[0; 256 << 10]).is_ok() {}
        });
        let (count, leaves) = (got.clone(), leave.clone());
        let mut stream = TcpStream::connect(address)?;
        // More than may wait: what holds him is the line.
        set_socket_recv_buffer_size_force(&stream, ROOM)?;
        let reads = std::thread::spawn(move || {
            let mut buffer = vec![0; 256 << 10];
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

/// What the line has carried, in bytes, answers and heads included.
fn carried() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/net/dev")?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("lo:"));
    let sent = line.and_then(|line| line.split_whitespace().nth(8));
    Ok(sent.context("no loopback device")?.parse()?)
}

/// What came to both of us while he got so many bytes.
struct Look {
    his: u64,
    ours: u64,
    /// The line carried nearly all that it can. Where it did not, nobody had less for the other's sake.
    full: bool,
}

impl Look {
    async fn take(neighbour: &Neighbour, scratch: &Scratch, id: &str, bytes: u64) -> anyhow::Result<Self> {
        let (ours_before, before) = (ours(scratch, id).await?, neighbour.got.load(Relaxed));
        let (began, carried_before) = (Instant::now(), carried()?);
        neighbour.gets(bytes).await?;
        let could = LINE as f64 * began.elapsed().as_secs_f64();
        let full = (carried()? - carried_before) as f64 > could * 0.9;
        let his = neighbour.got.load(Relaxed) - before;
        let ours = ours(scratch, id).await? - ours_before;
        Ok(Self { his, ours, full })
    }
}

fn part(his: u64, ours: u64) -> f64 {
    his as f64 / (his + ours) as f64
}

/// His part of a full line, from some seconds after he came.
async fn kept(neighbour: &Neighbour, scratch: &Scratch, id: &str) -> anyhow::Result<f64> {
    neighbour.gets(2 * WINDOW).await?;
    let mut looks = Vec::new();
    // On a busy machine the line is not always full.
    for _ in 0..20 * WINDOWS {
        let look = Look::take(neighbour, scratch, id, WINDOW).await?;
        if look.full {
            looks.push(look);
        }
        if looks.len() == WINDOWS {
            let sum = |of: fn(&Look) -> u64| looks.iter().map(of).sum::<u64>();
            return Ok(part(sum(|look| look.his), sum(|look| look.ours)));
        }
    }
    anyhow::bail!("the line was full only {} times", looks.len())
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
                .repo(RepoBuilder::model("org/m").seeded_as(FILE, 480 * MB, 5, Storage::Linked))
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
            let share = kept(&neighbour, &scratch, &id).await?;
            let told = scratch.hfctl(["limit"]).await?.ok()?;
            assert!(share >= 0.85, "{share}: {told}");
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
            let look = Look::take(&neighbour, &scratch, &id, MB / 2).await?;
            let share = part(look.his, look.ours);
            assert!(share < 0.6, "{share}");
            neighbour.go()?;
            scratch.hfctl(["cancel", &id]).await?.ok()?;
            daemon.stop().await?;
            check::sound(&scratch, &[&hub])
        },
    )
}
