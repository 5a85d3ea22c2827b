//! From a request to an answer: the handlers, the rate limits, and the faults that change what is said.

use bytes::Bytes;

use super::access::Refusal;
use super::api;
use super::clock::unix_now;
use super::content::index;
use super::course::Course;
use super::fault::Fault;
use super::gzip;
use super::journal::{Host, lock};
use super::quota::Bucket;
use super::resolve;
use super::route::Route;
use super::search;
use super::switches::Switches;
use super::wire::{FileTag, Part, Request, Response, unquote};
use super::world::{Context, World, redirect};

/// Query key that counts the hops of a redirect chain.
const HOP: &str = "sim-hop=";

/// What a request is about, before it is answered.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) route: Option<Route>,
    pub(crate) file: Option<FileTag>,
    /// Decoded path, for the rules.
    pub(crate) path: String,
}

impl Target {
    pub(crate) fn of(world: &World, host: Host, request: &Request) -> Self {
        let path = unquote(&request.path);
        match host {
            Host::Hub => {
                let below = request.path.strip_prefix(world.base_path.as_str()).unwrap_or("/");
                let route = Route::read(below, &|kind, id| world.repo(kind, id).is_some());
                let file = route.file().map(|(repo, path)| FileTag {
                    repo: format!("{}{}", repo.kind.url_prefix(), repo.id),
                    path: path.to_owned(),
                });
                Self {
                    route: Some(route),
                    file,
                    path,
                }
            }
            Host::Cdn => {
                let link = super::sign::Link::check(request, i64::MIN, 0).ok();
                let file = link.map(|link| FileTag {
                    repo: link.repo,
                    path: link.path,
                });
                Self {
                    route: None,
                    file,
                    path,
                }
            }
        }
    }
}

/// The answer with all faults applied. May block: on disk, and on digests computed for the first time.
pub(crate) fn answer(
    world: &World,
    host: Host,
    mut request: Request,
    peer: &str,
    target: &Target,
    faults: &[Fault],
) -> (Response, Course) {
    let mut switches = world.switches();
    for fault in faults {
        match fault {
            Fault::Quirk(change) => change(&mut switches),
            Fault::IgnoreRange => request.headers.remove("range"),
            Fault::OtherRange(by) => move_range(&mut request, *by),
            _ => {}
        }
    }
    let now = unix_now().saturating_add(switches.clock_ahead_secs);
    let replaced = faults
        .iter()
        .find_map(|fault| replacement(world, host, fault, &mut request));
    let mut response = match (replaced, host) {
        (Some(response), _) => response,
        (None, Host::Cdn) => resolve::cdn(world, &request, switches.refuse_unranged_above, now),
        (None, Host::Hub) => hub(world, &request, peer, target, &switches, now),
    };
    response.headers.set("Date", super::clock::http_date(now));
    if response.file.is_none() {
        response.file.clone_from(&target.file);
    }
    let mut course = Course::default();
    for fault in faults {
        alter(fault, &mut response);
        course.adopt(fault);
    }
    (response, course)
}

fn hub(world: &World, request: &Request, peer: &str, target: &Target, switches: &Switches, now: i64) -> Response {
    let caller = world.caller(request);
    let counted = bucket(&target.path, switches).map(|bucket| {
        let who = caller
            .name()
            .map_or_else(|| format!("address {peer}"), |name| format!("user {name}"));
        lock(&world.quotas).count(bucket, &who)
    });
    let context = Context {
        world,
        request,
        switches,
        caller,
        now,
    };
    let mut response = match (&counted, &target.route) {
        (Some(standing), _) if standing.refused => Response::text(429, "Too Many Requests"),
        (_, Some(route)) => route_answer(&context, route).unwrap_or_else(|refusal| {
            let api = target.path.starts_with(&format!("{}/api/", world.base_path));
            let mut response = refusal.response(api && !matches!(route, Route::ResolveCache { .. }));
            if switches.code_on_401 && matches!(refusal, Refusal::LoginNeeded) {
                response.headers.set("X-Error-Code", "RepoNotFound");
            }
            response
        }),
        (_, None) => Refusal::NoSuchRoute.response(false),
    };
    if let Some(standing) = counted {
        standing.write(&mut response);
    }
    response.headers.set("X-Request-Id", world.next_request_id());
    response.headers.set("X-Powered-By", "huggingface-moon");
    response.headers.set("Vary", "Origin, Accept");
    response
}

