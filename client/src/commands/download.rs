//! `hfctl download`: submit, follow, print the path as the only line on stdout. A drop-in for `hf download`.

use std::path::Path;

use hfetch_proto::v1::JobState;

use crate::cli::SubmitArgs;
use crate::commands::following;
use crate::commands::submission::{self, Outcome, Submitted};
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::spec;
use crate::view::json::JobJson;

pub(super) async fn run(context: &Context, args: &SubmitArgs) -> Result<Exit, CliError> {
    let submitted = match submission::run(context, args, "download").await? {
        Outcome::Queued(submitted) => *submitted,
        Outcome::Planned(exit) => return Ok(exit),
    };
    let Submitted {
        daemon,
        spec,
        job,
        existing,
    } = submitted;
    let ids = [job.id];
    let jobs = following::to_end(context, &daemon, &ids).await?;
    let exit = following::tell_ends(context, &jobs);
    for job in jobs {
        if context.out.json {
            context.out.answer_json(&JobJson::new(job).existing(existing))?;
        } else if job.state() == JobState::Done {
            context
                .out
                .answer_path(&answer_path(&job.path, spec::single_file(&spec)))?;
        }
    }
    Ok(exit)
}

/// The file when exactly one was named, else the directory: what `hf download` prints.
fn answer_path(directory: &str, single_file: Option<&str>) -> String {
    match single_file {
        Some(file) => Path::new(directory).join(file).to_string_lossy().into_owned(),
        None => directory.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::answer_path;

    #[test]
    fn the_path_is_the_files_when_one_was_named() {
        assert_eq!(answer_path("/hub/snapshots/1", None), "/hub/snapshots/1");
        assert_eq!(
            answer_path("/hub/snapshots/1", Some("a/b.json")),
            "/hub/snapshots/1/a/b.json"
        );
    }
}
