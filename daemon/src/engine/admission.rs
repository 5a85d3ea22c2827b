//! Which endpoints of a job may bring bytes: the first at once, every other one when it was found to hold what is planned.
//! The transfer begins meanwhile; who was found bad is asked again when the finding expires.

use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::time::{Duration, sleep};

use super::{
    judge::{self, PlanInfo},
    progress::lock,
    shared::{EndpointAccess, JobContext},
};
use crate::model::{EndpointFault, Job, Judgement, Serves};

/// Nobody is asked again sooner than this.
const LEAST: Duration = Duration::from_secs(5);

/// What is known of one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It was not asked yet, or has not answered.
    Unknown,
    Good,
    WholeFiles,
    Bad,
}

/// The standing of the endpoints of one job, by their numbers.
#[derive(Debug)]
pub(super) struct Admission {
    standing: Mutex<Vec<Standing>>,
    /// Those that bring bytes only while no other can.
    fallback: Vec<bool>,
}

impl Admission {
    /// Before anybody was asked. An only endpoint needs no judgement: there is no other.
    pub(super) fn new(endpoints: &[EndpointAccess]) -> Self {
        let first = match endpoints.len() {
            1 => Standing::Good,
            _ => Standing::Unknown,
        };
        Self {
            standing: Mutex::new(vec![first; endpoints.len()]),
            fallback: endpoints.iter().map(|access| access.fallback).collect(),
        }
    }

    /// Whether an endpoint may bring bytes now. `out` tells of those that cannot be had for other reasons: what is left of
    /// the others must do, however they were judged.
    pub(super) fn admits(&self, index: usize, in_parts: bool, out: impl Fn(usize) -> bool) -> bool {
        let standing = lock(&self.standing);
        let is_bad = |other: usize| standing[other] == Standing::Bad;
        let may_do =
            |other: usize| !(out(other) || is_bad(other) || in_parts && standing[other] == Standing::WholeFiles);
        if self.fallback[index] && (0..standing.len()).any(|other| !self.fallback[other] && may_do(other)) {
            return false;
        }
        let good = |index: usize| match standing[index] {
            Standing::Good => true,
            Standing::WholeFiles => !in_parts,
            Standing::Unknown | Standing::Bad => false,
        };
        match standing[index] {
            Standing::Good | Standing::WholeFiles => good(index),
            // The first of those that are not known to be bad begins. A fallback is never looked at, and got here because
            // nobody else can.
            Standing::Unknown => {
                self.fallback[index] || (0..index).all(|before| out(before) || is_bad(before) || self.fallback[before])
            }
            Standing::Bad => (0..standing.len()).all(|other| other == index || out(other) || is_bad(other)),
        }
    }

    fn set(&self, index: usize, judgement: &Judgement) {
        lock(&self.standing)[index] = match judgement.finding.serves {
            _ if !judgement.finding.adds_bytes() => Standing::Bad,
            Serves::Parts => Standing::Good,
            Serves::WholeFiles => Standing::WholeFiles,
            Serves::Nothing => Standing::Bad,
        };
    }
}

/// Judges the endpoints of a planned job for as long as it runs. Safe to drop at any time.
pub(super) async fn run(context: Arc<JobContext>, job: Job) {
    if context.endpoints.len() < 2 {
        return;
    }
    let plan = match PlanInfo::of_job(&context.shared, &job).await {
        Ok(Some(plan)) => plan,
        Ok(None) => return,
        Err(error) => {
            tracing::warn!(job = %context.id, %error, "the plan cannot be read; only the first endpoint is used");
            return;
        }
    };
    let (context, plan) = (&context, &plan);
    // Not those that are asked for bytes when nobody else has them: trying them out would cost what they are to be spared.
    let judged = (0..context.endpoints.len()).filter(|index| !context.endpoints[*index].fallback);
    let asking = judged.map(|index| async move {
        let mut told = None;
        loop {
            let judgement = judge::judged(context, index, plan).await;
            context.admission.set(index, &judgement);
            if let Some(fault) = judgement
                .finding
                .fault
                .filter(|_| judgement.finding.serves == Serves::Nothing)
                && told != Some(fault)
            {
                told = Some(fault);
                tell(context, index, &judgement, fault).await;
            }
            let left = judgement.until.duration_since(Timestamp::now());
            sleep(Duration::try_from(left).unwrap_or_default().max(LEAST)).await;
        }
    });
    join_all(asking).await;
}

async fn tell(context: &JobContext, index: usize, judgement: &Judgement, fault: EndpointFault) {
    let endpoint = &context.endpoints[index].endpoint;
    let text = format!(
        "{} brings no bytes for this job ({}): {}",
        endpoint.host(),
        fault.as_str(),
        judgement.finding.detail
    );
    if let Err(error) = context.shared.store.warn(&context.id, String::new(), text).await {
        tracing::debug!(job = %context.id, %error, "a warning is lost");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(standing: &[Standing], in_parts: bool, out: &[usize]) -> Vec<usize> {
        admitted_beside(&[], standing, in_parts, out)
    }

    fn admitted_beside(fallback: &[usize], standing: &[Standing], in_parts: bool, out: &[usize]) -> Vec<usize> {
        let admission = Admission {
            standing: Mutex::new(standing.to_vec()),
            fallback: (0..standing.len()).map(|index| fallback.contains(&index)).collect(),
        };
        (0..standing.len())
            .filter(|index| admission.admits(*index, in_parts, |other| out.contains(&other)))
            .collect()
    }

    #[test]
    fn who_may_bring_bytes() {
        use Standing::{Bad, Good, Unknown, WholeFiles};
        for (standing, in_parts, out, expected) in [
            (vec![Unknown, Unknown], true, vec![], vec![0]),
            (vec![Unknown, Good], true, vec![], vec![0, 1]),
            (vec![Bad, Unknown, Unknown], true, vec![], vec![1]),
            (vec![Unknown, Unknown], true, vec![0], vec![0, 1]),
            (vec![Good, Bad], true, vec![], vec![0]),
            (vec![Good, Bad], true, vec![0], vec![0, 1]),
            (vec![Bad, Bad], true, vec![], vec![0, 1]),
            (vec![Good, WholeFiles], true, vec![], vec![0]),
            (vec![Good, WholeFiles], false, vec![], vec![0, 1]),
        ] {
            assert_eq!(
                admitted(&standing, in_parts, &out),
                expected,
                "{standing:?} {in_parts} {out:?}"
            );
        }
    }

    #[test]
    fn a_fallback_brings_bytes_when_nobody_else_can() {
        use Standing::{Bad, Good, Unknown, WholeFiles};
        for (fallback, standing, out, expected) in [
            // Neither while the other is being looked at nor when it is good.
            (vec![0], vec![Unknown, Unknown], vec![], vec![1]),
            (vec![1], vec![Unknown, Unknown], vec![], vec![0]),
            (vec![0], vec![Unknown, Good], vec![], vec![1]),
            (vec![0], vec![Unknown, Bad], vec![], vec![0]),
            (vec![1], vec![Good, Unknown], vec![0], vec![0, 1]),
            (vec![0], vec![Unknown, Bad, Good], vec![], vec![2]),
            (vec![1], vec![WholeFiles, Unknown], vec![], vec![1]),
            (vec![0, 1], vec![Unknown, Unknown], vec![], vec![0, 1]),
        ] {
            assert_eq!(
                admitted_beside(&fallback, &standing, true, &out),
                expected,
                "{fallback:?} {standing:?} {out:?}"
            );
        }
    }
}
