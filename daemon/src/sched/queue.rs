//! Whose job is next: each user has a line of his own, by priority and age, and the lines take turns by weight. However many
//! jobs one user has waiting, those of the others do not wait behind them.

/// The jobs of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// His share.
    pub weight: u32,
    /// Jobs that are being worked on.
    pub working: u64,
    /// Those that wait, the next one first; of all users, the lower number is the older job.
    pub waiting: Vec<i64>,
}

/// The next jobs of all lines together, at most `limit`: always from the line that has the fewest places for its weight; where
/// two have as many, the older job.
pub fn next(lines: &[Line], limit: usize) -> Vec<i64> {
    let mut taken = vec![0_usize; lines.len()];
    let mut next = Vec::new();
    while next.len() < limit {
        let heads = lines
            .iter()
            .enumerate()
            .filter_map(|(at, line)| Some((at, line, *line.waiting.get(taken[at])?)));
        let first = heads.min_by(|(a, line_a, job_a), (b, line_b, job_b)| {
            // Places with this one, by weight, without fractions.
            let places = |at: usize, line: &Line| u128::from(line.working) + taken[at] as u128 + 1;
            let share_a = places(*a, line_a) * u128::from(line_b.weight.max(1));
            let share_b = places(*b, line_b) * u128::from(line_a.weight.max(1));
            share_a.cmp(&share_b).then(job_a.cmp(job_b))
        });
        let Some((at, _, job)) = first else { break };
        taken[at] += 1;
        next.push(job);
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(weight: u32, working: u64, waiting: &[i64]) -> Line {
        Line {
            weight,
            working,
            waiting: waiting.to_vec(),
        }
    }

    #[test]
    fn lines_take_turns_by_weight() {
        let many: Vec<i64> = (1..=1000).collect();
        for (lines, limit, expected) in [
            (vec![], 4, vec![]),
            // Alone: the order of the line.
            (vec![line(1, 3, &[7, 2, 5])], 4, vec![7, 2, 5]),
            // Who comes late does not wait behind a thousand.
            (
                vec![line(1, 0, &many), line(1, 0, &[2000, 2001])],
                4,
                vec![1, 2000, 2, 2001],
            ),
            (vec![line(1, 4, &many), line(1, 0, &[2000, 2001])], 2, vec![2000, 2001]),
            (
                vec![line(3, 0, &many), line(1, 0, &[2000, 2001])],
                5,
                vec![1, 2, 3, 2000, 4],
            ),
            // No place is left free while somebody waits.
            (vec![line(1, 50, &[9]), line(1, 0, &[])], 4, vec![9]),
        ] {
            assert_eq!(next(&lines, limit), expected, "{lines:?}");
        }
    }
}
