//! `hfctl daemon status`: whether a daemon runs, and which. Exit code 3 when none answers.

use jiff::Timestamp;

use super::server_info;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::view::details;
use crate::view::json::ServerJson;

pub(super) async fn run(context: &Context) -> Result<Exit, CliError> {
    let info = server_info(&context.dial().await?).await?;
    if context.out.json {
        context.out.answer_json(&ServerJson::new(info))?;
        return Ok(Exit::Done);
    }
    for warning in &info.config_warnings {
        context.out.warn(warning);
    }
    if info.version != env!("CARGO_PKG_VERSION") {
        context.out.warn(&format!(
            "hfetchd is version {}, hfctl {}",
            info.version,
            env!("CARGO_PKG_VERSION")
        ));
    }
    context.out.answer(&details::server(&info, Timestamp::now()))?;
    Ok(Exit::Done)
}
