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
    for mistake in info.config_mistakes.lines() {
        context
            .out
            .warn(&format!("mistake in the configuration files: {mistake}"));
    }
    if !info.config_mistakes.is_empty() {
        context
            .out
            .warn("hfetchd would not start again before they are corrected; then: hfctl daemon reload");
    }
    match info.config_not_loaded.as_slice() {
        [] if details::changed(&info) && info.config_mistakes.is_empty() => context
            .out
            .warn("not all that the configuration files say is in force; an operator loads them: hfctl daemon reload"),
        [] => {}
        keys => {
            let keys = keys.join(", ");
            context
                .out
                .warn(&format!("changed, not in force: {keys}; load it: hfctl daemon reload, and what that leaves: hfctl daemon restart"));
        }
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
