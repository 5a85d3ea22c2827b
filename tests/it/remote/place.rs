//! A daemon with a port, and those who call it.

use std::sync::Arc;

use hfetch_proto::v1::{admin_service_client::AdminServiceClient, job_service_client::JobServiceClient};
use hfetch_tests::{
    harness::{Daemon, Ran, Scratch, eventually},
    pki::{Authority, private},
};
use hyper_util::rt::TokioIo;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, pki_types::ServerName},
};
use tonic::{
    Request, Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint, Uri},
};

/// Puts a token into every call.
#[derive(Clone)]
pub(super) struct Bearer(String);

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let value = format!("Bearer {}", self.0).parse();
        request
            .metadata_mut()
            .insert("authorization", value.map_err(|_| Status::internal("a bad token"))?);
        Ok(request)
    }
}

pub(super) type Wire = InterceptedService<Channel, Bearer>;

/// A place with an authority, a daemon's certificate and tokens `of-ann`, `of-ben` and `of-opa`, who is an operator.
pub(super) struct Place {
    pub(super) scratch: Scratch,
    pub(super) authority: Authority,
}

/// A line of the token file.
pub(super) fn line(name: &str, token: &str) -> String {
    let hash = Sha256::digest(token);
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name}:{hash}\n")
}

impl Place {
    /// `more` goes into `[control]`.
    pub(super) fn new(endpoint: &str, more: &str) -> anyhow::Result<Self> {
        let authority = Authority::new()?;
        let scratch = Scratch::new(endpoint)?;
        let folder = scratch.path("");
        authority.server()?.write(&folder, "server")?;
        std::fs::write(scratch.path("ca.pem"), authority.pem())?;
        let tokens = ["ann", "ben", "opa"].map(|name| line(name, &format!("of-{name}")));
        private(&scratch.path("tokens"), &tokens.concat())?;
        let config = format!(
            "[storage]\nmin_free = 0\n[control]\nlisten = '127.0.0.1:0'\ntls_cert = '{0}server.pem'\ntls_key = \
             '{0}server.key'\ntoken_file = '{0}tokens'\noperators = ['opa']\n{more}\n",
            folder.display()
        );
        let scratch = scratch.config(&config)?;
        Ok(Self { scratch, authority })
    }

    /// Starts the daemon and finds its port.
    pub(super) async fn daemon(&self) -> anyhow::Result<(Daemon<'_>, u16)> {
        let daemon = self.scratch.daemon().await?;
        let port = eventually("the port", async || {
            let log = self.scratch.log();
            let line = log.lines().rev().find(|line| line.contains("callers over TCP"));
            let port = line.and_then(|line| {
                let digits: String = line
                    .split("127.0.0.1:")
                    .nth(1)?
                    .chars()
                    .take_while(char::is_ascii_digit)
                    .collect();
                digits.parse().ok()
            });
            port.ok_or(log)
        })
        .await?;
        Ok((daemon, port))
    }

    /// Runs hfctl of another machine: its own home, our port, and some variables.
    pub(super) async fn hfctl(&self, port: u16, args: &[&str], env: &[(&str, &str)]) -> anyhow::Result<Ran> {
        let (address, ca) = (
            format!("https://localhost:{port}"),
            self.scratch.path("ca.pem").display().to_string(),
        );
        let elsewhere = self.scratch.path("elsewhere").display().to_string();
        let mut all = vec![
            ("HFCTL_ADDRESS", address.as_str()),
            ("HFCTL_CA", ca.as_str()),
            ("HOME", elsewhere.as_str()),
            ("HF_HOME", elsewhere.as_str()),
            ("HF_HUB_CACHE", elsewhere.as_str()),
        ];
        all.extend_from_slice(env);
        self.scratch.hfctl_with(args, &all).await
    }

    /// A connection after its handshake.
    pub(super) async fn tls(&self, port: u16) -> anyhow::Result<TlsStream<TcpStream>> {
        Ok(shake_hands(port, self.authority.trusted()?).await?)
    }

    /// A channel to the daemon.
    pub(super) async fn channel(&self, port: u16) -> anyhow::Result<Channel> {
        let tls = self.authority.trusted()?;
        let connect = tower::service_fn(move |_: Uri| {
            let tls = tls.clone();
            async move { shake_hands(port, tls).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://localhost").origin(Uri::from_static("https://localhost"));
        Ok(endpoint.connect_with_connector(connect).await?)
    }

    /// The same with a token in every call.
    pub(super) async fn wire(&self, port: u16, token: &str) -> anyhow::Result<Wire> {
        let bearer = Bearer(token.to_owned());
        Ok(InterceptedService::new(self.channel(port).await?, bearer))
    }

    pub(super) async fn jobs(&self, port: u16, token: &str) -> anyhow::Result<JobServiceClient<Wire>> {
        Ok(JobServiceClient::new(self.wire(port, token).await?))
    }

    pub(super) async fn admin(&self, port: u16, token: &str) -> anyhow::Result<AdminServiceClient<Wire>> {
        Ok(AdminServiceClient::new(self.wire(port, token).await?))
    }
}

async fn shake_hands(port: u16, tls: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
    TlsConnector::from(tls).connect(name, stream).await
}
