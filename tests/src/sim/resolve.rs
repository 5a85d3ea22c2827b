//! Getting a file: resolve in both shapes, the resolve cache, `raw/`, and what the CDN serves.

use std::sync::Arc;

use super::access::Refusal;
use super::content::Content;
use super::digest::lfs_pointer;
use super::gzip;
use super::range;
use super::repo::{Commit, Repo, Storage, StoredFile};
use super::route::RepoRef;
use super::sign::{BadLink, Link};
use super::switches::{LinkedShape, PlainShape};
use super::wire::{Request, Response, quote_path, quote_segment};
use super::world::{Context, Found, World, redirect};

pub(crate) fn resolve(
    context: &Context<'_>,
    reference: &RepoRef,
    revision: &str,
    path: &str,
) -> Result<Response, Refusal> {
    let (repo, commit) = match open(context, reference, revision)? {
        Opened::Commit(repo, commit) => (repo, commit),
        Opened::Moved(response) => return Ok(response),
    };
    let file = file_of(&commit, path)?;
    let etag = format!("\"{}\"", file.etag()?);
    if context
        .request
        .headers
        .get("if-none-match")
        .is_some_and(|given| given.contains(&etag))
    {
        return Ok(Response::new(304)
            .with("ETag", etag)
            .with("X-Repo-Commit", commit.sha.clone()));
    }
    let response = match (file.storage, context.switches.plain, context.switches.linked) {
        (Storage::Plain, PlainShape::ResolveCache, _) => to_resolve_cache(context, &repo, &commit, path, &etag),
        (Storage::Plain, PlainShape::Direct, _) => serve_plain(context, file, &etag),
        (Storage::Linked, _, LinkedShape::Direct) => binary(range::serve(context.request, &file.content, &etag)),
        (Storage::Linked, _, LinkedShape::Signed) => to_cdn(context, &repo, &commit, path, file, &etag)?,
        (Storage::Linked, _, LinkedShape::RelativeXet) => {
            let hash = file.xet_hash()?.unwrap_or_default();
            let location = format!("{}/xet-bridge-us/{}/{hash}", context.world.base_path, repo.object_id());
            linked_headers(redirect(302, &location), file, &etag)
        }
    };
    Ok(describe(response, &commit, path))
}

pub(crate) fn resolve_cache(
    context: &Context<'_>,
    reference: &RepoRef,
    sha: &str,
    path: &str,
) -> Result<Response, Refusal> {
    if sha.len() != 40 || !sha.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Refusal::BadRequest("Invalid commit hash".to_owned()));
    }
    let (_, commit) = match open(context, reference, sha)? {
        Opened::Commit(repo, commit) => (repo, commit),
        Opened::Moved(response) => return Ok(response),
    };
    let file = file_of(&commit, path)?;
    let etag = format!("\"{}\"", file.etag()?);
    let response = serve_plain(context, file, &etag).with("X-Hub-Cache", "MISS");
    Ok(describe(response, &commit, path))
}

pub(crate) fn raw(context: &Context<'_>, reference: &RepoRef, revision: &str, path: &str) -> Result<Response, Refusal> {
    let commit = match open(context, reference, revision)? {
        Opened::Commit(_, commit) => commit,
        Opened::Moved(response) => return Ok(response),
    };
    let file = file_of(&commit, path)?;
    let response = match file.storage {
        Storage::Plain => serve_plain(context, file, &format!("\"{}\"", file.content.git_blob()?)),
        Storage::Linked => Response::text(200, lfs_pointer(file.content.sha256()?, file.content.size())),
    };
    Ok(response.with("X-Repo-Commit", commit.sha.clone()))
}

enum Opened {
    Commit(Arc<Repo>, Arc<Commit>),
    Moved(Response),
}

fn open(context: &Context<'_>, reference: &RepoRef, revision: &str) -> Result<Opened, Refusal> {
    match context.find(reference)? {
        Found::Moved(response) => Ok(Opened::Moved(response)),
        Found::Repo(repo) => {
            context.caller.check_contents(&repo)?;
            let commit = context.commit(&repo, revision)?;
            Ok(Opened::Commit(repo, commit))
        }
    }
}

fn file_of<'a>(commit: &'a Commit, path: &str) -> Result<&'a StoredFile, Refusal> {
    let missing = || Refusal::EntryNotFound {
        commit: commit.sha.clone(),
        text: None,
    };
    commit.files.get(path).ok_or_else(missing)
}

fn to_resolve_cache(context: &Context<'_>, repo: &Repo, commit: &Commit, path: &str, etag: &str) -> Response {
    let location = format!(
        "{}/api/resolve-cache/{}/{}/{}/{}?{}=&etag={}",
        context.world.base_path,
        repo.kind.api_segment(),
        repo.id,
        commit.sha,
        quote_path(path),
        quote_segment(&context.request.path),
        quote_segment(etag),
    );
    redirect(307, &location)
        .with("X-Linked-ETag", etag)
        .with("Accept-Ranges", "bytes")
}

