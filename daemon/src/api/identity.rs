//! Who calls. On the Unix socket the kernel says it (SO_PEERCRED), once per connection.

use std::{
    collections::HashMap,
    ffi::CString,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hfetch_proto::reason;
use nix::unistd::{Gid, Group, Uid, User, geteuid, getgrouplist};
use tokio::time::Instant;
use tonic::{Request, Status};

use super::{rights::Right, status::refuse};
use crate::{config::Mode, model::Owner, store::Scope};

/// Names and groups are looked up again after this: so long a new operator waits, and a former one stays.
const FRESH: Duration = Duration::from_secs(30);

/// Where a connection comes from.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// As the kernel says it; `None` when it does not.
    pub(super) uid: Option<u32>,
}

/// The caller of a request, put there by the gate.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) owner: Owner,
    /// May see and move the jobs of others.
    pub(super) operator: bool,
}

impl Caller {
    /// The caller of a request. Only missing when a service was mounted without the gate.
    pub(super) fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        request
            .extensions()
            .get::<Self>()
            .cloned()
            .ok_or_else(|| deny("the caller is not known".to_owned()))
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

fn deny(text: String) -> Status {
    refuse(tonic::Code::PermissionDenied, reason::PERMISSION_DENIED, text)
}

/// Knows whom this daemon serves, and who its operators are.
#[derive(Clone)]
pub(super) struct Guard {
    mode: Mode,
    own_uid: u32,
    /// On a shared daemon its members are operators; it need not exist.
    operator_group: Arc<str>,
    known: Arc<Mutex<HashMap<u32, Known>>>,
}

/// What the system says of a user.
#[derive(Debug, Clone)]
struct Known {
    name: String,
    in_operator_group: bool,
    until: Instant,
}

impl Guard {
    pub(super) fn new(mode: Mode, operator_group: &str) -> Self {
        Self {
            mode,
            own_uid: geteuid().as_raw(),
            operator_group: operator_group.into(),
            known: Arc::default(),
        }
    }

    /// The caller of a request with these extensions, if the method is for them. A refusal says who was refused.
    pub(super) fn admit(&self, right: Right, extensions: &http::Extensions) -> Result<Caller, (String, Status)> {
        let Some(uid) = extensions.get::<Peer>().and_then(|peer| peer.uid) else {
            let status = deny("the kernel does not say who calls".into());
            return Err(("unknown".into(), status));
        };
        self.admit_uid(right, uid)
            .map_err(|status| (format!("uid {uid}"), status))
    }

    fn admit_uid(&self, right: Right, uid: u32) -> Result<Caller, Status> {
        let trusted = uid == 0 || uid == self.own_uid;
        if self.mode == Mode::User && !trusted && right != Right::Anyone {
            return Err(deny(format!(
                "this daemon serves only its own user (uid {}), not uid {uid}",
                self.own_uid
            )));
        }
        let known = self.known(uid);
        let operator = trusted || (self.mode == Mode::System && known.in_operator_group);
        if right == Right::Operator && !operator {
            return Err(deny(match self.mode {
                Mode::User => "only the owner of the daemon or root may do this".to_owned(),
                Mode::System => format!(
                    "only root and members of the group `{}` may do this",
                    self.operator_group
                ),
            }));
        }
        let user = known.name;
        Ok(Caller {
            owner: Owner { uid, user },
            operator,
        })
    }

    /// What the system says of a user, at most [`FRESH`] old. Looked up outside the lock: the directory may be a slow server.
    fn known(&self, uid: u32) -> Known {
        let now = Instant::now();
        let remembered = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.get(&uid).cloned()
        };
        if let Some(known) = remembered.clone().filter(|known| now < known.until) {
            return known;
        }
        let until = now + FRESH;
        let found = match tokio::task::block_in_place(|| self.look_up(uid)) {
            Ok((name, in_operator_group)) => Known {
                name,
                in_operator_group,
                until,
            },
            // The directory may answer the next time. A name does not change meanwhile; rights do not outlive the doubt.
            Err(error) => {
                tracing::warn!(uid, %error, "the user cannot be looked up");
                return Known {
                    name: remembered.map_or_else(|| uid.to_string(), |known| known.name),
                    in_operator_group: false,
                    until,
                };
            }
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(uid, found.clone());
        found
    }

    fn look_up(&self, uid: u32) -> nix::Result<(String, bool)> {
        // A container's user often has no name, and is then in no group.
        let Some(user) = User::from_uid(Uid::from_raw(uid))? else {
            return Ok((uid.to_string(), false));
        };
        if self.mode == Mode::User {
            return Ok((user.name, false));
        }
        let Some(group) = Group::from_name(&self.operator_group)? else {
            return Ok((user.name, false));
        };
        let Ok(c_name) = CString::new(user.name.as_str()) else {
            return Ok((user.name, false));
        };
        let groups: Vec<Gid> = getgrouplist(&c_name, user.gid)?;
        Ok((user.name, groups.contains(&group.gid)))
    }
}
