//! `DoctorService`.

use hfetch_proto::v1;
use tonic::{Request, Response, Status};

use super::{
    convert,
    identity::Caller,
    on_disk::{self, Files},
};
use crate::engine::{Engine, Finding, Health, TokenCall};

pub(super) struct DoctorApi {
    pub(super) engine: Engine,
    pub(super) files: Files,
}

fn finding(finding: Finding) -> v1::Finding {
    v1::Finding {
        check: finding.check.to_owned(),
        status: match finding.health {
            Health::Ok => "ok",
            Health::Warning => "warning",
            Health::Broken => "broken",
        }
        .to_owned(),
        message: finding.message,
        hint: finding.hint,
    }
}

#[tonic::async_trait]
impl v1::doctor_service_server::DoctorService for DoctorApi {
    async fn examine(&self, request: Request<v1::ExamineRequest>) -> Result<Response<v1::ExamineResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let call = TokenCall {
            uid: caller.owner.uid,
            endpoint: String::new(),
            preferred_endpoint: request.preferred_endpoint,
            token: convert::token(&request.token)?,
            no_login: request.no_login,
        };
        let mut findings = on_disk::findings(self.files.look().await, caller.operator);
        findings.extend(self.engine.examine(call).await?.into_iter().map(finding));
        Ok(Response::new(v1::ExamineResponse { findings }))
    }
}
