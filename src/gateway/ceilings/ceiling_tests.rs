#![allow(clippy::unwrap_used)]

use std::pin::pin;

use futures_util::FutureExt;

use super::{super::flow::Flow, *};

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(20);

const A: Caller<'_> = Caller::Team("a");
const B: Caller<'_> = Caller::Team("b");

/// A ceiling that waits for long, with a breaker that one failure opens for long.
fn ceiling(change: impl Fn(&mut UpstreamLimits)) -> Arc<Ceiling> {
    let mut settings = UpstreamLimits {
        concurrency: 2,
        background_share: 0.5,
        queue: 8,
        queue_timeout: LONG,
        breaker_failures: 1,
        breaker_interval: LONG,
    };
    change(&mut settings);
    let (account, region) = ("111122223333".parse().unwrap(), "eu-central-1".parse().unwrap());
    Arc::new(Ceiling::new(account, region, settings.into()))
}

/// Takes room that there is.
fn take(ceiling: &Arc<Ceiling>, caller: Caller<'_>) -> Slot {
    ceiling.clone().enter(caller).now_or_never().unwrap().ok().unwrap()
}

/// What one hears who finds no room and need not wait to be told.
fn refusal(ceiling: &Arc<Ceiling>, caller: Caller<'_>) -> Held {
    ceiling.clone().enter(caller).now_or_never().unwrap().err().unwrap()
}

fn end(mut slot: Slot, took: Took) {
    slot.took = took;
}

#[tokio::test]
async fn the_background_waits_until_the_breaker_lets_a_call_try() {
    let ceiling = ceiling(|settings| settings.breaker_interval = SHORT);
    end(take(&ceiling, A), Took::Failed);
    assert!(ceiling.status().open_since.is_some());
    let slot = ceiling.clone().enter(Caller::Background).await.ok().unwrap();
    end(slot, Took::Answered);
    assert_eq!(ceiling.status().open_since, None);
    assert_eq!(ceiling.status().refused.open, 0, "nobody was refused");
}

#[tokio::test]
async fn the_background_does_not_wait_for_a_breaker_beyond_its_patience() {
    let impatient = ceiling(|_| {});
    end(take(&impatient, A), Took::Failed);
    assert!(matches!(refusal(&impatient, Caller::Background), Held::Open(_)));

    let patient = ceiling(|settings| settings.breaker_interval = PATIENCE / 3);
    end(take(&patient, A), Took::Failed);
    assert!(patient.enter(Caller::Background).now_or_never().is_none(), "it sleeps");
}

#[tokio::test]
async fn what_ends_tells_how_long_one_waits_only_if_there_was_no_room() {
    let ceiling = ceiling(|settings| settings.concurrency = 4);
    let flows = || ceiling.state().flow.time_for(1, Instant::now()).is_some();
    let mut held = vec![take(&ceiling, A)];
    end(take(&ceiling, A), Took::Answered);
    assert!(!flows(), "there was room");

    held.extend([take(&ceiling, Caller::Background), take(&ceiling, Caller::Background)]);
    let last = take(&ceiling, A);
    let before = ceiling.state().moved;
    end(last, Took::Answered);
    assert!(flows() && ceiling.state().moved > before, "it was full");

    ceiling.state().flow = Flow::new(Instant::now());
    let mut waits = pin!(ceiling.clone().enter(Caller::Background));
    assert!((&mut waits).now_or_never().is_none());
    end(held.remove(0), Took::Answered);
    assert!(flows(), "the background waits");
}

#[tokio::test]
async fn one_who_is_refused_while_calls_fail_is_counted_and_so_is_who_waits_then() {
    let ceiling = ceiling(|settings| settings.concurrency = 1);
    let slot = take(&ceiling, A);
    let (mut a, mut b) = (pin!(ceiling.clone().enter(A)), pin!(ceiling.clone().enter(B)));
    assert!((&mut a).now_or_never().is_none() && (&mut b).now_or_never().is_none());
    assert_eq!(ceiling.status().waiting, 2);
    end(slot, Took::Failed);
    assert!(matches!(a.await, Err(Held::Open(_))) && matches!(b.await, Err(Held::Open(_))));
    assert_eq!(ceiling.status().refused.open, 2);
    assert!(matches!(refusal(&ceiling, A), Held::Open(_)));
    assert_eq!(ceiling.status().refused.open, 3);
    assert_eq!((ceiling.status().under_way, ceiling.status().waiting), (0, 0));
}

