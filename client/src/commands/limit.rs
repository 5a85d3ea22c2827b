//! `hfctl limit`: the limit of all downloads together.

use hfetch_proto::v1::{GetLimitRequest, SetLimitRequest};
use jiff::Timestamp;

use crate::cli::LimitArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::view::bandwidth::{self, LimitJson};

pub(super) async fn run(context: &Context, args: &LimitArgs) -> Result<Exit, CliError> {
    let mut daemon = context.dial().await?.bandwidth();
    let limit = if args.limit.is_empty() && !args.reset {
        daemon.get_limit(GetLimitRequest {}).await?.into_inner().limit
    } else {
        let request = SetLimitRequest {
            // A timetable may come in one word or in many.
            limit: args.limit.join(" "),
            for_sec: args.duration.map(|time| time.as_secs()),
        };
        daemon.set_limit(request).await?.into_inner().limit
    };
    let limit = limit.unwrap_or_default();
    if context.out.json {
        context.out.answer_json(&LimitJson::new(limit))?;
    } else {
        context.out.answer(&bandwidth::limit(&limit, Timestamp::now()))?;
    }
    Ok(Exit::Done)
}
