//! The connections of one file: asks for slots while there is work, gives out segments, watches for those that stand still,
//! lets idle hands help the slowest, and decides with the retry policy on what failed. Runs alone; connections return values.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    task::{JoinError, JoinSet},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{
    conduct::{blame, stands_still},
    connection::{self, Ended, Flow, SegmentEnd, Task},
    progress::StandsBy,
    retry::{Left, Next, Retry, say},
    shared::JobContext,
    sources::{Request, Slot, Usual, Wish},
    stop::JobStop,
    transfer::{FileTransfer, TransferEnd},
};
use crate::{
    hub::{HubError, NetworkFault},
    model::ByteRange,
    plan::{AtWork, Helper, LeaseId, spare, steal},
};

/// Connections are looked at so often.
const TICK: Duration = Duration::from_millis(250);

/// A connection at work.
struct Flight {
    index: usize,
    flow: Arc<Flow>,
    /// It asks where the bytes lie; nobody else does meanwhile.
    asks: bool,
    /// Its first byte was noted.
    noted: bool,
    /// Cut because nothing came for so long.
    stalled: Option<Duration>,
    /// Help was of no use: not looked at again before.
    helped_not_before: Option<Instant>,
}

struct Crew<'a> {
    context: Arc<JobContext>,
    transfer: &'a Arc<FileTransfer>,
    retry: &'a mut Retry,
    tasks: JoinSet<Ended>,
    flights: HashMap<LeaseId, Flight>,
    /// By endpoint: cuts in a row that were of no use.
    in_vain: Vec<u32>,
    /// The wish that waits, and the endpoints it is for.
    request: Option<(Request, Vec<usize>)>,
    most: usize,
    /// It was told that the job waits for its user's other connections.
    told_full: Option<StandsBy>,
}

/// Runs until the file is whole. When it ends, no connection of the file is left.
pub(super) async fn run(
    context: &Arc<JobContext>,
    transfer: &Arc<FileTransfer>,
    retry: &mut Retry,
) -> Result<(), TransferEnd> {
    // Ended by their token, never aborted: a write on the blocking pool would go on holding the partial file.
    let child = context.child();
    let mut crew = Crew {
        in_vain: vec![0; child.endpoints.len()],
        context: child,
        transfer,
        retry,
        tasks: JoinSet::new(),
        flights: HashMap::new(),
        request: None,
        most: transfer.most_connections(),
        told_full: None,
    };
    let outcome = crew.work().await;
    crew.context.cancel.cancel();
    // A slot that was granted meanwhile is given back before anything is waited for.
    crew.request = None;
    let mut end = outcome.err();
    while let Some(joined) = crew.tasks.join_next().await {
        let ended = match joined {
            Ok(ended) => ended,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => continue,
        };
        transfer.release(ended.lease);
        // What the others were stopped for is told by the first reason; a disk that refuses is one of its own.
        if let Err(SegmentEnd::Stop(stop)) = ended.outcome
            && !matches!(stop, JobStop::Cancelled)
        {
            end.get_or_insert(stop.into());
        }
    }
    end.map_or(Ok(()), Err)
}

