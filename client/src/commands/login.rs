//! `hfctl login`, `logout` and `whoami`: the user's Hub token, which goes in and never comes out again.

use hfetch_proto::v1::{LoginRequest, LogoutRequest, WhoAmIRequest};

use crate::cli::{LoginArgs, LogoutArgs, WhoamiArgs};
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::paths::{Env, process_env};
use crate::spec;
use crate::token::{self, Token};
use crate::view::json::{IdentityJson, LogoutJson};
use crate::view::{details, secret};

/// Where accounts are, unless somebody says otherwise.
const HUB: &str = "https://huggingface.co";

pub(super) async fn log_in(context: &Context, args: &LoginArgs) -> Result<Exit, CliError> {
    let token = typed_or_found(context, args).await?;
    let request = LoginRequest {
        endpoint: args.endpoint.clone().unwrap_or_default(),
        preferred_endpoint: spec::preferred_endpoint(&process_env),
        token: Token::for_wire(Some(token)),
    };
    let answer = context.dial().await?.tokens().login(request).await?.into_inner();
    if !answer.problem.is_empty() {
        return Err(CliError::new(Exit::Failed, answer.problem).hint(answer.hint));
    }
    let account = answer.account.unwrap_or_default();
    if context.out.json {
        context
            .out
            .answer_json(&IdentityJson::new(answer.endpoint, "login", account))?;
    } else {
        context.out.answer(&format!(
            "logged in at {}\n{}",
            answer.endpoint,
            details::account(&account)
        ))?;
    }
    Ok(Exit::Done)
}

/// From a file, the terminal, standard input, or the login of `hf`: in this order.
async fn typed_or_found(context: &Context, args: &LoginArgs) -> Result<Token, CliError> {
    let find = |file: Option<&str>| token::find(file, None, &context.cwd, &process_env, &token::read_file);
    let nothing = || {
        CliError::usage("there is no token: none was typed, and there is no login of `hf`").hint(format!(
            "make one at {}, then `hfctl login` again",
            tokens_page(args.endpoint.as_deref(), &process_env)
        ))
    };
    if args.token_file.is_some() {
        return find(args.token_file.as_deref())?.ok_or_else(nothing);
    }
    let typed = secret::ask("Token (not shown; Enter alone takes the one of `hf auth login`): ").await?;
    match Token::parse(&typed) {
        Some(token) => Ok(token),
        None => find(None)?.ok_or_else(nothing),
    }
}

/// Where tokens are made: at the endpoint of the command or of the shell, as far as it has pages of its own, else at the Hub.
fn tokens_page(endpoint: Option<&str>, env: Env<'_>) -> String {
    let named = endpoint.filter(|endpoint| endpoint.contains("://")).map(str::to_owned);
    let said = named.unwrap_or_else(|| spec::preferred_endpoint(env));
    let base = match said.trim_end_matches('/') {
        "" => HUB,
        // It passes on what the Hub says, and has no accounts.
        mirror if mirror.contains("hf-mirror.com") => HUB,
        own => own,
    };
    format!("{base}/settings/tokens")
}

pub(super) async fn log_out(context: &Context, args: &LogoutArgs) -> Result<Exit, CliError> {
    let request = LogoutRequest {
        endpoint: args.endpoint.clone().unwrap_or_default(),
        preferred_endpoint: spec::preferred_endpoint(&process_env),
    };
    let answer = context.dial().await?.tokens().logout(request).await?.into_inner();
    if context.out.json {
        let (endpoint, removed) = (answer.endpoint, answer.removed);
        context.out.answer_json(&LogoutJson { endpoint, removed })?;
        return Ok(Exit::Done);
    }
    let text = match answer.removed {
        true => format!("logged out at {}: the daemon has forgotten the token", answer.endpoint),
        false => format!("you were not logged in at {}", answer.endpoint),
    };
    context.out.note(&text);
    Ok(Exit::Done)
}

pub(super) async fn who_am_i(context: &Context, args: &WhoamiArgs) -> Result<Exit, CliError> {
    if let Some(warning) = spec::token_warning(&args.token) {
        context.out.warn(warning);
    }
    let token = spec::token(&args.token, &context.cwd, &process_env)?;
    let request = WhoAmIRequest {
        endpoint: args.endpoint.clone().unwrap_or_default(),
        preferred_endpoint: spec::preferred_endpoint(&process_env),
        token: Token::for_wire(token),
        no_login: spec::no_login(&process_env),
    };
    let answer = context.dial().await?.tokens().who_am_i(request).await?.into_inner();
    if !answer.problem.is_empty() {
        return Err(CliError::new(Exit::Failed, answer.problem).hint(answer.hint));
    }
    let Some(account) = answer.account else {
        let text = format!("no token is sent to {}: downloads are anonymous", answer.endpoint);
        return Err(CliError::new(Exit::Failed, text).hint("`hfctl login`, `hf auth login` or HF_TOKEN"));
    };
    if context.out.json {
        context
            .out
            .answer_json(&IdentityJson::new(answer.endpoint, &answer.source, account))?;
    } else {
        let source = match answer.source.as_str() {
            "login" => "left with the daemon by `hfctl login`",
            _ => "yours, from --token-file, HF_TOKEN or `hf auth login`",
        };
        let text = format!(
            "{}\nendpoint:      {}\nfrom:          {source}",
            details::account(&account),
            answer.endpoint
        );
        context.out.answer(&text)?;
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_made_where_the_account_is() {
        let check = |endpoint: Option<&str>, variable: &str, expected: &str| {
            let env = |name: &str| (name == "HF_ENDPOINT").then(|| variable.into());
            assert_eq!(tokens_page(endpoint, &env), format!("{expected}/settings/tokens"));
        };
        check(None, "", HUB);
        check(None, "https://hf-mirror.com", HUB);
        check(None, "https://hub.example/hf/", "https://hub.example/hf");
        check(Some("my-hub"), "", HUB);
        check(
            Some("https://other.example/"),
            "https://hub.example",
            "https://other.example",
        );
    }
}