#[tokio::test]
async fn a_throttled_call_is_an_answer_and_one_that_was_not_sent_is_not() {
    let ceiling = ceiling(|settings| settings.breaker_failures = 2);
    for (between, opens) in
        [(Took::Answered, false), (Took::Throttled, false), (Took::Unclear, true)]
    {
        for took in [Took::Failed, between, Took::Failed] {
            end(take(&ceiling, A), took);
        }
        assert_eq!(ceiling.status().open_since.is_some(), opens, "{between:?}");
        ceiling.state().breaker.answered();
    }
}

#[tokio::test]
async fn what_the_background_gives_back_the_background_may_have() {
    let ceiling = ceiling(|settings| settings.concurrency = 4);
    let (first, _second, _third) =
        (take(&ceiling, Caller::Background), take(&ceiling, Caller::Background), take(&ceiling, A));
    let mut waits = pin!(ceiling.clone().enter(Caller::Background));
    assert!((&mut waits).now_or_never().is_none(), "it has its share");
    end(take(&ceiling, A), Took::Answered);
    assert!((&mut waits).now_or_never().is_none(), "that was a caller's");
    drop(first);
    assert!((&mut waits).now_or_never().is_some());
}

#[tokio::test]
async fn answers_raise_the_ceiling_only_if_half_of_it_is_used() {
    let ceiling = ceiling(|settings| settings.concurrency = 16);
    end(take(&ceiling, A), Took::Throttled);
    assert_eq!(ceiling.status().limit, 8);
    let held: Vec<_> = (0..2).map(|_| take(&ceiling, A)).collect();
    (0..100).for_each(|_| end(take(&ceiling, A), Took::Answered));
    assert_eq!(ceiling.status().limit, 8, "3 of 8 are used");
    let _fourth = take(&ceiling, A);
    (0..100).for_each(|_| end(take(&ceiling, A), Took::Answered));
    assert_eq!(ceiling.status().limit, 9, "4 of 8 were used, and 4 of 9 are not half");
    drop(held);
}

#[tokio::test]
async fn one_who_waits_in_vain_and_one_who_makes_room_are_each_counted_once() {
    let crowded = ceiling(|settings| (settings.concurrency, settings.queue) = (1, 2));
    let _slot = take(&crowded, A);
    let (mut first, mut last) = (pin!(crowded.clone().enter(A)), pin!(crowded.clone().enter(A)));
    assert!((&mut first).now_or_never().is_none() && (&mut last).now_or_never().is_none());
    assert!(crowded.clone().enter(B).now_or_never().is_none());
    assert!(matches!(last.await, Err(Held::Overloaded(_))));
    assert_eq!(crowded.status().refused.overloaded, 1);

    let hurried = ceiling(|s| (s.concurrency, s.queue_timeout) = (1, SHORT));
    let _slot = take(&hurried, A);
    assert!(matches!(hurried.clone().enter(A).await, Err(Held::Overloaded(_))));
    assert_eq!(hurried.status().refused.overloaded, 1);
}

#[tokio::test]
async fn one_who_leaves_takes_no_room() {
    let ceiling = ceiling(|settings| settings.concurrency = 1);
    let slot = take(&ceiling, A);
    {
        let mut leaves = pin!(ceiling.clone().enter(A));
        assert!((&mut leaves).now_or_never().is_none());
        assert_eq!(ceiling.status().waiting, 1);
    }
    assert_eq!(ceiling.status().waiting, 0);
    {
        let mut leaves = pin!(ceiling.clone().enter(A));
        assert!((&mut leaves).now_or_never().is_none());
        drop(slot);
        assert_eq!(ceiling.status().under_way, 1, "it has room, and does not know yet");
    }
    assert_eq!(ceiling.status().under_way, 0);
}

#[tokio::test]
async fn calls_that_hang_are_written_off_if_a_try_is_answered_and_give_no_room_when_they_end() {
    let stuck = |settings: &mut UpstreamLimits| {
        (settings.queue, settings.queue_timeout) = (0, SHORT);
        settings.breaker_interval = SHORT;
    };
    let ceiling = ceiling(stuck);
    let hanging = [take(&ceiling, A), take(&ceiling, A)];
    for took in [Took::Failed, Took::Unclear, Took::Answered] {
        let tried = loop {
            match ceiling.clone().enter(A).await {
                Ok(slot) => break slot,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        assert_eq!(ceiling.status().under_way, 3);
        end(tried, took);
        ceiling.state().breaker.answered();
        let written_off = ceiling.state().written_off;
        assert_eq!(written_off, if took == Took::Answered { 2 } else { 0 }, "{took:?}");
    }
    let _new = [take(&ceiling, A), take(&ceiling, A)];
    assert!(ceiling.state().is_full());
    drop(hanging);
    assert_eq!(ceiling.state().written_off, 0);
    assert_eq!(ceiling.status().under_way, 2);
    assert!(ceiling.state().is_full());
}
