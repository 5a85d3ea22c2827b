//! Real proxies from the system: tinyproxy (HTTP) and microsocks (SOCKS5). Each connects onwards from a loopback address of its
//! own, so that the journal of a simulated Hub tells by the peer which way a request took.
//!
//! A test whose proxy is missing prints one line and returns; with `HFETCH_NO_SKIP=1` that is a failure.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    process::Stdio,
};

use anyhow::Context as _;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    harness::{Scratch, eventually},
    pki::private,
    python::skip,
    sim::{Host, Identity, SimHub},
};

/// Who may use the proxies.
pub const LOGIN: &str = "ann:s3cret";

/// A running proxy; killed when dropped.
#[derive(Debug)]
pub struct RealProxy {
    /// `http://127.0.0.1:PORT` or `socks5h://127.0.0.1:PORT`.
    pub url: String,
    /// Where its onward connections come from.
    pub peer: IpAddr,
    child: Child,
    _dir: tempfile::TempDir,
}

/// A file with [`LOGIN`], for its owner alone.
///
/// # Errors
/// When it cannot be written.
pub fn login_file(scratch: &Scratch) -> anyhow::Result<String> {
    let path = scratch.path("proxy-login");
    private(&path, LOGIN)?;
    Ok(path.display().to_string())
}

/// A configuration with both proxies, `http` and `socks`, and these rules.
pub fn configuration(http: &RealProxy, socks: &RealProxy, login: &str, rules: &[impl AsRef<str>]) -> String {
    let rules: Vec<String> = rules.iter().map(|rule| format!("\"{}\"", rule.as_ref())).collect();
    format!(
        "[[proxies]]\nname = \"http\"\nurl = \"{}\"\npassword_file = \"{login}\"\n\
         [[proxies]]\nname = \"socks\"\nurl = \"{}\"\npassword_file = \"{login}\"\n\
         [routing]\nrules = [{}]\n",
        http.url,
        socks.url,
        rules.join(", ")
    )
}

/// Body bytes that a host sent, by the address that asked for them.
pub fn sent(hub: &SimHub, host: Host) -> BTreeMap<String, u64> {
    let mut sent = BTreeMap::new();
    for record in hub.journal().filter(|record| record.host == host) {
        *sent.entry(record.peer.ip().to_string()).or_default() += record.body_bytes;
    }
    sent
}

impl RealProxy {
    /// An HTTP proxy that wants [`LOGIN`]. `None`: there is no tinyproxy, and a line was printed.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn http(last_byte: u8) -> anyhow::Result<Option<Self>> {
        let Some(program) = installed("tinyproxy") else {
            return Ok(None);
        };
        let (port, peer) = (free_port().await?, peer(last_byte));
        let dir = tempfile::tempdir()?;
        let config = dir.path().join("tinyproxy.conf");
        let (user, password) = LOGIN.split_once(':').context("a login")?;
        let text = format!(
            "Port {port}\nListen 127.0.0.1\nBind {peer}\nTimeout 60\nMaxClients 200\nLogLevel Warning\nDisableViaHeader Yes\n\
             BasicAuth {user} {password}\n"
        );
        std::fs::write(&config, text)?;
        let mut command = Command::new(program);
        command.arg("-d").arg("-c").arg(&config);
        Self::start(command, format!("http://127.0.0.1:{port}"), peer, dir, port).await
    }

    /// A SOCKS5 proxy that wants [`LOGIN`]. `None`: there is no microsocks, and a line was printed.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn socks(last_byte: u8) -> anyhow::Result<Option<Self>> {
        let Some(program) = installed("microsocks") else {
            return Ok(None);
        };
        let (port, peer) = (free_port().await?, peer(last_byte));
        let (user, password) = LOGIN.split_once(':').context("a login")?;
        let mut command = Command::new(program);
        command.args(["-i", "127.0.0.1", "-p", &port.to_string()]).args([
            "-u",
            user,
            "-P",
            password,
            "-b",
            &peer.to_string(),
        ]);
        let dir = tempfile::tempdir()?;
        Self::start(command, format!("socks5h://127.0.0.1:{port}"), peer, dir, port).await
    }

    async fn start(
        mut command: Command,
        url: String,
        peer: IpAddr,
        dir: tempfile::TempDir,
        port: u16,
    ) -> anyhow::Result<Option<Self>> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        eventually("a proxy", async || {
            let tried = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
            tried.map(drop).map_err(|error| error.to_string())
        })
        .await?;
        Ok(Some(Self {
            url,
            peer,
            child,
            _dir: dir,
        }))
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}

fn peer(last_byte: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last_byte).into()
}

/// A port that was free a moment ago: these programs cannot be asked for any.
async fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    Ok(listener.local_addr()?.port())
}

fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let found = places.map(|folder| folder.join(program)).find(|file| file.is_file());
    if found.is_none() {
        skip(&format!("no {program}"));
    }
    found
}

/// TLS before a real proxy: those of Debian speak none themselves. Ends with it.
#[derive(Debug)]
pub struct TlsFront {
    /// `https://localhost:PORT`.
    pub url: String,
    _tasks: JoinSet<()>,
}

impl TlsFront {
    /// Shows this identity, which should be one for `localhost`.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn before(proxy: &RealProxy, identity: &Identity) -> anyhow::Result<Self> {
        let (_, to) = proxy.url.split_once("://").context("a proxy's address")?;
        let (to, acceptor) = (to.to_owned(), TlsAcceptor::from(identity.config()));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("https://localhost:{}", listener.local_addr()?.port());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (to, acceptor) = (to.clone(), acceptor.clone());
                connections.spawn(async move {
                    if let (Ok(mut client), Ok(mut server)) =
                        (acceptor.accept(client).await, TcpStream::connect(to).await)
                    {
                        // Whoever ends it, it is over for both.
                        let _ended = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { url, _tasks: tasks })
    }
}
