//! Who waits for a call of Glacier. Teams take turns, so that one with a thousand requests
//! delays another's by one of them.

use std::{collections::VecDeque, time::Duration};

use tokio::sync::oneshot;

use super::breaker::OpenSince;

/// Why a call is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Too many are under way or wait. It may be better after so long.
    Overloaded(Duration),
    /// Calls only fail.
    Open(OpenSince),
}

/// How often calls were written off before one began.
pub(super) type Round = u64;

/// What ends a wait.
pub(super) type Told = Result<Round, Held>;

/// Who waits: a team, or the jobs and inventory runs of all of them (`None`).
pub(super) type Who<'t> = Option<&'t str>;

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Whose turn is next stands first. Nobody stands here without a waiter.
    turns: VecDeque<Turn>,
    /// How many callers wait.
    callers: usize,
    last: u64,
}

#[derive(Debug)]
struct Turn {
    who: Option<String>,
    /// The first came first.
    waiters: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    id: u64,
    tell: oneshot::Sender<Told>,
}

impl Queue {
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// How many callers wait.
    pub fn callers(&self) -> usize {
        self.callers
    }

    /// How many are served before one who comes now.
    pub fn ahead_of(&self, who: Who<'_>) -> usize {
        let own = self.waiters_of(who);
        let others = self.turns.iter().filter(|turn| turn.who.as_deref() != who);
        own + others.map(|turn| turn.waiters.len().min(own + 1)).sum::<usize>()
    }

    fn waiters_of(&self, who: Who<'_>) -> usize {
        let own = self.turns.iter().find(|turn| turn.who.as_deref() == who);
        own.map_or(0, |turn| turn.waiters.len())
    }

    /// Lets one wait. Gives what it is known by, and what it hears.
    pub fn push(&mut self, who: Who<'_>) -> (u64, oneshot::Receiver<Told>) {
        self.last += 1;
        let (tell, told) = oneshot::channel();
        let waiter = Waiter { id: self.last, tell };
        self.callers += usize::from(who.is_some());
        match self.turns.iter_mut().find(|turn| turn.who.as_deref() == who) {
            Some(turn) => turn.waiters.push_back(waiter),
            None => {
                let who = who.map(str::to_owned);
                self.turns.push_back(Turn { who, waiters: [waiter].into() });
            }
        }
        (self.last, told)
    }

    /// Takes out whoever's turn it is, the background only if it `may`, and says whether it is
    /// the background's.
    pub fn pop(&mut self, may: bool) -> Option<(bool, oneshot::Sender<Told>)> {
        let at = self.turns.iter().position(|turn| may || turn.who.is_some())?;
        let mut turn = self.turns.remove(at)?;
        let is_background = turn.who.is_none();
        let waiter = turn.waiters.pop_front()?;
        self.callers -= usize::from(!is_background);
        if !turn.waiters.is_empty() {
            self.turns.push_back(turn);
        }
        Some((is_background, waiter.tell))
    }

    /// Makes room for a caller of `team`: the team gives way that has the most who wait, if
    /// these are more than `team`'s with the new one. Who came last goes.
    pub fn displace(&mut self, team: &str) -> Option<oneshot::Sender<Told>> {
        let own = self.waiters_of(Some(team));
        let callers = self.turns.iter_mut().filter(|turn| turn.who.is_some());
        let longest = callers.max_by_key(|turn| turn.waiters.len())?;
        if longest.waiters.len() <= own + 1 {
            return None;
        }
        let last = longest.waiters.pop_back()?;
        self.callers -= 1;
        Some(last.tell)
    }

    /// Takes one out who waits no longer. Gives false if it was out already.
    pub fn remove(&mut self, who: Who<'_>, id: u64) -> bool {
        let Some(at) = self.turns.iter().position(|turn| turn.who.as_deref() == who) else {
            return false;
        };
        let waiters = &mut self.turns[at].waiters;
        let Ok(found) = waiters.binary_search_by_key(&id, |waiter| waiter.id) else {
            return false;
        };
        waiters.remove(found);
        if waiters.is_empty() {
            self.turns.remove(at);
        }
        self.callers -= usize::from(who.is_some());
        true
    }

    /// Sends all away.
    pub fn dismiss(&mut self, held: Held) {
        self.callers = 0;
        for waiter in self.turns.drain(..).flat_map(|turn| turn.waiters) {
            let _ = waiter.tell.send(Err(held));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Lets these wait, and gives their turns by their numbers.
    fn order(waiting: &[Who<'_>], background: bool) -> Vec<usize> {
        let mut queue = Queue::default();
        let mut told: Vec<_> = waiting.iter().map(|who| queue.push(*who).1).collect();
        let mut order = Vec::new();
        while let Some((_, tell)) = queue.pop(background) {
            tell.send(Ok(0)).unwrap();
            order.push(told.iter_mut().position(|told| told.try_recv().is_ok()).unwrap());
        }
        assert_eq!(queue.callers(), 0);
        assert_eq!(queue.is_empty(), order.len() == waiting.len());
        order
    }

    #[test]
    fn teams_take_turns_and_so_does_the_background() {
        let (a, b, jobs) = (Some("a"), Some("b"), None);
        assert_eq!(order(&[a, a, a, a, b, b], false), [0, 4, 1, 5, 2, 3]);
        assert_eq!(order(&[jobs, jobs, a, a], true), [0, 2, 1, 3]);
        assert_eq!(order(&[jobs, jobs, a, a], false), [2, 3], "not now");
    }

    #[test]
    fn who_is_ahead_depends_on_the_own_team() {
        let mut queue = Queue::default();
        assert_eq!(queue.ahead_of(Some("a")), 0);
        let _told: Vec<_> = (0..10).map(|_| queue.push(Some("a"))).collect();
        assert_eq!((queue.ahead_of(Some("a")), queue.ahead_of(Some("b"))), (10, 1));
    }

    #[test]
    fn the_team_with_the_most_waiters_makes_room() {
        let mut queue = Queue::default();
        let _a: Vec<_> = (0..3).map(|_| queue.push(Some("a"))).collect();
        assert!(queue.displace("a").is_none());
        let (_, mut last) = queue.push(Some("a"));
        drop(queue.displace("b").unwrap());
        assert!(last.try_recv().is_err());
        assert_eq!(queue.callers(), 3);
        let _b: Vec<_> = (0..2).map(|_| queue.push(Some("b"))).collect();
        assert!(queue.displace("b").is_none(), "3 are not more than 2 and 1");
    }

    #[test]
    fn who_leaves_is_out() {
        let mut queue = Queue::default();
        let ids: Vec<_> = (0..3).map(|_| queue.push(Some("a")).0).collect();
        assert!(queue.remove(Some("a"), ids[1]) && !queue.remove(Some("a"), ids[1]));
        assert!(queue.remove(Some("a"), ids[0]) && queue.remove(Some("a"), ids[2]));
        assert!(queue.is_empty() && queue.callers() == 0);
    }
}
