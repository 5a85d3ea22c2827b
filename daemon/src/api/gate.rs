//! The one door of all services: it asks who calls and what that caller may do, before a service hears of the call. What it
//! does not know it does not let through. And it writes down who changed something.

use std::{
    future::{Future, ready},
    pin::Pin,
    task::{Context, Poll},
};

use hfetch_proto::reason;
use tonic::Code;
use tower::{Layer, Service};

use super::{
    identity::{Caller, Guard},
    rights::{self, Method},
    status::refuse,
};

/// Puts the door in front of services.
#[derive(Clone)]
pub(super) struct GateLayer {
    pub(super) guard: Guard,
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate {
            guard: self.guard.clone(),
            inner,
        }
    }
}

/// The door.
#[derive(Clone)]
pub(super) struct Gate<S> {
    guard: Guard,
    inner: S,
}

/// Jobs that one line of the log names.
const MOST_NAMED: usize = 1000;

/// What a call was about, for the line that tells of it. A handler puts it into its answer.
#[derive(Debug, Clone)]
pub(super) struct Subject(pub(super) String);

/// An answer that says which jobs it was about.
pub(super) fn about<T>(message: T, ids: impl IntoIterator<Item = impl AsRef<str>>) -> tonic::Response<T> {
    let mut text = String::new();
    let mut ids = ids.into_iter();
    for id in ids.by_ref().take(MOST_NAMED) {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(id.as_ref());
    }
    let more = ids.count();
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    let mut response = tonic::Response::new(message);
    response.extensions_mut().insert(Subject(text));
    response
}

impl<S, B, R> Service<http::Request<B>> for Gate<S>
where
    S: Service<http::Request<B>, Response = http::Response<R>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: Default + Send + 'static,
{
    type Response = http::Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let Some(method) = rights::of(request.uri().path()) else {
            let text = "hfetchd has no such method; it may be older than its caller".to_owned();
            let status = refuse(Code::Unimplemented, reason::NOT_IN_THIS_VERSION, text);
            return Box::pin(ready(Ok(status.into_http())));
        };
        let caller = match self.guard.admit(method.right, request.headers(), request.extensions()) {
            Ok(caller) => caller,
            Err((who, status)) => {
                tracing::warn!(target: "hfetchd::audit", who, method = method.name, "refused");
                return Box::pin(ready(Ok(status.into_http())));
            }
        };
        let changed_by = method.changes.then(|| caller.clone());
        request.extensions_mut().insert(caller);
        // It has done its work; no handler needs to see it.
        request.headers_mut().remove(http::header::AUTHORIZATION);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            if let Some(caller) = changed_by {
                audit(&caller, method, &response);
            }
            Ok(response)
        })
    }
}

/// One line for each call that changes something. No argument of the call is in it: one may be a secret.
fn audit<R>(caller: &Caller, method: Method, response: &http::Response<R>) {
    // A call that succeeded tells it only at the end of its body.
    let outcome = response
        .headers()
        .get("grpc-status")
        .and_then(|code| code.to_str().ok()?.parse().ok())
        .map_or(Code::Ok, Code::from_i32);
    let jobs = response.extensions().get::<Subject>().map_or("", |subject| &subject.0);
    tracing::info!(
        target: "hfetchd::audit",
        uid = caller.owner.uid,
        remote = caller.remote,
        user = caller.owner.user,
        method = method.name,
        jobs,
        outcome = ?outcome,
        "call"
    );
}
