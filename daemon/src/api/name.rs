//! `NameService`.

use hfetch_proto::v1;
use tonic::{Request, Response, Status};

use super::{convert, identity::Caller};
use crate::{
    engine::{CallError, Engine, HubCall, Meaning, MeaningBy},
    hub::RepoSummary,
    model::RepoKind,
    names::{NameSource, Names},
};

const SEARCH_LIMIT: u32 = 20;
const SEARCH_LIMIT_MAX: u32 = 100;

pub(super) struct NameApi {
    pub(super) engine: Engine,
}

fn source(source: NameSource) -> v1::NameSource {
    match source {
        NameSource::UserAlias => v1::NameSource::UserAlias,
        NameSource::ConfigAlias => v1::NameSource::ConfigAlias,
        NameSource::BuiltIn => v1::NameSource::BuiltIn,
        NameSource::Literal => v1::NameSource::Literal,
    }
}

fn summary(repo: &RepoSummary) -> v1::RepoSummary {
    v1::RepoSummary {
        repo_id: repo.repo_id.to_string(),
        repo_type: convert::kind_to_wire(repo.kind).into(),
        bytes: repo.bytes,
        downloads: repo.downloads,
        likes: repo.likes,
        gated: repo.gated,
        task: repo.task.clone().unwrap_or_default(),
    }
}

#[tonic::async_trait]
impl v1::name_service_server::NameService for NameApi {
    async fn resolve_name(
        &self,
        request: Request<v1::ResolveNameRequest>,
    ) -> Result<Response<v1::ResolveNameResponse>, Status> {
        let uid = Caller::of(&request)?.owner.uid;
        let request = request.into_inner();
        let call = HubCall {
            uid,
            text: request.name,
            kind: convert::kind(request.repo_type)?,
            endpoints: request.endpoints,
            preferred_endpoint: request.preferred_endpoint,
            token: convert::token(&request.token)?,
            no_login: request.no_login,
        };
        let asked_kind = call.kind;
        let response = match self.engine.resolve_name(call).await? {
            Meaning::Unknown(near) => v1::ResolveNameResponse {
                candidates: near.iter().map(summary).collect(),
                ..Default::default()
            },
            Meaning::Found { reference, by } => {
                let (source, unchecked_reason) = match by {
                    MeaningBy::Table(table) => (source(table), String::new()),
                    MeaningBy::Hub => (v1::NameSource::Hub, String::new()),
                    MeaningBy::Unchecked(why) => (v1::NameSource::Literal, why),
                };
                let kind = reference.kind.or(asked_kind).unwrap_or(RepoKind::Model);
                v1::ResolveNameResponse {
                    repo_id: reference.repo_id.to_string(),
                    repo_type: convert::kind_to_wire(kind).into(),
                    revision: reference
                        .revision
                        .map(|revision| revision.to_string())
                        .unwrap_or_default(),
                    path_in_repo: reference.path.unwrap_or_default(),
                    source: source.into(),
                    candidates: Vec::new(),
                    unchecked_reason,
                }
            }
        };
        Ok(Response::new(response))
    }

    async fn search_repos(
        &self,
        request: Request<v1::SearchReposRequest>,
    ) -> Result<Response<v1::SearchReposResponse>, Status> {
        let uid = Caller::of(&request)?.owner.uid;
        let request = request.into_inner();
        if request.words.trim().is_empty() {
            return Err(CallError::invalid("words", "there is nothing to search for").into());
        }
        let limit = if request.limit == 0 {
            SEARCH_LIMIT
        } else {
            request.limit.min(SEARCH_LIMIT_MAX)
        };
        let call = HubCall {
            uid,
            text: request.words,
            kind: convert::kind(request.repo_type)?,
            endpoints: request.endpoints,
            preferred_endpoint: request.preferred_endpoint,
            token: convert::token(&request.token)?,
            no_login: request.no_login,
        };
        let repos = self.engine.search(call, limit).await?;
        Ok(Response::new(v1::SearchReposResponse {
            repos: repos.iter().map(summary).collect(),
        }))
    }

    async fn list_aliases(
        &self,
        request: Request<v1::ListAliasesRequest>,
    ) -> Result<Response<v1::ListAliasesResponse>, Status> {
        let uid = Caller::of(&request)?.owner.uid;
        let own = self.engine.aliases(uid).await?;
        let mut aliases: Vec<v1::Alias> = own
            .into_iter()
            .map(|(name, target)| v1::Alias {
                name,
                target,
                source: v1::NameSource::UserAlias.into(),
            })
            .collect();
        let names: Names = self.engine.names()?;
        aliases.extend(names.iter().map(|(name, target, from)| v1::Alias {
            name: name.to_owned(),
            target: target.to_string(),
            source: source(from).into(),
        }));
        Ok(Response::new(v1::ListAliasesResponse { aliases }))
    }

    async fn set_alias(&self, request: Request<v1::SetAliasRequest>) -> Result<Response<v1::SetAliasResponse>, Status> {
        let uid = Caller::of(&request)?.owner.uid;
        let request = request.into_inner();
        let mut call = HubCall {
            uid,
            text: request.target,
            kind: None,
            endpoints: Vec::new(),
            preferred_endpoint: request.preferred_endpoint,
            token: convert::token(&request.token)?,
            no_login: request.no_login,
        };
        let (name, target, replaced) = self.engine.set_alias(&request.name, &call).await?;
        // It is kept, whatever the Hub says.
        call.text.clone_from(&target);
        let doubt = self.engine.doubt_alias(call);
        let warnings = doubt.await.into_iter().collect();
        let alias = v1::Alias {
            name,
            target,
            source: v1::NameSource::UserAlias.into(),
        };
        Ok(Response::new(v1::SetAliasResponse {
            alias: Some(alias),
            replaced,
            warnings,
        }))
    }

    async fn remove_alias(
        &self,
        request: Request<v1::RemoveAliasRequest>,
    ) -> Result<Response<v1::RemoveAliasResponse>, Status> {
        let uid = Caller::of(&request)?.owner.uid;
        self.engine.remove_alias(uid, &request.into_inner().name).await?;
        Ok(Response::new(v1::RemoveAliasResponse {}))
    }
}
