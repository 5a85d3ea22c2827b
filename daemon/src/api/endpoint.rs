//! `EndpointService`.

use hfetch_proto::v1;
use tonic::{Request, Response, Status};

use super::{convert, identity::Caller};
use crate::{
    config::TokenPolicy,
    engine::{CallError, EndpointView, Engine, ProbeCall},
    model::{RepoId, RepoKind, Revision},
};

pub(super) struct EndpointApi {
    pub(super) engine: Engine,
}

fn endpoint(view: EndpointView) -> v1::Endpoint {
    let mut wire = v1::Endpoint {
        name: view.endpoint.name().to_owned(),
        url: view.endpoint.base().as_str().trim_end_matches('/').to_owned(),
        token: match view.token {
            TokenPolicy::Own => "own",
            TokenPolicy::Never => "never",
        }
        .to_owned(),
        trust: view.trust.as_str().to_owned(),
        state: v1::EndpointState::Unknown.into(),
        ..v1::Endpoint::default()
    };
    if let Some(judgement) = view.judgement {
        let finding = judgement.finding;
        let state = match finding.is_good() {
            true => v1::EndpointState::Good,
            false => v1::EndpointState::Bad,
        };
        wire.state = state.into();
        wire.fault = finding.fault.map_or("", |fault| fault.as_str()).to_owned();
        wire.reason = finding.detail;
        wire.lists = finding.lists;
        wire.serves = finding.serves.as_str().to_owned();
        wire.ends_at = finding.ends_at;
        wire.checked_at = Some(convert::timestamp(judgement.at));
        wire.expires_at = Some(convert::timestamp(judgement.until));
    }
    if let Some(about) = view.about {
        wire.repo_id = about.repo_id.to_string();
        wire.repo_type = convert::kind_to_wire(about.kind).into();
        wire.commit = about.commit.to_string();
    }
    if let Some(stats) = view.stats {
        wire.bytes_per_sec = Some(stats.bytes_per_sec);
        wire.first_byte_ms = Some(stats.first_byte_ms);
        wire.measured_at = Some(convert::timestamp(stats.at));
    }
    wire
}

#[tonic::async_trait]
impl v1::endpoint_service_server::EndpointService for EndpointApi {
    async fn list_endpoints(
        &self,
        request: Request<v1::ListEndpointsRequest>,
    ) -> Result<Response<v1::ListEndpointsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let views = self.engine.endpoints(caller.scope(), caller.owner.uid).await?;
        Ok(Response::new(v1::ListEndpointsResponse {
            endpoints: views.into_iter().map(endpoint).collect(),
        }))
    }

    async fn probe_endpoints(
        &self,
        request: Request<v1::ProbeEndpointsRequest>,
    ) -> Result<Response<v1::ProbeEndpointsResponse>, Status> {
        let owner = Caller::of(&request)?.owner;
        let request = request.into_inner();
        let kind = convert::kind(request.repo_type)?.unwrap_or(RepoKind::Model);
        let repo = match request.repo_id.as_str() {
            "" => None,
            text => Some((
                kind,
                RepoId::parse(text).map_err(|error| CallError::invalid("repo_id", error))?,
            )),
        };
        let revision = match request.revision.as_str() {
            "" => Revision::main(),
            text => Revision::parse(text).map_err(|error| CallError::invalid("revision", error))?,
        };
        let call = ProbeCall {
            owner,
            endpoints: request.endpoints,
            repo,
            revision,
            token: convert::token(&request.token)?,
            preferred_endpoint: request.preferred_endpoint,
            no_login: request.no_login,
        };
        let probed = self.engine.probe_endpoints(call).await?;
        let (commit, compared_with) = probed.reference.unwrap_or_default();
        Ok(Response::new(v1::ProbeEndpointsResponse {
            endpoints: probed.endpoints.into_iter().map(endpoint).collect(),
            repo_id: probed.repo.1.to_string(),
            repo_type: convert::kind_to_wire(probed.repo.0).into(),
            commit,
            compared_with,
            notes: probed.notes,
        }))
    }
}
