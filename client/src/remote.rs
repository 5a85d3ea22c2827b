//! Daemons of other machines: how they are called, what shows them who we are, and the TLS in between.
//!
//! A token is for one daemon. What `HFCTL_TOKEN` and its like name is sent wherever the address leads, since the caller said
//! both; what lies in a file is looked for under the daemon's own name.

use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, RootCertStore};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Uri;

use crate::error::CliError;
use crate::exit::Exit;
use crate::paths::{self, Env};

/// Where hfetchd listens when nobody says otherwise.
const DEFAULT_PORT: u16 = 7850;
/// A connection and its handshake may take so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// A daemon of another machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    /// A name or an address, without brackets.
    host: String,
    port: u16,
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl Remote {
    /// Reads `https://HOST[:PORT]`.
    pub(crate) fn parse(text: &str) -> Result<Remote, CliError> {
        let wrong = || CliError::usage(format!("`{text}` is not an address; write https://HOST:PORT"));
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        if uri.scheme_str() != Some("https")
            || authority.as_str().contains('@')
            || !matches!(uri.path_and_query().map_or("/", |path| path.as_str()), "" | "/")
        {
            return Err(wrong());
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let port = match authority.as_str().ends_with(':') {
            true => return Err(wrong()),
            false => authority.port_u16().unwrap_or(DEFAULT_PORT),
        };
        if host.is_empty() {
            return Err(wrong());
        }
        Ok(Remote { host, port })
    }

    /// Connects and shakes hands.
    pub(crate) async fn connect(&self, tls: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        let connecting = async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            stream.set_nodelay(true)?;
            TlsConnector::from(tls).connect(name, stream).await.map_err(worded)
        };
        timeout(PATIENCE, connecting)
            .await
            .unwrap_or_else(|_| Err(io::Error::other(format!("no answer within {} s", PATIENCE.as_secs()))))
    }
}

/// What a failed handshake means to who reads it.
fn worded(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let text = match inner {
        // A signature that does not fit is that of another authority with the same name.
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
            "its certificate is of no authority that this machine knows; HFCTL_CA names a file with one".to_owned()
        }
        Some(rustls::Error::InvalidCertificate(why)) => format!("its certificate is not good: {why}"),
        Some(rustls::Error::InvalidMessage(_)) => "what answers there does not speak TLS".to_owned(),
        Some(other) => format!("TLS: {other}"),
        None => return error,
    };
    io::Error::other(text)
}

/// What shows a daemon who we are, and us who it is. Nothing of it can be printed.
pub(crate) struct Credentials {
    /// The header, if there is a token.
    pub(crate) bearer: Option<MetadataValue<Ascii>>,
    /// Trusts the system's authorities and those that were named; shows our certificate if there is one.
    pub(crate) tls: Arc<ClientConfig>,
    /// What the caller should know.
    pub(crate) warnings: Vec<String>,
}

impl Credentials {
    /// Finds them in the environment, else in `$XDG_CONFIG_HOME/hfetch/hosts/HOST:PORT/`.
    ///
    /// # Errors
    /// When a file that was named cannot be read, or holds something else.
    pub(crate) fn find(remote: &Remote, cwd: &Path, env: Env<'_>) -> Result<Credentials, CliError> {
        let folder = paths::non_empty(env, "XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| Some(Path::new(&paths::non_empty(env, "HOME")?).join(".config")))
            .map(|config| config.join("hfetch/hosts").join(remote.to_string()));
        let mut files = Files {
            folder,
            cwd,
            env,
            warnings: Vec::new(),
        };
        let token = match paths::non_empty(env, "HFCTL_TOKEN") {
            Some(token) => Some(token),
            None => files.read("HFCTL_TOKEN_FILE", "token", true)?,
        };
        let bearer = token.map(|token| bearer(token.trim())).transpose()?;
        let authorities = files.read("HFCTL_CA", "ca.pem", false)?;
        let certificate = files.read("HFCTL_CERT", "cert.pem", false)?;
        let key = files.read("HFCTL_KEY", "key.pem", true)?;
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                return Err(CliError::usage(
                    "a client certificate needs both HFCTL_CERT and HFCTL_KEY",
                ));
            }
        };
        Ok(Credentials {
            bearer,
            tls: tls(authorities.as_deref(), identity)?,
            warnings: files.warnings,
        })
    }
}

fn bearer(token: &str) -> Result<MetadataValue<Ascii>, CliError> {
    let value = MetadataValue::try_from(format!("Bearer {token}"));
    match value {
        Ok(mut value) if !token.is_empty() => {
            value.set_sensitive(true);
            Ok(value)
        }
        _ => Err(CliError::usage(
            "the token for hfetchd is empty, or holds characters that no token has",
        )),
    }
}

