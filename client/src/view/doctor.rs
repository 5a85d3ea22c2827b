//! Findings of `doctor`: a line each, with what to do below it.

use clap::builder::styling::{AnsiColor, Style};
use hfetch_proto::v1::Finding;
use serde::Serialize;

use super::{Out, human};
use crate::error::CliError;

#[derive(Debug, Serialize)]
struct ReportJson {
    broken: usize,
    warnings: usize,
    findings: Vec<FindingJson>,
}

#[derive(Debug, Serialize)]
struct FindingJson {
    check: String,
    status: String,
    message: String,
    hint: Option<String>,
}

/// Tells all findings.
///
/// # Errors
/// When stdout does not take them.
pub(crate) fn tell(out: &Out, findings: Vec<Finding>) -> Result<(), CliError> {
    let count = |status: &str| findings.iter().filter(|finding| finding.status == status).count();
    let (broken, warnings) = (count("broken"), count("warning"));
    if out.json {
        let findings = findings.into_iter().map(|finding| FindingJson {
            check: finding.check,
            status: finding.status,
            message: finding.message,
            hint: (!finding.hint.is_empty()).then_some(finding.hint),
        });
        return out.answer_json(&ReportJson {
            broken,
            warnings,
            findings: findings.collect(),
        });
    }
    let mut text = String::new();
    for finding in &findings {
        let style = match finding.status.as_str() {
            "ok" => AnsiColor::Green.on_default(),
            "warning" => AnsiColor::Yellow.on_default().bold(),
            "broken" => AnsiColor::Red.on_default().bold(),
            _ => Style::new(),
        };
        let status = human::clean(&finding.status);
        let (check, message) = (human::clean(&finding.check), human::clean(&finding.message));
        text.push_str(&format!("{style}{status:<8}{style:#} {check:<12} {message}\n"));
        if !finding.hint.is_empty() {
            text.push_str(&format!("{:21} -> {}\n", "", human::clean(&finding.hint)));
        }
    }
    let verdict = match (broken, warnings) {
        (0, 0) => "all is well".to_owned(),
        _ => format!("{broken} broken, {warnings} to know of"),
    };
    out.answer(&format!("{text}\n{verdict}"))
}
