//! Which lanes of a target are worked on, which wait for their turn, and which for a time.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::store::deliveries::Delivery;
use crate::store::lanes::ReadyLane;

/// Lanes that are read at once; so many wait for their turn in memory.
const PAGE: usize = 64;

/// What is pending in a lane, as it was read or handed over, and how many arrivals were noted before that.
pub(super) type First = (Vec<Delivery>, u64);

/// Holds lanes by their ids; a lane is in at most one of these places.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// Worked on, with their urgency.
    active: HashMap<String, usize>,
    /// In the order of their turn, by urgency: first attempts, repeated ones, replays.
    queues: [VecDeque<String>; 3],
    /// What is known of lanes in the queue.
    firsts: HashMap<String, First>,
    /// Until a look-up may be made, in epoch milliseconds.
    deferred: HashMap<String, i64>,
    /// Found ready while they were worked on: looked for again when they end.
    overtaken: HashSet<String>,
    /// While a look is under way, the lanes that ended since it began: what it reads of them may be out of date.
    ended_meanwhile: Option<HashSet<String>>,
    /// More lanes are ready than were read.
    has_more: bool,
    /// Something arrived that no look was made for, because no lane could start.
    is_behind: bool,
}

impl Schedule {
    /// How many ready lanes a look must read to learn of a page of new ones.
    pub(super) fn limit(&self) -> usize {
        PAGE + self.active.len() + self.deferred.len()
    }

    /// There is something to look for once a lane has ended.
    pub(super) fn fall_behind(&mut self) {
        self.is_behind = true;
    }

    /// A look at the store begins.
    pub(super) fn look_begins(&mut self) {
        self.is_behind = false;
        self.ended_meanwhile = Some(HashSet::new());
    }

    /// Takes what a look found, with the `limit` that it had.
    pub(super) fn take_ready(&mut self, lanes: Vec<ReadyLane>, n_arrivals: u64, limit: usize, now_ms: i64) {
        let ended_meanwhile = self.ended_meanwhile.take().unwrap_or_default();
        self.deferred.retain(|_, until| *until > now_ms);
        self.has_more = lanes.len() >= limit;
        for ReadyLane { id, urgency, page } in lanes {
            if self.active.contains_key(&id) {
                self.overtaken.insert(id);
            } else if !self.deferred.contains_key(&id) {
                let nth = usize::try_from(urgency).unwrap_or_default().min(self.queues.len() - 1);
                let is_known = !page.is_empty() && !ended_meanwhile.contains(&id);
                if self.queue(&id, nth) && is_known {
                    self.firsts.insert(id, (page, n_arrivals));
                }
            }
        }
    }

    /// Takes what was handed over. What cannot start soon is left for a later look to find.
    pub(super) fn take_handed(&mut self, rows: Vec<Delivery>, n_arrivals: u64, may_start: bool) {
        for row in rows {
            let lane = row.lane_id.clone();
            if self.active.contains_key(&lane) || self.deferred.contains_key(&lane) {
                self.overtaken.insert(lane);
            } else if !may_start || self.n_queued() >= PAGE {
                self.is_behind = true;
            } else if self.queue(&lane, 0) {
                self.firsts.insert(lane, (vec![row], n_arrivals));
            }
        }
    }

    /// The next lane to work on, if fewer than `n_at_once` are.
    pub(super) fn start_next(&mut self, n_at_once: usize) -> Option<(String, Option<First>)> {
        if self.is_full(n_at_once) {
            return None;
        }
        let mut queues = self.queues.iter_mut().enumerate();
        let (nth, lane) = queues.find_map(|(nth, queue)| queue.pop_front().map(|lane| (nth, lane)))?;
        self.active.insert(lane.clone(), nth);
        let first = self.firsts.remove(&lane);
        Some((lane, first))
    }

    /// Forgets what is known of lanes that did not start: by the time of their turn it is out of date.
    pub(super) fn forget_firsts(&mut self) {
        self.firsts.clear();
    }

