//! Who calls. The kernel says it (SO_PEERCRED), once per connection; one guard stands in front of every service.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hfetch_proto::reason;
use nix::unistd::{Uid, User, geteuid};
use tonic::{Request, Status, transport::server::UdsConnectInfo};

use super::status::refuse;
use crate::{config::Mode, model::Owner, store::Scope};

/// The caller of a request, put there by the guard.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) owner: Owner,
    /// May see and move the jobs of others.
    pub(super) operator: bool,
}

impl Caller {
    /// The caller of a request. Only missing when a service was mounted without the guard.
    pub(super) fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        request.extensions().get::<Self>().cloned().ok_or_else(|| {
            refuse(
                tonic::Code::PermissionDenied,
                reason::PERMISSION_DENIED,
                "the caller is not known".to_owned(),
            )
        })
    }

    /// Whose jobs it may touch.
    pub(super) fn scope(&self) -> Scope {
        if self.operator {
            Scope::All
        } else {
            Scope::Uid(self.owner.uid)
        }
    }
}

/// Lets through who may use the socket, and notes who it is.
#[derive(Clone)]
pub(super) struct Guard {
    mode: Mode,
    own_uid: u32,
    names: Arc<Mutex<HashMap<u32, String>>>,
}

impl Guard {
    pub(super) fn new(mode: Mode) -> Self {
        Self {
            mode,
            own_uid: geteuid().as_raw(),
            names: Arc::default(),
        }
    }

    pub(super) fn admit(&self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let credentials = request
            .extensions()
            .get::<UdsConnectInfo>()
            .and_then(|info| info.peer_cred);
        let deny = |text: String| refuse(tonic::Code::PermissionDenied, reason::PERMISSION_DENIED, text);
        let Some(uid) = credentials.map(|credentials| credentials.uid()) else {
            return Err(deny("the kernel does not say who calls".into()));
        };
        let trusted = uid == 0 || uid == self.own_uid;
        if self.mode == Mode::User && !trusted {
            return Err(deny(format!(
                "this daemon serves only its own user (uid {}), not uid {uid}",
                self.own_uid
            )));
        }
        let caller = Caller {
            owner: Owner {
                uid,
                user: self.name(uid),
            },
            operator: trusted,
        };
        request.extensions_mut().insert(caller);
        Ok(request)
    }

    /// The name of a user. Looked up once, and outside the lock: the directory may be a slow server.
    fn name(&self, uid: u32) -> String {
        let known = |names: &Mutex<HashMap<u32, String>>| {
            names.lock().unwrap_or_else(PoisonError::into_inner).get(&uid).cloned()
        };
        if let Some(name) = known(&self.names) {
            return name;
        }
        match tokio::task::block_in_place(|| User::from_uid(Uid::from_raw(uid))) {
            Ok(user) => {
                // A container's user often has no name.
                let name = user.map_or_else(|| uid.to_string(), |user| user.name);
                self.names
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(uid, name.clone());
                name
            }
            // Not remembered: the directory may answer the next time.
            Err(_) => uid.to_string(),
        }
    }
}
