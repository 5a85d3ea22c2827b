//! `hfctl cache`: what is on disk.

use hfetch_proto::v1::{
    CacheTarget, CacheVerdict, ListCacheRequest, PruneCacheRequest, RemoveCachedRequest, RepoType, SetPinsRequest,
    VerifyCacheRequest,
};
use jiff::Timestamp;

use crate::cli::{CacheCommand, RepoArgs};
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::spec;
use crate::view::cache as view;
use crate::view::human;
use crate::view::json::cache::{CachedRepoJson, PinsJson, SweptJson, VerifiedJson};

pub(super) async fn run(context: &Context, command: CacheCommand) -> Result<Exit, CliError> {
    match command {
        CacheCommand::List => list(context).await,
        CacheCommand::Verify(args) => verify(context, targets(&args.targets, &args.kind)?).await,
        CacheCommand::Prune(sure) => {
            let mut caches = context.dial().await?.caches();
            let request = PruneCacheRequest { dry_run: !sure.yes };
            let repos = caches.prune_cache(request).await?.into_inner().repos;
            tell_swept(context, repos, sure.yes)
        }
        CacheCommand::Rm { targets: args, sure } => {
            let targets = targets(&args.targets, &args.kind)?;
            let mut caches = context.dial().await?.caches();
            let dry_run = !sure.yes;
            let request = RemoveCachedRequest { targets, dry_run };
            let repos = caches.remove_cached(request).await?.into_inner().repos;
            tell_swept(context, repos, sure.yes)
        }
        CacheCommand::Pin(args) => pin(context, targets(&args.targets, &args.kind)?, true).await,
        CacheCommand::Unpin(args) => pin(context, targets(&args.targets, &args.kind)?, false).await,
    }
}

async fn list(context: &Context) -> Result<Exit, CliError> {
    let mut caches = context.dial().await?.caches();
    let repos = caches.list_cache(ListCacheRequest {}).await?.into_inner().repos;
    let out = &context.out;
    if out.json {
        let repos: Vec<_> = repos.into_iter().map(CachedRepoJson::new).collect();
        out.answer_json(&repos)?;
    } else if repos.is_empty() {
        out.note("the cache is empty");
    } else {
        out.answer(&view::list(out, &repos, Timestamp::now()))?;
        out.note(&view::total(&repos));
    }
    Ok(Exit::Done)
}

async fn verify(context: &Context, targets: Vec<CacheTarget>) -> Result<Exit, CliError> {
    let mut caches = context.dial().await?.caches();
    let mut files = caches.verify_cache(VerifyCacheRequest { targets }).await?.into_inner();
    let out = &context.out;
    let (mut sound, mut unknown, mut bad, mut bytes) = (0, 0, 0, 0);
    while let Some(file) = files.message().await? {
        match file.verdict() {
            CacheVerdict::Sound => sound += 1,
            CacheVerdict::Unknown => unknown += 1,
            CacheVerdict::Wrong | CacheVerdict::Broken | CacheVerdict::Unspecified => bad += 1,
        }
        bytes += file.bytes;
        if out.json {
            out.answer_json_line(&VerifiedJson::new(file))?;
        } else if file.verdict() != CacheVerdict::Sound {
            out.answer(&view::verified(&file))?;
        }
    }
    let unknown = match unknown {
        0 => String::new(),
        count => format!(", {} without a hash to compare with", human::count(count)),
    };
    out.note(&format!(
        "{} sound{unknown}, {} bad; {} looked at",
        human::plural(sound, "file"),
        human::count(bad),
        human::bytes(bytes)
    ));
    if bad > 0 {
        let message = "files in the cache are not what they are called";
        return Err(CliError::new(Exit::Failed, message)
            .hint("`hfctl submit` of the same repository fetches what is wrong again"));
    }
    Ok(Exit::Done)
}

fn tell_swept(context: &Context, repos: Vec<hfetch_proto::v1::SweptRepo>, done: bool) -> Result<Exit, CliError> {
    let out = &context.out;
    let something = repos
        .iter()
        .any(|repo| !repo.revisions.is_empty() || repo.blobs_removed > 0 || repo.partial_bytes_freed > 0);
    if out.json {
        let repos: Vec<_> = repos.into_iter().map(SweptJson::new).collect();
        out.answer_json(&repos)?;
        return Ok(Exit::Done);
    }
    if repos.is_empty() {
        out.note("there is nothing to remove");
        return Ok(Exit::Done);
    }
    out.answer(&view::swept(&repos, done))?;
    if something && !done {
        out.note("nothing is removed yet: the same with --yes does it");
    }
    Ok(Exit::Done)
}

async fn pin(context: &Context, targets: Vec<CacheTarget>, pinned: bool) -> Result<Exit, CliError> {
    let mut caches = context.dial().await?.caches();
    let answer = caches.set_pins(SetPinsRequest { targets, pinned }).await?.into_inner();
    let verb = if pinned { "pinned" } else { "unpinned" };
    let count = human::plural(answer.revisions_changed, "revision");
    context.out.note(&format!("{count} {verb}"));
    if context.out.json {
        let revisions_changed = answer.revisions_changed;
        context.out.answer_json(&PinsJson {
            pinned,
            revisions_changed,
        })?;
    }
    Ok(Exit::Done)
}

fn targets(texts: &[String], kind: &RepoArgs) -> Result<Vec<CacheTarget>, CliError> {
    let kind = spec::repo_type(kind)?;
    texts.iter().map(|text| target(text, kind)).collect()
}

/// `org/name`, `datasets/org/name`, each with or without `@revision`.
fn target(text: &str, kind: RepoType) -> Result<CacheTarget, CliError> {
    let (name, revision) = match text.split_once('@') {
        Some((_, "")) => return Err(CliError::usage(format!("`{text}` names no revision after @"))),
        Some(parts) => parts,
        None => (text, ""),
    };
    let prefixes = [
        ("models/", RepoType::Model),
        ("datasets/", RepoType::Dataset),
        ("spaces/", RepoType::Space),
    ];
    let said = prefixes
        .into_iter()
        .find_map(|(prefix, kind)| Some((name.strip_prefix(prefix)?, kind)));
    let (repo_id, repo_type) = match said {
        Some((_, said)) if kind != RepoType::Unspecified && kind != said => {
            return Err(CliError::usage(format!("`{text}` contradicts --repo-type")));
        }
        Some(found) => found,
        None => (name, kind),
    };
    Ok(CacheTarget {
        repo_type: repo_type.into(),
        repo_id: repo_id.to_owned(),
        revision: revision.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_as_typed() {
        let check = |text: &str, kind, expected: (RepoType, &str, &str)| {
            let target = target(text, kind).expect(text);
            let found = (target.repo_type(), target.repo_id.as_str(), target.revision.as_str());
            assert_eq!(found, expected, "{text}");
        };
        check("gpt2", RepoType::Unspecified, (RepoType::Unspecified, "gpt2", ""));
        check("org/x@v1", RepoType::Dataset, (RepoType::Dataset, "org/x", "v1"));
        check(
            "datasets/org/x@refs/pr/1",
            RepoType::Unspecified,
            (RepoType::Dataset, "org/x", "refs/pr/1"),
        );
        assert_eq!(target("org/x@", RepoType::Model).unwrap_err().exit(), Exit::Usage);
        assert_eq!(
            target("datasets/org/x", RepoType::Model).unwrap_err().exit(),
            Exit::Usage
        );
    }
}
