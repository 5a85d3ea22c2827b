//! `RouteService`.

use hfetch_proto::v1;
use tonic::{Request, Response, Status};

use super::{convert, identity::Caller};
use crate::{
    engine::{CallError, Engine, HostRoute, RouteCall, RouteSubject, millis},
    hub::Way,
    model::{RepoId, RepoKind, Revision},
};

pub(super) struct RouteApi {
    pub(super) engine: Engine,
}

fn subject(request: &v1::ExplainRouteRequest) -> Result<RouteSubject, CallError> {
    if !request.url.is_empty() {
        let url: url::Url = request
            .url
            .parse()
            .map_err(|_| CallError::invalid("url", "is no address; write for example https://huggingface.co"))?;
        return Ok(RouteSubject::Address(url));
    }
    let repo_id = RepoId::parse(&request.repo_id).map_err(|error| CallError::invalid("repo_id", error))?;
    let revision = match request.revision.as_str() {
        "" => Revision::main(),
        text => Revision::parse(text).map_err(|error| CallError::invalid("revision", error))?,
    };
    let kind = convert::kind(request.repo_type)?.unwrap_or(RepoKind::Model);
    Ok(RouteSubject::Repo(kind, repo_id, revision))
}

fn host(route: HostRoute) -> v1::HostRoute {
    let HostRoute { roles, hop, readings } = route;
    v1::HostRoute {
        host: hop.host,
        roles: roles.into_iter().map(str::to_owned).collect(),
        rule: hop.decision.by,
        ways: hop.decision.ways.iter().map(|way| way.name().to_owned()).collect(),
        way: hop.way.as_ref().map(Way::name).unwrap_or_default().to_owned(),
        answers: hop.first_byte.is_some() && hop.error.is_none(),
        first_byte_ms: hop.first_byte.map(millis),
        error: hop.error.unwrap_or_default(),
        readings: readings
            .into_iter()
            .map(|(way, chosen, reading)| v1::WayReading {
                way: way.name().to_owned(),
                chosen,
                answers: reading.error.is_none(),
                first_byte_ms: reading.first_byte.map(millis),
                bytes: reading.bytes,
                bytes_per_sec: reading.bytes_per_sec,
                error: reading.error.unwrap_or_default(),
            })
            .collect(),
        saw_token: hop.saw_token,
    }
}

#[tonic::async_trait]
impl v1::route_service_server::RouteService for RouteApi {
    async fn explain_route(
        &self,
        request: Request<v1::ExplainRouteRequest>,
    ) -> Result<Response<v1::ExplainRouteResponse>, Status> {
        let owner = Caller::of(&request)?.owner;
        let request = request.into_inner();
        let call = RouteCall {
            owner,
            subject: subject(&request)?,
            token: convert::token(&request.token)?,
            endpoints: request.endpoints,
            preferred_endpoint: request.preferred_endpoint,
            measure: request.measure,
            no_login: request.no_login,
        };
        let explained = self.engine.explain_route(call).await?;
        Ok(Response::new(v1::ExplainRouteResponse {
            hosts: explained.hosts.into_iter().map(host).collect(),
            notes: explained.notes,
        }))
    }

    async fn list_job_routes(
        &self,
        request: Request<v1::ListJobRoutesRequest>,
    ) -> Result<Response<v1::ListJobRoutesResponse>, Status> {
        let scope = Caller::of(&request)?.scope();
        let id = self.engine.find_job(scope, &request.into_inner().id).await?;
        let job = self.engine.job(scope, &id).await?;
        let routes = self.engine.job_routes(&job).await?;
        Ok(Response::new(v1::ListJobRoutesResponse {
            routes: routes
                .into_iter()
                .map(|one| v1::JobRoute {
                    host: one.route.host,
                    way: one.route.way,
                    rule: one.route.rule,
                    requests: one.spent.requests,
                    bytes: one.spent.bytes,
                })
                .collect(),
        }))
    }
}
