//! `hfctl route`: which way leads to which host, and whether it works.

use hfetch_proto::v1::{ExplainRouteRequest, ExplainRouteResponse, JobSpec};

use crate::cli::{ExplainArgs, RouteCommand};
use crate::connect::Daemon;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::paths::process_env;
use crate::resolve;
use crate::spec;
use crate::token::Token;
use crate::view::{json, routes};

pub(super) async fn run(context: &Context, command: RouteCommand) -> Result<Exit, CliError> {
    let RouteCommand::Explain(args) = command;
    let token = Token::for_wire(spec::token(&args.token, &context.cwd, &process_env)?);
    if let Some(warning) = spec::token_warning(&args.token) {
        context.out.warn(warning);
    }
    let daemon = context.dial().await?;
    let request = request(context, &daemon, &args, token).await?;
    let explained = daemon.routes().explain_route(request).await?.into_inner();
    tell(context, explained)
}

async fn request(
    context: &Context,
    daemon: &Daemon,
    args: &ExplainArgs,
    token: String,
) -> Result<ExplainRouteRequest, CliError> {
    let spec = JobSpec {
        name: args.name.clone(),
        repo_type: spec::repo_type(&args.repo)?.into(),
        revision: args.revision.clone().unwrap_or_default(),
        endpoints: args.endpoint.clone(),
        preferred_endpoint: spec::preferred_endpoint(&process_env),
        ..JobSpec::default()
    };
    let mut request = ExplainRouteRequest {
        measure: args.measure,
        no_login: spec::no_login(&process_env),
        ..ExplainRouteRequest::default()
    };
    if args.name.starts_with("http://") || args.name.starts_with("https://") {
        request.url.clone_from(&args.name);
    } else {
        let meant = resolve::resolve(context, daemon, &spec, &token, "route explain").await?;
        request.repo_id = meant.repo_id;
        request.repo_type = meant.repo_type;
        request.revision = meant.revision;
        request.token = token;
    }
    request.endpoints = spec.endpoints;
    request.preferred_endpoint = spec.preferred_endpoint;
    Ok(request)
}

/// Exit 1 when a host does not answer: the answer to "does it work" is then no.
fn tell(context: &Context, explained: ExplainRouteResponse) -> Result<Exit, CliError> {
    let broken = explained.hosts.iter().any(|host| !host.error.is_empty());
    let unlisted = explained.hosts.is_empty();
    if context.out.json {
        context.out.answer_json(&json::ExplanationJson::new(explained))?;
    } else {
        for note in &explained.notes {
            context.out.note(note);
        }
        context.out.answer(&routes::hosts(&context.out, &explained.hosts))?;
    }
    Ok(if broken || unlisted { Exit::Failed } else { Exit::Done })
}