fn to_cdn(
    context: &Context<'_>,
    repo: &Repo,
    commit: &Commit,
    path: &str,
    file: &StoredFile,
    etag: &str,
) -> Result<Response, Refusal> {
    let life = i64::try_from(context.switches.link_life.as_secs()).unwrap_or(i64::MAX / 2);
    let link = Link {
        repo_id: repo.object_id(),
        hash: file.xet_hash()?.unwrap_or_default(),
        repo: repo.web_path(),
        path: path.to_owned(),
        expires: context.now.saturating_add(life),
        generation: context.world.link_generation(),
    };
    let location = format!("{}{}", context.world.cdn_endpoint, link.signed());
    let mut response = linked_headers(redirect(302, &location), file, etag).with("Cache-Control", "no-store");
    if let Some(hash) = context.shown_xet_hash(file)? {
        let token_route = format!(
            "{}/api/{}/{}/xet-read-token/{}",
            context.world.endpoint,
            repo.kind.api_segment(),
            repo.id,
            commit.sha
        );
        let cas = format!("https://cas-server.xethub.hf.co/v1/reconstructions/{hash}");
        let links = format!("<{token_route}>; rel=\"xet-auth\", <{cas}>; rel=\"xet-reconstruction-info\"");
        response.headers.set("X-Xet-Hash", hash);
        response.headers.set("Link", links);
    }
    Ok(response)
}

fn linked_headers(response: Response, file: &StoredFile, etag: &str) -> Response {
    let size = file.content.size().to_string();
    response
        .with("X-Linked-Size", size)
        .with("X-Linked-ETag", etag)
        .with("Accept-Ranges", "bytes")
}

/// What every answer about a file has.
fn describe(response: Response, commit: &Commit, path: &str) -> Response {
    let name = path.rsplit('/').next().unwrap_or_default();
    let plain_name: String = name
        .chars()
        .map(|c| if c.is_ascii_graphic() && c != '"' { c } else { '_' })
        .collect();
    let disposition = format!(
        "inline; filename*=UTF-8''{}; filename=\"{plain_name}\";",
        quote_segment(name)
    );
    response
        .with("X-Repo-Commit", commit.sha.clone())
        .with("Content-Disposition", disposition)
}

fn serve_plain(context: &Context<'_>, file: &StoredFile, etag: &str) -> Response {
    let gzip_allowed = context
        .request
        .headers
        .get("accept-encoding")
        .is_some_and(|list| list.contains("gzip"));
    let response = if context.switches.honour_gzip && gzip_allowed {
        let whole = file.content.read(0, file.content.size()).unwrap_or_default();
        let mut response = Response::new(200).with_body(gzip::pack(&whole));
        response.chunked = true;
        response
            .with("Content-Encoding", "gzip")
            .with("ETag", format!("W/{etag}"))
    } else {
        range::serve(context.request, &file.content, etag)
    };
    if response.status == 416 {
        response
    } else {
        response.with("Content-Type", "text/plain; charset=utf-8")
    }
}

fn binary(response: Response) -> Response {
    if response.status == 416 {
        response
    } else {
        response.with("Content-Type", "application/octet-stream")
    }
}

/// The file that a bridge URL means: by repository and hash, and by path where the signed URL tells it.
pub(crate) fn bridge_file(
    world: &World,
    repo_id: &str,
    hash: &str,
    path: Option<&str>,
) -> Option<(String, String, Arc<Content>)> {
    let repos = world.repos(|repo| repo.object_id() == repo_id);
    let repo = repos.first()?;
    let fits = |name: &str, file: &StoredFile| {
        path.is_none_or(|path| path == name) && file.xet_hash().ok().flatten().as_deref() == Some(hash)
    };
    repo.commits.iter().rev().find_map(|commit| {
        let (name, file) = commit.files.iter().find(|(name, file)| fits(name, file))?;
        Some((repo.web_path(), name.clone(), Arc::clone(&file.content)))
    })
}

/// A bridge URL at the Hub itself: no signature, and the Xet hash for an etag, without quotes.
pub(crate) fn local_bridge(context: &Context<'_>, repo_id: &str, hash: &str) -> Result<Response, Refusal> {
    let (repo, path, content) = bridge_file(context.world, repo_id, hash, None).ok_or(Refusal::NoSuchRoute)?;
    Ok(binary(range::serve(context.request, &content, hash)).about(&repo, &path))
}

/// The CDN: a signed URL or nothing.
pub(crate) fn cdn(world: &World, request: &Request, refuse_unranged_above: Option<u64>, now: i64) -> Response {
    let refuse = |status: u16, code: &str, message: &str| {
        let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>");
        Response::new(status)
            .with("Content-Type", "application/xml")
            .with_body(body)
    };
    if request.headers.get("authorization").is_some() {
        return refuse(400, "InvalidArgument", "Only one auth mechanism allowed");
    }
    let link = match Link::check(request, now, world.link_generation()) {
        Ok(link) => link,
        Err(BadLink::Missing) => {
            return refuse(403, "MissingKey", "Missing Key-Pair-Id query parameter or cookie value");
        }
        Err(BadLink::Tampered) => return refuse(403, "SignatureError", "Signature does not match"),
        Err(BadLink::Expired) => return refuse(403, "AccessDenied", "Access denied: request has expired"),
    };
    let Some((repo, path, content)) = bridge_file(world, &link.repo_id, &link.hash, Some(&link.path)) else {
        return refuse(404, "NoSuchKey", "The specified key does not exist.");
    };
    let unranged = request.method == "GET" && request.headers.get("range").is_none();
    if unranged && refuse_unranged_above.is_some_and(|limit| content.size() > limit) {
        return refuse(
            400,
            "InvalidRequest",
            "the file is too large to be served without a range",
        );
    }
    let response = range::serve(request, &content, &format!("\"{}\"", link.hash)).about(&repo, &path);
    binary(response).with("X-HF-CDN-Pop", "simulated")
}
