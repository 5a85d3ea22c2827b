//! Who may come in over TCP: what the configuration said last.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hfetch_proto::reason;
use tokio::time::Instant;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Code, Status};

use super::{
    attempts::Attempts,
    connection::RemotePeer,
    tls::{self, BadTls},
};
use crate::{
    api::{places::Key, status::refuse},
    callers::{Callers, CallersError},
    config::RemoteOptions,
    model::is_caller_name,
};

/// Knows the callers over TCP.
pub struct RemoteDoor {
    current: Mutex<Current>,
    attempts: Mutex<Attempts>,
    /// Numbers of those who are no users of this machine.
    pub(in crate::api) callers: Callers,
}

struct Current {
    options: RemoteOptions,
    tls: Arc<ServerConfig>,
    /// Cancelled when others may come in than before.
    cut: CancellationToken,
}

/// Why the door cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The files of `[control]`.
    #[error(transparent)]
    Tls(#[from] BadTls),
    /// The state directory.
    #[error(transparent)]
    Callers(#[from] CallersError),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RemoteDoor {
    /// With what the configuration says at the start.
    ///
    /// # Errors
    /// When certificates and keys are none, or the state directory cannot be read.
    pub fn new(options: &RemoteOptions, state_dir: &Path) -> Result<Self, DoorError> {
        let current = Current {
            tls: tls::server_config(options)?,
            options: options.clone(),
            cut: CancellationToken::new(),
        };
        Ok(Self {
            current: Mutex::new(current),
            attempts: Mutex::default(),
            callers: Callers::open(state_dir)?,
        })
    }

    /// Whether a door could be made of that.
    ///
    /// # Errors
    /// When certificates and keys are none.
    pub fn check(options: &RemoteOptions) -> Result<(), BadTls> {
        tls::server_config(options).map(drop)
    }

    /// Takes a new configuration over. When it says something else of who may call, every connection ends: those who may
    /// still call come back by themselves.
    ///
    /// # Errors
    /// When certificates and keys are none; the old ones stay then.
    pub fn change(&self, options: &RemoteOptions) -> Result<(), BadTls> {
        let tls = tls::server_config(options)?;
        let mut current = lock(&self.current);
        let old = &current.options;
        let others =
            old.bearers != options.bearers || old.client_ca != options.client_ca || old.operators != options.operators;
        if others {
            std::mem::take(&mut current.cut).cancel();
        }
        current.tls = tls;
        current.options = options.clone();
        Ok(())
    }

    /// Nobody may come in any more: the configuration does not want it.
    pub fn close(&self) {
        let mut current = lock(&self.current);
        current.options.bearers = crate::model::Bearers::default();
        current.options.client_ca = None;
        current.options.operators.clear();
        std::mem::take(&mut current.cut).cancel();
    }

    /// For a new connection.
    pub(super) fn handshake(&self) -> (Arc<ServerConfig>, WaitForCancellationFutureOwned) {
        let current = lock(&self.current);
        (current.tls.clone(), current.cut.clone().cancelled_owned())
    }

    /// Whose call that is, and whether they are an operator.
    pub(in crate::api) fn caller(
        &self,
        peer: &RemotePeer,
        headers: &http::HeaderMap,
    ) -> Result<(String, bool), Status> {
        let key = Key::of(peer.address.ip());
        let by_certificate = peer.certificate.as_deref();
        let by_token = match headers.get(http::header::AUTHORIZATION) {
            Some(value) => Some(self.holder(key, value.as_bytes())?),
            None => None,
        };
        let name = match (by_token, by_certificate) {
            (Some(token), Some(certificate)) if token != certificate => {
                let text = format!("the certificate is `{certificate}`'s and the token `{token}`'s");
                return Err(unauthenticated(text));
            }
            (Some(name), _) => name,
            (None, Some(name)) => name.to_owned(),
            (None, None) => {
                let text = "this daemon wants a token (HFCTL_TOKEN, HFCTL_TOKEN_FILE) or a client certificate";
                return Err(unauthenticated(text.to_owned()));
            }
        };
        if !is_caller_name(&name) {
            return Err(unauthenticated(format!("`{name}` is no name of a caller")));
        }
        let operator = lock(&self.current).options.operators.contains(&name);
        Ok((name, operator))
    }

    fn holder(&self, key: Key, value: &[u8]) -> Result<String, Status> {
        let now = Instant::now();
        let banned = lock(&self.attempts).banned(key, now);
        if let Some(rest) = banned {
            let text = format!(
                "too many wrong tokens came from your address; it is listened to again in {} s",
                rest.as_secs() + 1
            );
            return Err(refuse(Code::ResourceExhausted, reason::TOO_MANY_ATTEMPTS, text));
        }
        let token = match value.split_at_checked(b"bearer ".len()) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token.trim_ascii(),
            _ => b"",
        };
        let holder = lock(&self.current).options.bearers.holder_of(token).map(str::to_owned);
        let mut attempts = lock(&self.attempts);
        match holder {
            Some(name) => {
                attempts.succeeded(key);
                Ok(name)
            }
            None => {
                attempts.failed(key, now);
                Err(unauthenticated(
                    "the token is none of those that this daemon knows".to_owned(),
                ))
            }
        }
    }
}

