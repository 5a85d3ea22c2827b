//! A stretch of slow line before a server: what a relay passes on, it passes on at a pace of its own.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

/// Bytes that are passed on at a time.
const CHUNK: usize = 8 << 10;
/// A pace that is changed is felt after so long.
const LOOK: Duration = Duration::from_millis(20);

/// A relay; its connections end with it.
#[derive(Debug)]
pub struct Relay {
    /// Where it listens.
    pub address: SocketAddr,
    pace: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Relay {
    /// Leads to `to`; what comes back comes at so many bytes per second on each connection.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(to: SocketAddr, bytes_per_sec: u64) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let pace = Arc::new(AtomicU64::new(bytes_per_sec));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, to, pace.clone()));
        Ok(Self {
            address,
            pace,
            _tasks: tasks,
        })
    }

    /// Another pace, for connections that are there, too. 0: connections are taken, and nothing passes.
    pub fn set_pace(&self, bytes_per_sec: u64) {
        self.pace.store(bytes_per_sec, Relaxed);
    }
}

async fn accept(listener: TcpListener, to: SocketAddr, pace: Arc<AtomicU64>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let pace = pace.clone();
        connections.spawn(async move {
            if let Ok(server) = TcpStream::connect(to).await {
                pass(client, server, &pace).await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Until one of the two ends.
async fn pass(client: TcpStream, server: TcpStream, pace: &AtomicU64) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let there = async {
        let mut chunk = [0; CHUNK];
        loop {
            while pace.load(Relaxed) == 0 {
                sleep(LOOK).await;
            }
            let got = from_client.read(&mut chunk).await?;
            if got == 0 {
                return std::io::Result::Ok(());
            }
            to_server.write_all(&chunk[..got]).await?;
        }
    };
    let back = async {
        let mut chunk = [0; CHUNK];
        loop {
            let rate = pace.load(Relaxed);
            if rate == 0 {
                sleep(LOOK).await;
                continue;
            }
            let got = from_server.read(&mut chunk).await?;
            if got == 0 {
                return std::io::Result::Ok(());
            }
            to_client.write_all(&chunk[..got]).await?;
            sleep(Duration::from_secs(got as u64) / u32::try_from(rate).unwrap_or(u32::MAX)).await;
        }
    };
    tokio::select! {
        ended = there => drop(ended),
        ended = back => drop(ended),
    }
}
