//! `hfctl daemon reload`: the daemon reads its configuration again.

use hfetch_proto::v1::ReloadRequest;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::view::details;
use crate::view::json::ReloadJson;

pub(super) async fn run(context: &Context) -> Result<Exit, CliError> {
    let daemon = context.dial().await?;
    match daemon.admin().reload(ReloadRequest {}).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            match context.out.json {
                true => context.out.answer_json(&ReloadJson::new(answer))?,
                false => context.out.answer(&details::reload(&answer))?,
            }
            Ok(Exit::Done)
        }
        // The files are wrong, not the command line: no usage error.
        Err(status) if status.code() == tonic::Code::InvalidArgument => {
            let text = format!(
                "the configuration has mistakes, the old one stays in force:\n{}",
                status.message()
            );
            Err(CliError::new(Exit::Failed, text))
        }
        Err(status) => Err(status.into()),
    }
}