struct Files<'a> {
    folder: Option<PathBuf>,
    cwd: &'a Path,
    env: Env<'a>,
    warnings: Vec<String>,
}

impl Files<'_> {
    /// The file that a variable names, else the one of the folder, which need not be there.
    fn read(&mut self, variable: &str, name: &str, secret: bool) -> Result<Option<String>, CliError> {
        let named = paths::non_empty(self.env, variable).map(|path| paths::absolute(&path, self.cwd, self.env));
        let (path, must_be) = match (named, &self.folder) {
            (Some(path), _) => (path, true),
            (None, Some(folder)) => (folder.join(name), false),
            (None, None) => return Ok(None),
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let open = std::fs::metadata(&path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0);
                if secret && open {
                    self.warnings
                        .push(format!("others may read {}: `chmod 600` it", path.display()));
                }
                Ok(Some(text))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !must_be => Ok(None),
            Err(error) => Err(CliError::new(
                Exit::Failed,
                format!("cannot read {}: {error}", path.display()),
            )),
        }
    }
}

fn tls(authorities: Option<&str>, identity: Option<(String, String)>) -> Result<Arc<ClientConfig>, CliError> {
    let bad = |what: &'static str| move |error: String| CliError::new(Exit::Failed, format!("{what}: {error}"));
    let mut roots = RootCertStore::empty();
    // Some of the system's may be broken or none of its kind: the others count.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for authority in authorities
        .map(certificates)
        .transpose()
        .map_err(bad("HFCTL_CA"))?
        .unwrap_or_default()
    {
        roots
            .add(authority)
            .map_err(|error| bad("HFCTL_CA")(error.to_string()))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| bad("TLS")(error.to_string()))?
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(&certificate).map_err(bad("HFCTL_CERT"))?;
            let key =
                PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| bad("HFCTL_KEY")(error.to_string()))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| bad("HFCTL_KEY")(error.to_string()))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match read {
        Ok(read) if read.is_empty() => Err("the file holds no certificate".to_owned()),
        Ok(read) => Ok(read),
        Err(error) => Err(format!("the file holds a broken certificate: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_other_machines() {
        let check = |text: &str, expected: &str| {
            assert_eq!(Remote::parse(text).expect(text).to_string(), expected);
        };
        check("https://gpu7:7850", "gpu7:7850");
        check("https://gpu7.lab/", "gpu7.lab:7850");
        check("https://[2001:db8::1]:1", "[2001:db8::1]:1");
        check("https://10.0.0.1", "10.0.0.1:7850");
        for bad in [
            "https://",
            "https://u:p@gpu7",
            "https://gpu7/x",
            "https://gpu7?x",
            "https://gpu7:",
            "https://:1",
            "ftp://gpu7",
        ] {
            assert_eq!(Remote::parse(bad).expect_err(bad).exit(), Exit::Usage);
        }
    }

    #[test]
    fn a_token_is_found_under_the_daemons_own_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let folder = dir.path().join("hfetch/hosts/gpu7:7850");
        std::fs::create_dir_all(&folder).expect("made");
        std::fs::write(folder.join("token"), "of-file\n").expect("written");
        let named = dir.path().join("named");
        std::fs::write(&named, "of-named").expect("written");
        let (config, named) = (dir.path().display().to_string(), named.display().to_string());
        let find = |address: &str, vars: &[(&str, &str)]| {
            let env = |name: &str| {
                let mut all = vars.iter().copied().chain([("XDG_CONFIG_HOME", config.as_str())]);
                all.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
            };
            let remote = Remote::parse(address).expect(address);
            let found = Credentials::find(&remote, Path::new("/"), &env)?;
            let bearer = found.bearer.map(|bearer| bearer.to_str().expect("ASCII").to_owned());
            Ok::<_, CliError>((bearer, found.warnings.len()))
        };
        let bearer = |token: &str| Some(format!("Bearer {token}"));
        assert_eq!(find("https://gpu7", &[]).expect("found"), (bearer("of-file"), 1));
        assert_eq!(find("https://gpu8", &[]).expect("none"), (None, 0));
        let by_name = [("HFCTL_TOKEN_FILE", named.as_str())];
        assert_eq!(find("https://gpu8", &by_name).expect("named"), (bearer("of-named"), 1));
        let said = [("HFCTL_TOKEN", "said"), by_name[0]];
        assert_eq!(find("https://gpu7", &said).expect("said"), (bearer("said"), 0));
        for (name, value) in [
            ("HFCTL_TOKEN_FILE", "/nowhere"),
            ("HFCTL_CA", &named),
            ("HFCTL_TOKEN", "a\nb"),
            ("HFCTL_CERT", &named),
        ] {
            assert!(find("https://gpu7", &[(name, value)]).is_err(), "{name}");
        }
    }
}
