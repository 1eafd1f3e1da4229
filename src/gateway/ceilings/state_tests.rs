#![allow(clippy::unwrap_used)]

use tokio::sync::oneshot::Receiver;

use super::{super::queue::Told, *};

const SECOND: Duration = Duration::from_secs(1);

fn settings(concurrency: u32, queue: u32) -> UpstreamLimits {
    UpstreamLimits {
        concurrency,
        background_share: 0.5,
        queue,
        queue_timeout: 2 * SECOND,
        breaker_failures: 3,
        breaker_interval: SECOND,
    }
}

/// A state with so many calls of callers under way.
fn busy(settings: &UpstreamLimits, calls: u32, now: Instant) -> State {
    let mut state = State::new(settings, now);
    (0..calls).for_each(|_| state.take(false, now));
    state
}

/// Lets so many callers of `team` wait.
fn wait(state: &mut State, team: &str, callers: u32) -> Vec<Receiver<Told>> {
    (0..callers).map(|_| state.queue.push(Some(team)).1).collect()
}

#[test]
fn the_background_has_its_share_and_callers_the_rest() {
    let (settings, now) = (settings(4, 0), Instant::now());
    let mut state = busy(&settings, 0, now);
    for calls in 0..2 {
        assert!(state.has_room(true, &settings), "{calls}");
        state.take(true, now);
    }
    assert!(!state.has_room(true, &settings));
    for calls in 2..4 {
        assert!(state.has_room(false, &settings), "{calls}");
        state.take(false, now);
    }
    assert!(state.is_full() && !state.has_room(false, &settings));
    assert_eq!((state.under_way, state.background), (4, 2));

    let state = busy(&settings, 4, now);
    assert!(!state.has_room(true, &settings), "callers may take all");
}

#[test]
fn the_background_has_room_for_one_call_however_small_its_share() {
    let settings = settings(1, 0);
    assert!(State::new(&settings, Instant::now()).has_room(true, &settings));
}

#[test]
fn calls_hang_if_there_is_no_room_and_nothing_has_moved_for_as_long_as_one_waits() {
    let (settings, now) = (settings(2, 0), Instant::now());
    let later = now + settings.queue_timeout;
    assert!(!busy(&settings, 1, now).is_stuck(&settings, later), "there is room");
    let mut state = busy(&settings, 1, now);
    state.take(false, now + SECOND);
    assert!(!state.is_stuck(&settings, later), "one was taken since");
    assert!(state.is_stuck(&settings, later + SECOND));
}

#[test]
fn one_call_tries_without_room_in_each_interval() {
    let (settings, now) = (settings(2, 0), Instant::now());
    let mut state = busy(&settings, 2, now);
    assert!(state.tries(&settings, now) && !state.tries(&settings, now));
    assert!(!state.tries(&settings, now + SECOND / 2));
    assert!(state.tries(&settings, now + SECOND));
    assert_eq!(state.under_way, 4);
}

#[test]
fn calls_that_hang_are_written_off_once_until_they_end() {
    let (settings, now) = (settings(2, 0), Instant::now());
    let mut state = busy(&settings, 2, now);
    state.write_off(now + SECOND);
    assert_eq!((state.written_off, state.round, state.moved), (2, 1, now + SECOND));
    assert!(!state.is_full());
    (0..2).for_each(|_| state.take(false, now));
    assert!(state.is_full(), "twice as many as may be are the most");
    state.write_off(now + 2 * SECOND);
    assert_eq!((state.written_off, state.round), (2, 1));
}

#[test]
fn room_is_given_to_whoever_still_waits() {
    let (settings, now) = (settings(1, 2), Instant::now());
    let mut state = busy(&settings, 1, now);
    let mut told = wait(&mut state, "a", 3);
    drop(told.remove(0));
    state.hand_on(&settings, now);
    assert!(told.iter_mut().all(|told| told.try_recv().is_err()), "there is none");
    state.under_way -= 1;
    state.round = 7;
    state.hand_on(&settings, now);
    assert_eq!(told[0].try_recv(), Ok(Ok(7)));
    assert!(told[1].try_recv().is_err());
    assert_eq!(state.under_way, 1);
}

#[test]
fn one_is_refused_whose_turn_would_come_too_late() {
    let (settings, now) = (settings(1, 100), Instant::now());
    let mut state = busy(&settings, 1, now);
    // As far as the last half second tells, a call takes half a second.
    let now = now + SECOND / 2;
    state.flow.note(now);
    let _three = wait(&mut state, "a", 3);
    assert_eq!(state.expect_room("a", &settings, now), Ok(()));
    let _one = wait(&mut state, "a", 1);
    let refused = state.expect_room("a", &settings, now);
    assert_eq!(refused, Err(Held::Overloaded(Duration::from_millis(2_500))));
    assert_eq!(state.expect_room("b", &settings, now), Ok(()), "b's turn comes sooner");
    let _many = wait(&mut state, "a", 96);
    assert_eq!(state.expect_room("a", &settings, now), Err(Held::Overloaded(LONGEST_RETRY)));
    assert_eq!((state.refused.overloaded, state.refused.open), (2, 0));
}

#[test]
fn if_the_queue_is_full_the_longest_line_makes_room() {
    let (settings, now) = (settings(1, 3), Instant::now());
    let mut state = busy(&settings, 1, now);
    let mut told = wait(&mut state, "a", 2);
    assert_eq!(state.expect_room("a", &settings, now), Ok(()));
    told.extend(wait(&mut state, "a", 1));
    assert_eq!(state.expect_room("a", &settings, now), Err(Held::Overloaded(SECOND)));
    assert_eq!(state.refused.overloaded, 1);
    assert_eq!(state.expect_room("b", &settings, now), Ok(()));
    assert_eq!(state.queue.callers(), 2);
    assert!(told[2].try_recv().is_err());
    assert_eq!(state.refused.overloaded, 2, "a's last is refused");
}

#[test]
fn if_all_hang_one_is_told_when_the_next_may_try() {
    let (settings, now) = (settings(1, 3), Instant::now());
    let mut state = busy(&settings, 1, now);
    let now = now + settings.queue_timeout;
    let mut long = settings.clone();
    long.breaker_interval = 5 * SECOND;
    assert!(state.tries(&long, now));
    let refused = state.expect_room("a", &settings, now + SECOND);
    assert_eq!(refused, Err(Held::Overloaded(4 * SECOND)));
}

#[test]
fn one_who_waited_in_vain_is_told_how_long_those_before_take() {
    let (settings, now) = (settings(1, 3), Instant::now());
    let mut state = busy(&settings, 1, now);
    let now = now + SECOND / 2;
    state.flow.note(now);
    let _two = wait(&mut state, "a", 2);
    assert_eq!(state.waited_in_vain(now), Held::Overloaded(Duration::from_millis(1_500)));
}
