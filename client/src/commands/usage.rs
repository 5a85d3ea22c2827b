//! `hfctl usage`: what came over the network.

use hfetch_proto::v1::{GetUsageRequest, UsageKey};

use crate::cli::{UsageArgs, UsageByArg};
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::retry::retrying;
use crate::view::usage::{self, UsageJson};

fn key(by: UsageByArg) -> UsageKey {
    match by {
        UsageByArg::Day => UsageKey::Day,
        UsageByArg::User => UsageKey::User,
        UsageByArg::Endpoint => UsageKey::Endpoint,
        UsageByArg::Host => UsageKey::Host,
        UsageByArg::Route => UsageKey::Route,
    }
}

pub(super) async fn run(context: &Context, args: &UsageArgs) -> Result<Exit, CliError> {
    let daemon = context.dial().await?;
    let request = GetUsageRequest {
        since: args.since.map(|day| day.to_string()).unwrap_or_default(),
        days: args.days.unwrap_or_default(),
        by: args.by.iter().map(|by| key(*by).into()).collect(),
        user: args.user.clone().unwrap_or_default(),
    };
    let answer = retrying(|| {
        let (mut ledger, request) = (daemon.usage(), request.clone());
        async move { ledger.get_usage(request).await }
    })
    .await?;
    if context.out.json {
        context.out.answer_json(&UsageJson::new(answer))?;
    } else {
        context.out.answer(&usage::table(&context.out, &args.by, &answer))?;
    }
    Ok(Exit::Done)
}
