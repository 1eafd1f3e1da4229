//! What has come of a lane's tasks, until it is written.

use std::{collections::HashMap, mem, rc::Rc};

use uuid::Uuid;

use super::{
    looks::{self, Looked},
    task::Known,
};
use crate::{
    audit::query::unsettled,
    jobs::{
        claims::{self, Lane},
        ending::Done,
    },
    store::{Lease, Store, StoreError},
};

/// How many are written at once.
const MOST_AT_ONCE: usize = 500;

/// What has come of tasks and is not written, by job.
#[derive(Default)]
pub(super) struct Outcomes {
    done: HashMap<String, Vec<Done>>,
    looked: HashMap<String, Vec<Looked>>,
}

/// What was written of a job.
pub(super) struct Written {
    pub job: String,
    /// Whether items that were claimed are among it.
    pub is_done: bool,
    /// How many looks.
    pub looks: usize,
}

/// Above which share of failures a job stops. One that is not known any more has stopped.
pub(super) fn max_failure_rate(known: &HashMap<String, Rc<Known>>, job: &str) -> f64 {
    known.get(job).map_or(1.0, |known| known.request.max_failure_rate)
}

impl Outcomes {
    pub fn len(&self) -> usize {
        self.done.values().map(Vec::len).sum::<usize>()
            + self.looked.values().map(Vec::len).sum::<usize>()
    }

    /// Whether items of the job are among it that were claimed.
    pub fn has_done(&self, job: &str) -> bool {
        self.done.contains_key(job)
    }

    pub fn done(&mut self, job: String, done: Done) {
        self.done.entry(job).or_default().push(done);
    }

    pub fn looked(&mut self, job: String, looked: Looked) {
        self.looked.entry(job).or_default().push(looked);
    }

    /// Puts what could not be written before what has come since.
    pub fn put_back(&mut self, earlier: Self) {
        let later = mem::replace(self, earlier);
        for (job, done) in later.done {
            self.done.entry(job).or_default().extend(done);
        }
        for (job, looked) in later.looked {
            self.looked.entry(job).or_default().extend(looked);
        }
    }

    /// Writes those that the trail has the outcomes of, and tells what was `written`. What is
    /// left was not.
    ///
    /// # Errors
    /// When the store does not take them.
    pub async fn write(
        &mut self,
        store: &Store,
        lane: &Lane,
        lease: &Lease,
        known: &HashMap<String, Rc<Known>>,
        written: &mut Vec<Written>,
    ) -> Result<(), StoreError> {
        let jobs: Vec<String> = self.done.keys().cloned().collect();
        for job in jobs {
            let failures = max_failure_rate(known, &job);
            let Some(all) = self.done.get_mut(&job) else { continue };
            // An item that had ended before the trail has its outcome would tell another story
            // than the trail, if this process was killed in between.
            let events: Vec<Uuid> = all.iter().map(|done| done.event).collect();
            let open = unsettled(store, &events).await?;
            all.sort_by_key(|done| open.contains(&done.event));
            let mut settled = all.partition_point(|done| !open.contains(&done.event));
            while settled > 0 {
                let some = settled.min(MOST_AT_ONCE);
                let ended = claims::end(store, &job, &all[..some], failures).await;
                if ended.is_err() {
                    // They may be written all the same.
                    all[..some].iter_mut().for_each(|done| done.is_own = false);
                }
                ended?;
                all.drain(..some);
                settled -= some;
            }
            if all.is_empty() {
                self.done.remove(&job);
            }
            written.push(Written { job, is_done: true, looks: 0 });
        }
        let jobs: Vec<String> = self.looked.keys().cloned().collect();
        for job in jobs {
            let quiet = known.get(&job).and_then(|known| known.quiet()).unwrap_or(0);
            let looks = self.looked.get(&job).map_or(0, Vec::len);
            for looked in self.looked.get(&job).into_iter().flat_map(|all| all.chunks(MOST_AT_ONCE))
            {
                looks::write(store, &job, lane, lease, looked, quiet).await?;
            }
            self.looked.remove(&job);
            written.push(Written { job, is_done: false, looks });
        }
        Ok(())
    }
}