fn unauthenticated(text: String) -> Status {
    refuse(Code::Unauthenticated, reason::UNAUTHENTICATED, text)
}

#[cfg(test)]
pub(super) mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::model::{Bearers, Pem};

    fn hash(token: &str) -> String {
        Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(in crate::api::remote) fn options() -> RemoteOptions {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let text = format!("ann:{}\nben:{}\n", hash("of ann"), hash("of ben"));
        RemoteOptions {
            listen: ([127, 0, 0, 1], 0).into(),
            certificates: Pem::new(cert.pem()),
            key: Pem::new(signing_key.serialize_pem()),
            bearers: Bearers::parse(&text).unwrap(),
            client_ca: None,
            operators: vec!["ben".to_owned()],
        }
    }

    pub(in crate::api::remote) fn door(options: &RemoteOptions, state: &Path) -> Arc<RemoteDoor> {
        Arc::new(RemoteDoor::new(options, state).unwrap())
    }

    fn call(door: &RemoteDoor, certificate: Option<&str>, header: Option<&str>) -> Result<(String, bool), Code> {
        let peer = RemotePeer::new(([10, 0, 0, 1], 9).into(), certificate.map(str::to_owned));
        let mut headers = http::HeaderMap::new();
        if let Some(header) = header {
            headers.insert(http::header::AUTHORIZATION, header.parse().unwrap());
        }
        door.caller(&peer, &headers).map_err(|status| status.code())
    }

    #[test]
    fn tokens_and_certificates() {
        let dir = tempfile::tempdir().unwrap();
        let door = door(&options(), dir.path());
        let ann = || Ok(("ann".to_owned(), false));
        assert_eq!(call(&door, None, Some("Bearer of ann")), ann());
        assert_eq!(call(&door, None, Some("bearer of ben")), Ok(("ben".to_owned(), true)));
        assert_eq!(call(&door, Some("ann"), None), ann());
        assert_eq!(call(&door, Some("ann"), Some("Bearer of ann")), ann());
        assert_eq!(
            call(&door, Some("ben"), Some("Bearer of ann")),
            Err(Code::Unauthenticated)
        );
        assert_eq!(call(&door, Some("a/b"), None), Err(Code::Unauthenticated));
        assert_eq!(call(&door, None, None), Err(Code::Unauthenticated));
        for wrong in ["of ann", "Basic of ann", "Bearer", "Bearer of eve"] {
            assert_eq!(call(&door, None, Some(wrong)), Err(Code::Unauthenticated), "{wrong}");
        }
        assert_eq!(call(&door, None, Some("Bearer ")), Err(Code::Unauthenticated));
        // The fifth wrong one was the last.
        assert_eq!(call(&door, None, Some("Bearer of ann")), Err(Code::ResourceExhausted));
    }

    #[test]
    fn a_change_of_callers_ends_connections_and_a_new_certificate_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let old = options();
        let door = door(&old, dir.path());
        let cut = || lock(&door.current).cut.clone();
        let before = cut();
        let renewed = options();
        let mut new = RemoteOptions {
            certificates: renewed.certificates,
            key: renewed.key,
            ..old.clone()
        };
        door.change(&new).unwrap();
        assert!(!before.is_cancelled());
        new.bearers = Bearers::parse(&format!("ben:{}", hash("of ben"))).unwrap();
        door.change(&new).unwrap();
        assert!(before.is_cancelled() && !cut().is_cancelled());
        assert_eq!(call(&door, None, Some("Bearer of ann")), Err(Code::Unauthenticated));
        // A key of another certificate is refused, and all stays as it was.
        let broken = RemoteOptions { key: old.key, ..new };
        let error = door.change(&broken).unwrap_err().to_string();
        assert!(error.starts_with("control.tls_key: "), "{error}");
        assert_eq!(call(&door, None, Some("Bearer of ben")), Ok(("ben".to_owned(), true)));
        door.close();
        assert_eq!(call(&door, None, Some("Bearer of ben")), Err(Code::Unauthenticated));
    }
}
