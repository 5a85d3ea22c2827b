//! `hfctl search`: repositories of the Hub by words.

use hfetch_proto::v1::SearchReposRequest;

use crate::cli::SearchArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::paths::process_env;
use crate::retry::retrying;
use crate::spec;
use crate::token::Token;
use crate::view::json::RepoJson;
use crate::view::table;

pub(super) async fn run(context: &Context, args: &SearchArgs) -> Result<Exit, CliError> {
    let token = Token::for_wire(spec::token(&args.token, &context.cwd, &process_env)?);
    if let Some(warning) = spec::token_warning(&args.token) {
        context.out.warn(warning);
    }
    let request = SearchReposRequest {
        words: args.words.join(" "),
        repo_type: spec::repo_type(&args.repo)?.into(),
        limit: args.limit.unwrap_or(0),
        endpoints: args.endpoint.clone(),
        preferred_endpoint: spec::preferred_endpoint(&process_env),
        token,
        no_login: spec::no_login(&process_env),
    };
    let daemon = context.dial().await?;
    let repos = retrying(|| {
        let (mut names, request) = (daemon.names(), request.clone());
        async move { names.search_repos(request).await }
    })
    .await?
    .repos;
    if context.out.json {
        context
            .out
            .answer_json(&repos.into_iter().map(RepoJson::new).collect::<Vec<_>>())?;
    } else if repos.is_empty() {
        context.out.note("the Hub knows no repository with these words");
    } else {
        context.out.answer(&table::repos(&context.out, &repos))?;
    }
    Ok(Exit::Done)
}
