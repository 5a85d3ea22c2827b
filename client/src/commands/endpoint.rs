//! `hfctl endpoint`: the Hub and its mirrors, and whether they do their part.

use hfetch_proto::v1::{EndpointState, JobSpec, ListEndpointsRequest, ProbeEndpointsRequest};
use jiff::Timestamp;

use crate::cli::{EndpointCommand, ProbeArgs};
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::paths::process_env;
use crate::resolve;
use crate::spec;
use crate::token::Token;
use crate::view::{endpoints, json};

pub(super) async fn run(context: &Context, command: EndpointCommand) -> Result<Exit, CliError> {
    match command {
        EndpointCommand::List => list(context).await,
        EndpointCommand::Probe(args) => probe(context, &args).await,
    }
}

async fn list(context: &Context) -> Result<Exit, CliError> {
    let daemon = context.dial().await?;
    let answer = daemon.endpoints().list_endpoints(ListEndpointsRequest {}).await?;
    let known = answer.into_inner().endpoints;
    let out = &context.out;
    if out.json {
        out.answer_json(&known.into_iter().map(json::EndpointJson::new).collect::<Vec<_>>())?;
    } else {
        out.answer(&endpoints::table(out, &known, Timestamp::now()))?;
    }
    Ok(Exit::Done)
}

/// Exit 1 when one of those asked does not do its part.
async fn probe(context: &Context, args: &ProbeArgs) -> Result<Exit, CliError> {
    let token = Token::for_wire(spec::token(&args.token, &context.cwd, &process_env)?);
    if let Some(warning) = spec::token_warning(&args.token) {
        context.out.warn(warning);
    }
    let daemon = context.dial().await?;
    let mut request = ProbeEndpointsRequest {
        endpoints: args.endpoints.clone(),
        repo_type: spec::repo_type(&args.kind)?.into(),
        revision: args.revision.clone().unwrap_or_default(),
        token: token.clone(),
        preferred_endpoint: spec::preferred_endpoint(&process_env),
        no_login: spec::no_login(&process_env),
        ..ProbeEndpointsRequest::default()
    };
    if let Some(name) = &args.repo {
        let wanted = JobSpec {
            name: name.clone(),
            repo_type: request.repo_type,
            revision: request.revision.clone(),
            endpoints: request.endpoints.clone(),
            preferred_endpoint: request.preferred_endpoint.clone(),
            ..JobSpec::default()
        };
        let meant = resolve::resolve(context, &daemon, &wanted, &token, "endpoint probe --repo").await?;
        request.repo_id = meant.repo_id;
        request.repo_type = meant.repo_type;
        request.revision = meant.revision;
    }
    let probed = daemon.endpoints().probe_endpoints(request).await?.into_inner();
    let good = |one: &hfetch_proto::v1::Endpoint| one.state() == EndpointState::Good;
    let all_good = probed.endpoints.iter().all(good);
    let out = &context.out;
    if out.json {
        out.answer_json(&json::ProbeJson::new(probed))?;
    } else {
        for note in &probed.notes {
            out.note(note);
        }
        out.note(&format!(
            "{} at commit {}, as {} lists it",
            probed.repo_id, probed.commit, probed.compared_with
        ));
        out.answer(&endpoints::table(out, &probed.endpoints, Timestamp::now()))?;
    }
    Ok(if all_good { Exit::Done } else { Exit::Failed })
}