    /// A lane is not worked on any more; when it has only had its turn, it goes behind those of the same urgency.
    /// Says whether the store must be looked at again.
    pub(super) fn end(&mut self, lane: &str, n_at_once: usize, has_yielded: bool) -> bool {
        if let (Some(nth), true) = (self.active.remove(lane), has_yielded) {
            self.queues[nth].push_back(lane.to_owned());
        }
        if let Some(ended) = &mut self.ended_meanwhile {
            ended.insert(lane.to_owned());
        }
        let is_short_of_lanes = self.has_more && self.n_queued() < n_at_once;
        self.overtaken.remove(lane) || is_short_of_lanes || self.is_behind
    }

    /// Whether as many lanes are worked on as may be at once.
    pub(super) fn is_full(&self, n_at_once: usize) -> bool {
        self.active.len() >= n_at_once
    }

    /// Leaves a lane alone until then.
    pub(super) fn defer(&mut self, lane: &str, until_ms: i64) {
        self.deferred.insert(lane.to_owned(), until_ms);
    }

    /// When the first of the deferred lanes may go on.
    pub(super) fn next_deferred(&self) -> Option<i64> {
        self.deferred.values().copied().min()
    }

    fn n_queued(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum()
    }

    /// Lets a lane wait for its turn by this urgency. One that waits already keeps its place, unless it has become
    /// more urgent since. Says whether it has another place now.
    fn queue(&mut self, lane: &str, nth: usize) -> bool {
        for (urgency, queue) in self.queues.iter_mut().enumerate() {
            let Some(place) = queue.iter().position(|queued| queued == lane) else { continue };
            if urgency <= nth {
                return false;
            }
            queue.remove(place);
        }
        self.queues[nth].push_back(lane.to_owned());
        true
    }

    /// Nothing is worked on.
    pub(super) fn is_still(&self) -> bool {
        self.active.is_empty()
    }

