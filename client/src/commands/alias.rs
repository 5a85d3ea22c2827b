//! `hfctl alias`: short names for repositories.

use hfetch_proto::v1::{ListAliasesRequest, RemoveAliasRequest, SetAliasRequest};

use crate::cli::AliasCommand;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::paths::process_env;
use crate::spec;
use crate::token::{self, Token};
use crate::view::json::{AliasJson, RemovedAliasJson};
use crate::view::{human, table};

pub(super) async fn run(context: &Context, command: AliasCommand) -> Result<Exit, CliError> {
    let mut names = context.dial().await?.names();
    let out = &context.out;
    match command {
        AliasCommand::List => {
            let aliases = names.list_aliases(ListAliasesRequest {}).await?.into_inner().aliases;
            if out.json {
                out.answer_json(&aliases.into_iter().map(AliasJson::new).collect::<Vec<_>>())?;
            } else if aliases.is_empty() {
                out.note("no aliases");
            } else {
                out.answer(&table::aliases(out, &aliases))?;
            }
        }
        AliasCommand::Add { name, target } => {
            let request = SetAliasRequest {
                name,
                target,
                preferred_endpoint: spec::preferred_endpoint(&process_env),
                token: Token::for_wire(token::find(None, None, &context.cwd, &process_env, &token::read_file)?),
                no_login: spec::no_login(&process_env),
            };
            let answer = names.set_alias(request).await?.into_inner();
            let alias = answer.alias.unwrap_or_default();
            if out.json {
                out.answer_json(&AliasJson::new(alias))?;
            } else {
                let verb = if answer.replaced { "replaced" } else { "added" };
                out.answer(&format!(
                    "{verb} {} -> {}",
                    human::clean(&alias.name),
                    human::clean(&alias.target)
                ))?;
            }
            for warning in &answer.warnings {
                out.warn(warning);
            }
        }
        AliasCommand::Remove { name } => {
            names.remove_alias(RemoveAliasRequest { name: name.clone() }).await?;
            let removed = true;
            match out.json {
                true => out.answer_json(&RemovedAliasJson { name: &name, removed })?,
                false => out.note(&format!("removed {}", human::clean(&name))),
            }
        }
    }
    Ok(Exit::Done)
}
