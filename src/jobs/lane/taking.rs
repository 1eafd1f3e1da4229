//! What a lane takes up next, of all teams' jobs.

use std::rc::Rc;

use uuid::Uuid;

use super::task::{Known, Task};
use crate::{
    jobs::claims::{self, Lane, Todo},
    store::{Lease, Store, StoreError},
    telemetry::traces::{Span, Trace},
};

/// What is taken of a team's jobs.
pub(super) struct Share {
    /// The jobs, and the last item of each that was taken to be looked at.
    pub jobs: Vec<(Rc<Known>, i64)>,
    /// How many items of all of them.
    pub most: usize,
}

/// What was taken of a job: nothing if it has nothing to do just now.
pub(super) struct Taken {
    pub known: Rc<Known>,
    pub tasks: Vec<Task>,
}

/// Takes what `shares` say. The jobs of a team share what it may take. If it fails, some
/// items may be claimed all the same: whoever has the lane next finds them.
pub(super) async fn take(
    store: &Store,
    lane: &Lane,
    lease: &Lease,
    shares: Vec<Share>,
) -> (Vec<Taken>, Result<(), StoreError>) {
    let mut taken = Vec::new();
    for Share { jobs, most } in shares {
        let (mut left, mut others) = (most, jobs.len());
        for (known, after) in jobs {
            let most = left.div_ceil(others).min(500);
            others -= 1;
            if most == 0 {
                break;
            }
            match of_job(store, lane, lease, known, after, most).await {
                Ok(of_job) => {
                    left = left.saturating_sub(of_job.tasks.len());
                    taken.push(of_job);
                }
                Err(error) => return (taken, Err(error)),
            }
        }
    }
    (taken, Ok(()))
}

async fn of_job(
    store: &Store,
    lane: &Lane,
    lease: &Lease,
    known: Rc<Known>,
    after: i64,
    most: usize,
) -> Result<Taken, StoreError> {
    let id = &known.row.id;
    let mut batch = Trace::of_job(id).span("job batch");
    let todos: Vec<(Todo, Option<Uuid>)> = if known.is_running() {
        let claimed = claims::claim(store, id, lane, lease, most).await?;
        claimed.into_iter().map(|(todo, event)| (todo, Some(event))).collect()
    } else {
        let found = claims::found(store, id, lane, after, most).await?;
        found.into_iter().map(|todo| (todo, None)).collect()
    };
    if todos.is_empty() {
        batch.discard();
        return Ok(Taken { known, tasks: Vec::new() });
    }
    describe(&mut batch, id, lane, todos.len());
    let batch = Rc::new(batch);
    let task = |(todo, event)| Task { known: known.clone(), todo, event, batch: batch.clone() };
    let tasks = todos.into_iter().map(task).collect();
    Ok(Taken { known, tasks })
}

fn describe(batch: &mut Span, job: &str, lane: &Lane, size: usize) {
    if batch.is_kept() {
        batch.text("glacier_gateway.job.id", Some(job));
        batch.text("cloud.account.id", Some(&lane.account));
        batch.text("cloud.region", Some(&lane.region));
        batch.set("glacier_gateway.batch.size", i64::try_from(size).unwrap_or(0));
    }
}
