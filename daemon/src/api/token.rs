//! `TokenService`.

use hfetch_proto::v1;
use tonic::{Request, Response, Status};

use super::{convert, identity::Caller};
use crate::{
    engine::{CallError, Engine, TokenCall, TokenSource},
    hub::Account,
};

pub(super) struct TokenApi {
    pub(super) engine: Engine,
}

fn call(uid: u32, endpoint: String, preferred_endpoint: String, token: &str) -> Result<TokenCall, CallError> {
    Ok(TokenCall {
        uid,
        endpoint,
        preferred_endpoint,
        token: convert::token(token)?,
        no_login: false,
    })
}

fn account(account: Account) -> v1::TokenAccount {
    v1::TokenAccount {
        name: account.name,
        token_name: account.token_name.unwrap_or_default(),
        role: account.role.unwrap_or_default(),
        orgs: account.orgs,
        expires_at: account.expires_at.map(convert::timestamp),
        scopes: account.scopes,
    }
}

#[tonic::async_trait]
impl v1::token_service_server::TokenService for TokenApi {
    async fn login(&self, request: Request<v1::LoginRequest>) -> Result<Response<v1::LoginResponse>, Status> {
        let uid = Caller::of(&request)?.owner.uid;
        let request = request.into_inner();
        let call = call(uid, request.endpoint, request.preferred_endpoint, &request.token)?;
        let identity = self.engine.login(call).await?;
        let mut response = v1::LoginResponse {
            endpoint: identity.endpoint,
            ..Default::default()
        };
        match identity.account {
            Ok(found) => response.account = found.map(account),
            Err(failure) => {
                response.hint = failure.hint_alone();
                response.problem = failure.message;
            }
        }
        Ok(Response::new(response))
    }

    async fn logout(&self, request: Request<v1::LogoutRequest>) -> Result<Response<v1::LogoutResponse>, Status> {
        let uid = Caller::of(&request)?.owner.uid;
        let request = request.into_inner();
        let call = call(uid, request.endpoint, request.preferred_endpoint, "")?;
        let (endpoint, removed) = self.engine.logout(call).await?;
        Ok(Response::new(v1::LogoutResponse { endpoint, removed }))
    }

    async fn who_am_i(&self, request: Request<v1::WhoAmIRequest>) -> Result<Response<v1::WhoAmIResponse>, Status> {
        let uid = Caller::of(&request)?.owner.uid;
        let request = request.into_inner();
        let mut call = call(uid, request.endpoint, request.preferred_endpoint, &request.token)?;
        call.no_login = request.no_login;
        let identity = self.engine.who_am_i(call).await?;
        let mut response = v1::WhoAmIResponse {
            endpoint: identity.endpoint,
            source: match identity.source {
                Some(TokenSource::Caller) => "caller",
                Some(TokenSource::Login) => "login",
                None => "",
            }
            .to_owned(),
            ..Default::default()
        };
        match identity.account {
            Ok(found) => response.account = found.map(account),
            Err(failure) => {
                response.hint = failure.hint_alone();
                response.problem = failure.message;
            }
        }
        Ok(Response::new(response))
    }
}