    /// Nothing is worked on or waits.
    pub(super) fn is_empty(&self) -> bool {
        self.active.is_empty() && self.n_queued() == 0 && self.deferred.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::deliveries::NewDelivery;
    use crate::store::suite::deliveries::new;

    fn row(lane: &str) -> Delivery {
        let new = NewDelivery { lane_id: lane.to_owned(), ..new("7", lane) };
        new.into()
    }

    fn ready(lanes: &[&str]) -> Vec<ReadyLane> {
        lanes
            .iter()
            .map(|&lane| ReadyLane { id: lane.to_owned(), urgency: 0, page: vec![row(lane)] })
            .collect()
    }

    fn started(schedule: &mut Schedule, n_at_once: usize) -> Vec<(String, bool)> {
        let starts = std::iter::from_fn(|| schedule.start_next(n_at_once));
        starts.map(|(lane, first)| (lane, first.is_some())).collect()
    }

    fn known(lane: &str) -> (String, bool) {
        (lane.to_owned(), true)
    }

    fn unknown(lane: &str) -> (String, bool) {
        (lane.to_owned(), false)
    }

    #[test]
    fn no_lane_is_worked_on_twice_at_once() {
        let mut schedule = Schedule::default();
        schedule.take_ready(ready(&["a", "b", "c"]), 0, 64, 0);
        assert_eq!(started(&mut schedule, 2), [known("a"), known("b")]);
        schedule.take_handed(vec![row("a"), row("c"), row("d")], 0, true);
        schedule.take_ready(ready(&["b", "c", "d"]), 0, 64, 0);
        assert_eq!(started(&mut schedule, 9), [known("c"), known("d")]);
        assert!(schedule.end("a", 9, false), "something came for it while it was worked on");
        assert!(schedule.end("b", 9, false), "a look found it while it was worked on");
        assert!(!schedule.end("c", 9, false));
    }

    #[test]
    fn what_is_known_of_a_lane_is_used_at_once_or_not_at_all() {
        let mut schedule = Schedule::default();
        schedule.take_ready(ready(&["a", "b"]), 0, 64, 0);
        assert_eq!(started(&mut schedule, 1), [known("a")]);
        schedule.forget_firsts();
        assert!(!schedule.end("a", 1, false));
        assert_eq!(started(&mut schedule, 1), [unknown("b")]);
    }

    #[test]
    fn what_a_look_read_of_a_lane_that_ended_meanwhile_is_not_used() {
        let mut schedule = Schedule::default();
        schedule.take_handed(vec![row("a")], 0, true);
        schedule.look_begins();
        assert_eq!(started(&mut schedule, 1), [known("a")]);
        assert!(!schedule.end("a", 1, false));
        schedule.take_ready(ready(&["a"]), 0, 64, 0);
        assert_eq!(started(&mut schedule, 1), [unknown("a")]);
    }

    #[test]
    fn the_store_is_looked_at_again_before_lanes_run_out() {
        let mut schedule = Schedule::default();
        schedule.take_ready(ready(&["a", "b", "c", "d"]), 0, 4, 0);
        assert_eq!(started(&mut schedule, 2).len(), 2);
        assert!(!schedule.end("a", 2, false), "two wait still");
        assert_eq!(started(&mut schedule, 2).len(), 1);
        assert!(schedule.end("b", 2, false));
    }

    #[test]
    fn what_arrives_while_all_are_at_work_is_looked_for_when_one_ends() {
        let mut schedule = Schedule::default();
        schedule.take_ready(ready(&["a", "b"]), 0, 64, 0);
        assert_eq!(started(&mut schedule, 2).len(), 2);
        assert!(schedule.is_full(2));
        schedule.fall_behind();
        assert!(schedule.end("a", 2, false));
        schedule.look_begins();
        assert!(!schedule.end("b", 2, false));
    }

    #[test]
    fn what_cannot_start_is_left_to_the_store() {
        let mut schedule = Schedule::default();
        schedule.take_handed(vec![row("a")], 0, false);
        assert_eq!(started(&mut schedule, 9), []);
        let rows = (0..PAGE + 3).map(|n| row(&format!("lane{n}"))).collect();
        schedule.take_handed(rows, 0, true);
        assert_eq!(started(&mut schedule, 999).len(), PAGE);
        assert!(schedule.end("lane0", 4, false));
    }

    #[test]
    fn first_attempts_go_before_repeated_ones_and_those_before_replays() {
        let mut schedule = Schedule::default();
        let lane = |id: &str, urgency| ReadyLane { id: id.to_owned(), urgency, page: vec![] };
        schedule.take_ready(vec![lane("replay", 2), lane("retry", 1), lane("first", 0)], 0, 64, 0);
        schedule.take_handed(vec![row("handed")], 0, true);
        let expected = [unknown("first"), known("handed"), unknown("retry"), unknown("replay")];
        assert_eq!(started(&mut schedule, 9), expected);
    }

    #[test]
    fn a_lane_that_becomes_more_urgent_is_moved_and_no_other() {
        let mut schedule = Schedule::default();
        let lane = |id: &str, urgency| ReadyLane { id: id.to_owned(), urgency, page: vec![] };
        schedule.take_ready(vec![lane("a", 2), lane("b", 2), lane("c", 1), lane("d", 0)], 0, 64, 0);
        // Something new came for b, and c is one of a replay now.
        schedule.take_ready(vec![lane("b", 0), lane("d", 0), lane("a", 2), lane("c", 2)], 0, 64, 0);
        let expected = ["d", "b", "c", "a"].map(unknown);
        assert_eq!(started(&mut schedule, 9), expected);
    }

    #[test]
    fn a_lane_that_has_had_its_turn_goes_behind_the_others_of_its_urgency() {
        let mut schedule = Schedule::default();
        let lane = |id: &str, urgency| ReadyLane { id: id.to_owned(), urgency, page: vec![] };
        schedule.take_ready(vec![lane("long", 0), lane("short", 0), lane("replay", 2)], 0, 64, 0);
        assert_eq!(started(&mut schedule, 1), [unknown("long")]);
        assert!(!schedule.end("long", 1, true));
        assert_eq!(started(&mut schedule, 9), [unknown("short"), unknown("long"), unknown("replay")]);
        assert!(!schedule.end("replay", 9, true));
        schedule.take_handed(vec![row("fresh")], 0, true);
        assert_eq!(started(&mut schedule, 9), [known("fresh"), unknown("replay")]);
    }

    #[test]
    fn a_deferred_lane_waits_for_its_time() {
        let mut schedule = Schedule::default();
        schedule.defer("a", 50);
        assert_eq!(schedule.next_deferred(), Some(50));
        assert!(!schedule.is_empty());
        schedule.take_ready(ready(&["a"]), 0, 64, 49);
        assert_eq!(started(&mut schedule, 9), []);
        schedule.take_ready(ready(&["a"]), 0, 64, 50);
        assert_eq!(started(&mut schedule, 9), [known("a")]);
    }
}