impl Crew<'_> {
    async fn work(&mut self) -> Result<(), TransferEnd> {
        let context = self.context.clone();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.flights.is_empty() && self.transfer.is_complete() {
                return Ok(());
            }
            if self.flights.is_empty() {
                match self.retry.left(!self.transfer.in_one_piece) {
                    Left::Some => {}
                    Left::WholeFiles => return Err(TransferEnd::WholeFile),
                    Left::None(refusal) => return Err(refusal.into()),
                }
            }
            let wake = self.ask();
            tokio::select! {
                biased;
                () = context.cancel.cancelled() => return Err(JobStop::Cancelled.into()),
                Some(joined) = self.tasks.join_next(), if !self.tasks.is_empty() => self.on_joined(joined)?,
                slot = granted(&mut self.request) => {
                    self.request = None;
                    self.on_slot(slot);
                }
                () = self.transfer.linked.notified() => {}
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
                _ = tick.tick() => self.on_tick(),
            }
        }
    }

    /// Asks for a slot when there is work for one more connection; gives the time at which asking may be of use otherwise.
    fn ask(&mut self) -> Option<Instant> {
        let missing = self.transfer.has_missing();
        if self.flights.len() >= self.most || !(missing || self.may_need_help()) {
            self.request = None;
            return None;
        }
        let in_parts = !self.transfer.in_one_piece;
        let open = self.retry.open(&self.context, in_parts);
        let sources = &self.context.shared.sources;
        let able: Vec<usize> = open
            .iter()
            .copied()
            .filter(|index| self.is_askable(*index))
            .filter(|index| missing || self.help(sources.usual(self.context.sources[*index])).is_some())
            .collect();
        if able.is_empty() {
            self.request = None;
            // Somebody asks where the bytes lie, and the answer wakes us; or nobody needs help, and the next tick looks again.
            if !open.is_empty() {
                return None;
            }
            let closed = self.retry.opens(&self.context, in_parts)?;
            if self.flights.is_empty() {
                say(&self.context, &closed);
            }
            return Some(closed.until.min(Instant::now() + TICK * 4));
        }
        if self.request.as_ref().is_none_or(|(_, asked)| *asked != able) {
            let wish = Wish {
                any_of: able.iter().map(|index| self.context.sources[*index]).collect(),
                has: u32::try_from(self.flights.len()).unwrap_or(u32::MAX),
                user: self.context.owner.uid,
                bytes: self.transfer.segment_bytes(Usual::default()),
            };
            self.request = Some((self.context.shared.sources.request(wish), able));
        }
        None
    }

    /// One connection asks an endpoint where the bytes lie, the others wait for its answer: one request to the Hub a file.
    fn is_askable(&self, index: usize) -> bool {
        let mut asking = self
            .flights
            .values()
            .filter(|flight| flight.index == index && flight.asks);
        asking.next().is_none() || self.transfer.link(index).is_some()
    }

    fn on_slot(&mut self, slot: Slot) {
        let open = self.retry.open(&self.context, !self.transfer.in_one_piece);
        let index = (0..self.context.sources.len())
            .filter(|index| self.context.sources[*index] == slot.source)
            .find(|index| open.contains(index) && self.is_askable(*index));
        // A gate may have closed while we waited.
        let Some(index) = index else { return };
        let usual = self.context.shared.sources.usual(slot.source);
        let work = self.transfer.lease(index, self.transfer.segment_bytes(usual));
        let Some((lease, range)) = work.or_else(|| self.take_over(index, usual)) else {
            return;
        };
        self.start(index, lease, range, slot);
    }

    fn start(&mut self, index: usize, lease: LeaseId, range: ByteRange, slot: Slot) {
        let flow = Flow::new(range);
        let flight = Flight {
            index,
            flow: flow.clone(),
            asks: self.transfer.link(index).is_none(),
            noted: false,
            stalled: None,
            helped_not_before: None,
        };
        self.flights.insert(lease, flight);
        let task = Task {
            index,
            lease,
            range,
            slot,
            flow,
        };
        self.tasks
            .spawn(connection::run(self.context.clone(), self.transfer.clone(), task));
    }

    fn may_need_help(&self) -> bool {
        !self.transfer.in_one_piece && self.flights.values().any(|flight| flight.stalled.is_none())
    }

    /// Who needs help, as seen by a connection that is as quick as `usual`.
    fn help(&self, usual: Usual) -> Option<(LeaseId, u64)> {
        if self.transfer.in_one_piece {
            return None;
        }
        let now = Instant::now();
        let at_work: Vec<AtWork> = self
            .flights
            .iter()
            .filter(|(_, flight)| flight.stalled.is_none() && flight.helped_not_before.is_none_or(|then| then <= now))
            .map(|(lease, flight)| (lease, flight.flow.read()))
            // What our own limits made slow gains nothing by help: the bytes under way to it would come twice.
            .filter(|(_, reading)| !reading.held_by_us)
            .map(|(lease, reading)| AtWork {
                lease: *lease,
                left: reading.left,
                bytes_per_sec: reading.bytes_per_sec,
                idle: reading.idle,
            })
            .collect();
        let helper = Helper {
            bytes_per_sec: usual.bytes_per_sec,
            first_byte: usual.first_byte,
        };
        steal(&at_work, helper)
    }

    /// A part of the segment that would be done last.
    fn take_over(&mut self, index: usize, usual: Usual) -> Option<(LeaseId, ByteRange)> {
        let (lease, keep) = self.help(usual)?;
        let flight = self.flights.get_mut(&lease)?;
        let (unread, reading) = (flight.flow.unread(), flight.flow.read());
        let Some(keep) = spare(reading.left, keep, unread, reading.bytes_per_sec, usual.first_byte) else {
            flight.helped_not_before = Some(Instant::now() + TICK);
            return None;
        };
        let end = flight.flow.end_after(keep);
        if keep == 0 {
            flight.stalled = Some(flight.flow.read().idle);
            flight.flow.cut.cancel();
        }
        self.transfer.split(lease, end, index)
    }

    fn on_joined(&mut self, joined: Result<Ended, JoinError>) -> Result<(), TransferEnd> {
        let ended = match joined {
            Ok(ended) => ended,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => return Err(JobStop::Cancelled.into()),
        };
        self.note_progress();
        self.transfer.release(ended.lease);
        let Some(flight) = self.flights.remove(&ended.lease) else {
            return Ok(());
        };
        let reading = flight.flow.read();
        let error = match (ended.outcome, flight.stalled) {
            (Ok(()), _) => return Ok(()),
            (Err(SegmentEnd::Stop(stop)), _) => return Err(stop.into()),
            (Err(SegmentEnd::Hub(generation, error)), _) => {
                let refused = matches!(error, HubError::LinkRefused { .. });
                // Where nobody answers, another address may: the endpoint is asked where the bytes lie now.
                let unanswered = reading.received == 0 && is_unanswered(&error);
                let known = generation.filter(|_| refused || unanswered);
                let forgotten = known.is_none_or(|generation| self.transfer.forget_link(ended.index, generation));
                if refused && !forgotten {
                    // Another connection has a new one already: one refusal of the old one counts once.
                    return Ok(());
                }
                error
            }
            (Err(SegmentEnd::Cut), Some(after)) => {
                self.in_vain[ended.index] += 1;
                HubError::Stalled {
                    host: self.context.endpoints[ended.index].endpoint.host(),
                    got: reading.received,
                    after,
                }
            }
            (Err(SegmentEnd::Cut), None) => return Ok(()),
        };
        self.on_failure(ended.index, &error, reading.received)
    }

    fn on_failure(&mut self, index: usize, error: &HubError, brought: u64) -> Result<(), TransferEnd> {
        if blame(&self.context, self.retry, index, error, brought) {
            return Ok(());
        }
        let next = self.retry.failed(&self.context, index, error, brought)?;
        // In one piece, what broke off cannot be gone on with; what never began can be tried again as it is.
        if next == Next::WholeFile || (self.transfer.in_one_piece && self.transfer.front() > 0) {
            return Err(TransferEnd::WholeFile);
        }
        Ok(())
    }

    /// Endpoints whose connections got bytes are in order again.
    fn note_progress(&mut self) {
        for flight in self.flights.values_mut().filter(|flight| !flight.noted) {
            if flight.flow.read().received > 0 {
                flight.noted = true;
                self.in_vain[flight.index] = 0;
                self.retry.progressed(flight.index);
            }
        }
    }

    /// Tells people that all the connections that the user may have are at other files.
    fn say_whether_full(&mut self) {
        let full = match self.flights.is_empty() {
            true => self.context.shared.sources.user_is_full(self.context.owner.uid),
            false => None,
        };
        if full.is_some() || self.told_full.is_some() {
            let progress = &self.context.progress;
            self.told_full = full
                .is_some()
                .then(|| self.told_full.take().unwrap_or_else(|| progress.stands_by()));
            let doing = full.as_deref().unwrap_or("downloading");
            self.context.progress.file_stage(&self.transfer.file, doing);
        }
    }

    /// Cuts what stands still.
    fn on_tick(&mut self) {
        self.note_progress();
        self.say_whether_full();
        let mut longest = vec![Duration::ZERO; self.in_vain.len()];
        for flight in self.flights.values().filter(|flight| flight.stalled.is_none()) {
            longest[flight.index] = longest[flight.index].max(flight.flow.read().idle);
        }
        for flight in self.flights.values_mut().filter(|flight| flight.stalled.is_none()) {
            let (source, reading) = (self.context.sources[flight.index], flight.flow.read());
            let waits_longest = reading.idle >= longest[flight.index];
            let in_vain = self.in_vain[flight.index];
            // What lies in the socket says that we are slow, not the server.
            if stands_still(&self.context, source, &reading, in_vain, waits_longest) && flight.flow.unread() == 0 {
                flight.stalled = Some(reading.idle);
                flight.flow.cut.cancel();
            }
        }
    }
}

/// Nobody was reached there.
fn is_unanswered(error: &HubError) -> bool {
    use NetworkFault::{Dns, Refused, Timeout, Unreachable};
    let HubError::Transport { fault, .. } = error else {
        return matches!(error, HubError::TimedOut { .. });
    };
    matches!(fault, Dns | Refused | Timeout | Unreachable)
}

/// Resolves when the wish is granted; never without one.
async fn granted(request: &mut Option<(Request, Vec<usize>)>) -> Slot {
    match request {
        Some((request, _)) => request.granted().await,
        None => std::future::pending().await,
    }
}
