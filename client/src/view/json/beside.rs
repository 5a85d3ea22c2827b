//! What some commands tell of a job beside the usual.

use hfetch_proto::v1;

use super::{FileJson, FilesJson, JobJson};

impl JobJson {
    /// Tells whether the request id was known (`submit`).
    pub(crate) fn existing(self, existing: bool) -> JobJson {
        JobJson {
            existing: Some(existing),
            ..self
        }
    }

    /// Puts what became of every file in place of the names (`show --files`).
    pub(crate) fn with_files(self, files: Vec<v1::File>) -> JobJson {
        JobJson {
            files: FilesJson::Listed(files.into_iter().map(FileJson::new).collect()),
            ..self
        }
    }
}