fn bucket(path: &str, switches: &Switches) -> Option<Bucket> {
    if path.contains("/api/resolve-cache/") {
        return switches.count_resolve_cache.then_some(Bucket::Resolvers);
    }
    Some(match path {
        path if path.contains("/resolve/") => Bucket::Resolvers,
        path if path.contains("/api/") => Bucket::Api,
        _ => Bucket::Pages,
    })
}

fn route_answer(context: &Context<'_>, route: &Route) -> Result<Response, Refusal> {
    match route {
        Route::Whoami => api::whoami(context),
        Route::Search(kind) => search::search(context, *kind),
        Route::Api { repo, call } => api::call(context, repo, call),
        Route::ResolveCache { repo, sha, path } => resolve::resolve_cache(context, repo, sha, path),
        Route::Resolve { repo, revision, path } => resolve::resolve(context, repo, revision, path),
        Route::Raw { repo, revision, path } => resolve::raw(context, repo, revision, path),
        Route::Bridge { repo_id, hash } => resolve::local_bridge(context, repo_id, hash),
        Route::QuotedId => Err(Refusal::BadRequest("Invalid repository id".to_owned())),
        Route::Unknown => Err(Refusal::NoSuchRoute),
    }
}

/// The answer of a fault that stands in place of the real one.
fn replacement(world: &World, host: Host, fault: &Fault, request: &mut Request) -> Option<Response> {
    let query = if request.query.is_empty() {
        String::new()
    } else {
        format!("?{}", request.query)
    };
    match fault {
        Fault::Answer(status, headers, body) => {
            let mut response = Response::new(*status).with_body(Bytes::from(body.clone()));
            for (name, value) in headers {
                response.headers.set(name, value.clone());
            }
            Some(response)
        }
        Fault::Html => {
            let page = "<!DOCTYPE html><html><head><title>Sign in to the network</title></head><body></body></html>";
            Some(
                Response::new(200)
                    .with("Content-Type", "text/html; charset=utf-8")
                    .with_body(page),
            )
        }
        Fault::RedirectTo(status, origin) => Some(redirect(
            *status,
            &format!("{}{}{query}", origin.trim_end_matches('/'), request.path),
        )),
        Fault::Redirect(status, location) => Some(redirect(*status, location)),
        Fault::RedirectLoop => {
            let origin = if host == Host::Hub {
                &world.endpoint
            } else {
                &world.cdn_endpoint
            };
            let origin = origin.trim_end_matches(world.base_path.as_str());
            Some(redirect(307, &format!("{origin}{}{query}", request.path)))
        }
        Fault::RedirectChain(hops) => {
            let (before, done) = match request.query.rsplit_once(HOP) {
                Some((before, hop)) => (before.trim_end_matches('&').to_owned(), hop.parse().unwrap_or(0)),
                None => (request.query.clone(), 0),
            };
            if done >= *hops {
                request.query = before;
                return None;
            }
            let joint = if before.is_empty() { "" } else { "&" };
            Some(redirect(
                307,
                &format!("{}?{before}{joint}{HOP}{}", request.path, done + 1),
            ))
        }
        _ => None,
    }
}

fn move_range(request: &mut Request, by: i64) {
    let moved = request.headers.get("range").and_then(|value| {
        let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
        let first = first.parse::<u64>().ok()?.saturating_add_signed(by);
        let last = last
            .parse::<u64>()
            .ok()
            .map_or(String::new(), |last| last.saturating_add_signed(by).to_string());
        Some(format!("bytes={first}-{last}"))
    });
    if let Some(moved) = moved {
        request.headers.set("Range", moved);
    }
}

