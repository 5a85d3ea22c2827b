//! Who calls. On the Unix socket the kernel says it (SO_PEERCRED), once per connection; over TCP a token or a certificate.

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

use super::{
    remote::{RemoteDoor, RemotePeer},
    rights::Right,
    status::refuse,
};
use crate::{config::Mode, engine::chain, model::Owner, store::Scope};

/// Names and groups are looked up again after this: so long a new operator waits, and a former one stays.
const FRESH: Duration = Duration::from_secs(30);

/// Where a connection comes from.
#[derive(Debug, Clone)]
pub(super) enum Peer {
    /// From this machine; `None` when the kernel does not say whose it is.
    Local(Option<u32>),
    /// From another one.
    Remote(Arc<RemotePeer>),
}

/// The caller of a request, put there by the gate.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) owner: Owner,
    /// May see and move the jobs of others.
    pub(super) operator: bool,
    /// Paths that it names are none of this machine.
    pub(super) remote: bool,
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

    /// A directory outside the caches is a matter of those who are here.
    pub(super) fn may_write_to(&self, local_dir: &str) -> Result<(), Status> {
        match self.remote && !local_dir.is_empty() {
            true => Err(deny(
                "over TCP files go into the daemon's cache: a local directory would be one of the daemon's machine"
                    .into(),
            )),
            false => Ok(()),
        }
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
    /// Who may call over TCP, when anybody may.
    door: Option<Arc<RemoteDoor>>,
    /// The numbers of names over TCP.
    numbers: Arc<Mutex<HashMap<String, (u32, Instant)>>>,
}

/// What the system says of a user.
#[derive(Debug, Clone)]
struct Known {
    name: String,
    in_operator_group: bool,
    until: Instant,
}

impl Guard {
    pub(super) fn new(mode: Mode, operator_group: &str, door: Option<Arc<RemoteDoor>>) -> Self {
        Self {
            mode,
            own_uid: geteuid().as_raw(),
            operator_group: operator_group.into(),
            known: Arc::default(),
            door,
            numbers: Arc::default(),
        }
    }

    /// The caller of a request, if the method is for them. A refusal says who was refused.
    pub(super) fn admit(
        &self,
        right: Right,
        headers: &http::HeaderMap,
        extensions: &http::Extensions,
    ) -> Result<Caller, (String, Status)> {
        match extensions.get::<Peer>() {
            Some(Peer::Local(Some(uid))) => self
                .admit_uid(right, *uid)
                .map_err(|status| (format!("uid {uid}"), status)),
            Some(Peer::Remote(peer)) => self
                .admit_remote(right, peer, headers)
                .map_err(|status| (peer.address.to_string(), status)),
            Some(Peer::Local(None)) | None => {
                let status = deny("the kernel does not say who calls".into());
                Err(("unknown".into(), status))
            }
        }
    }

    /// Over TCP nothing is for everybody, and nobody is an operator whom the configuration does not name.
    fn admit_remote(&self, right: Right, peer: &RemotePeer, headers: &http::HeaderMap) -> Result<Caller, Status> {
        let Some(door) = &self.door else {
            return Err(deny("this daemon does not serve callers over TCP".into()));
        };
        let (name, operator) = door.caller(peer, headers)?;
        let uid = self.number(door, &name)?;
        if uid == 0 {
            return Err(deny("root does not call over TCP".into()));
        }
        if right == Right::Operator && !operator {
            return Err(deny(format!(
                "over TCP only those may do this whom `control.operators` names, and `{name}` is none of them"
            )));
        }
        peer.admit();
        Ok(Caller {
            owner: Owner { uid, user: name },
            operator,
            remote: true,
        })
    }

    /// A user of this machine keeps their own number, so that their jobs are theirs from everywhere.
    fn number(&self, door: &RemoteDoor, name: &str) -> Result<u32, Status> {
        let now = Instant::now();
        let remembered = {
            let numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
            numbers.get(name).copied()
        };
        if let Some((uid, _)) = remembered.filter(|(_, until)| now < *until) {
            return Ok(uid);
        }
        let found = tokio::task::block_in_place(|| match User::from_name(name) {
            Ok(Some(user)) => Ok(user.uid.as_raw()),
            Ok(None) => door.callers.number(name).map_err(|error| chain(&error)),
            Err(error) => Err(error.to_string()),
        });
        let uid = found.map_err(|error| {
            tracing::error!(name, error, "a caller over TCP gets no number");
            let text = format!("the daemon cannot tell who `{name}` is; try again later");
            Status::unavailable(text)
        })?;
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.insert(name.to_owned(), (uid, now + FRESH));
        Ok(uid)
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
            remote: false,
        })
    }

    /// Whether a caller has the rights with which it began something long. Over TCP the door ends the connections of those who
    /// lost theirs.
    ///
    /// # Errors
    /// When it is no operator any more.
    pub(super) fn still_admits(&self, caller: &Caller) -> Result<(), Status> {
        match caller.operator && !caller.remote {
            true => self.admit_uid(Right::Operator, caller.owner.uid).map(drop),
            false => Ok(()),
        }
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
