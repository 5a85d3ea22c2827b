//! The configuration files as they are now, beside what is in force: for those who ask how the daemon is.

use std::{sync::Arc, time::Duration};

use hfetch_proto::v1;
use jiff::{Timestamp, tz::TimeZone};
use tokio::time::timeout;

/// Compares the files with what is in force. Blocks on the disk.
pub type Look = Arc<dyn Fn() -> OnDisk + Send + Sync>;

/// A disk that does not answer keeps nobody from an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was found in the files.
#[derive(Debug, Clone)]
pub struct OnDisk {
    /// When the configuration in force was read.
    pub read_at: Timestamp,
    /// The keys that differ, or all mistakes, a line each.
    pub differs: Result<Vec<String>, String>,
}

/// Reads the files; `None` when the disk does not answer.
pub(super) async fn look(look: &Look) -> Option<OnDisk> {
    let look = look.clone();
    timeout(PATIENCE, tokio::task::spawn_blocking(move || look()))
        .await
        .ok()?
        .ok()
}

/// Mistakes quote the files, which others than operators may not be able to read.
pub(super) fn mistakes_for(operator: bool, mistakes: &str) -> String {
    match operator {
        true => mistakes.to_owned(),
        false => "their text is for operators".to_owned(),
    }
}

/// What `doctor` says of them.
pub(super) fn findings(found: Option<OnDisk>, operator: bool) -> Vec<v1::Finding> {
    let finding = |status: &str, message: String, hint: &str| v1::Finding {
        check: "config".to_owned(),
        status: status.to_owned(),
        message,
        hint: hint.to_owned(),
    };
    let Some(OnDisk { read_at, differs }) = found else {
        let text = "the configuration files cannot be read: the disk does not answer".to_owned();
        return vec![finding("warning", text, "look whether it is mounted")];
    };
    let read_at = read_at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S");
    match differs {
        Err(mistakes) => {
            let mistakes = mistakes_for(operator, &mistakes);
            let each = mistakes.lines().map(|mistake| {
                finding(
                    "broken",
                    format!(
                        "the files have mistakes now, and the daemon would not start with them (78); what was read at {read_at} is \
                         in force: {mistake}"
                    ),
                    "correct it, then `hfctl daemon reload`; `hfetchd --check-config` tells the same",
                )
            });
            each.collect()
        }
        Ok(keys) if keys.is_empty() => Vec::new(),
        Ok(keys) => vec![finding(
            "warning",
            format!(
                "the files were changed after {read_at}, and are not loaded: {}",
                keys.join(", ")
            ),
            "`hfctl daemon reload`",
        )],
    }
}