/// What a fault does to an answer that was made in good faith.
fn alter(fault: &Fault, response: &mut Response) {
    match fault {
        Fault::NoContentRange => response.headers.remove("Content-Range"),
        Fault::WrongTotal(total) => {
            let range = response
                .headers
                .get("content-range")
                .and_then(|value| value.split('/').next());
            if let Some(value) = range.map(|range| format!("{range}/{total}")) {
                response.headers.set("Content-Range", value);
            }
        }
        Fault::ShiftedBytes(by) => {
            for part in &mut response.body {
                if let Part::File { content, range } = part {
                    let length = range.end - range.start;
                    let start = range.start.saturating_add_signed(*by).min(content.size() - length);
                    *range = start..start + length;
                }
            }
        }
        Fault::Overlong(extra) if response.offset.is_some() => {
            response.body.push(Part::Bytes(vec![0x5a; index(*extra)].into()));
        }
        Fault::FlipByte(at) => flip(response, *at),
        Fault::Gzip => {
            let packed = gzip::pack(&collect(response));
            response.body = vec![Part::Bytes(packed.into())];
            response.offset = None;
            response.headers.set("Content-Encoding", "gzip");
        }
        Fault::Multipart if response.status == 206 => {
            let range = response.headers.get("content-range").unwrap_or_default().to_owned();
            let head = format!("--sim\r\nContent-Type: application/octet-stream\r\nContent-Range: {range}\r\n\r\n");
            response.body.insert(0, Part::Bytes(head.into()));
            response.body.push(Part::Bytes("\r\n--sim--\r\n".into()));
            response.offset = None;
            response.headers.remove("Content-Range");
            response
                .headers
                .set("Content-Type", "multipart/byteranges; boundary=sim");
        }
        Fault::ChangedEtag(etag) => change_etags(response, |_| format!("\"{etag}\"")),
        Fault::WeakEtag => change_etags(response, |etag| format!("W/{etag}")),
        Fault::GzipEtag => change_etags(response, |etag| format!("\"{}-gzip\"", etag.trim_matches('"'))),
        Fault::BareEtag => change_etags(response, |etag| etag.trim_matches('"').to_owned()),
        Fault::DropHeader(name) if name.eq_ignore_ascii_case("content-length") => response.chunked = true,
        Fault::DropHeader(name) => response.headers.remove(name),
        Fault::SetHeader(name, value) => response.headers.set(name, value.clone()),
        Fault::ShortChunked(_) => response.chunked = true,
        _ => {}
    }
}

fn change_etags(response: &mut Response, change: impl Fn(&str) -> String) {
    for name in ["ETag", "X-Linked-ETag"] {
        if let Some(value) = response.headers.get(name).map(&change) {
            response.headers.set(name, value);
        }
    }
}

fn collect(response: &Response) -> Vec<u8> {
    let mut whole = Vec::new();
    for part in &response.body {
        let mut offset = 0;
        while let Ok(piece) = part.slice(offset, part.len() - offset)
            && !piece.is_empty()
        {
            offset += piece.len() as u64;
            whole.extend_from_slice(&piece);
        }
    }
    whole
}

/// Splits the part that holds the file's byte `at` around that byte.
fn flip(response: &mut Response, at: u64) {
    let mut parts = Vec::new();
    for part in response.body.drain(..) {
        match part {
            Part::File { content, range } if range.contains(&at) => {
                let byte = content
                    .slice(at, 1)
                    .ok()
                    .and_then(|bytes| bytes.first().copied())
                    .unwrap_or_default();
                parts.push(Part::File {
                    content: content.clone(),
                    range: range.start..at,
                });
                parts.push(Part::Bytes(vec![byte ^ 1].into()));
                parts.push(Part::File {
                    content,
                    range: at + 1..range.end,
                });
            }
            other => parts.push(other),
        }
    }
    response.body = parts;
}
