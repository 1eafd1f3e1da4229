//! What a lane learns from the store: its jobs, in whose names they act, and what a holder before
//! it has left.

use std::{collections::HashMap, rc::Rc, time::Instant};

use uuid::Uuid;

use super::{Worker, outcomes::max_failure_rate, task::Known};
use crate::{
    audit::query::{Fate, fates},
    jobs::{
        claims,
        ending::Done,
        error::JobError,
        party::{Party, Stop},
    },
    store::StoreError,
};

impl Worker {
    /// Looks at the lane's jobs, and in whose names they act.
    pub(super) async fn refresh(&mut self) -> Result<(), JobError> {
        let asked = Instant::now();
        let (rows, now) = claims::jobs(&self.store, &self.lane).await?;
        self.clock = (now, asked);
        self.drained.clear();
        self.stopping.retain(|job| self.writing > 0 || self.outcomes.has_done(job));
        let mut known = HashMap::new();
        for row in rows {
            let stop = if row.expires <= now {
                Err(Stop::new("job-expired", "The job took longer than jobs.max_age allows."))
            } else {
                Party::of(&self.jobs.gateway, &row)?
            };
            match stop {
                Ok(party) => {
                    let (id, request) = (row.id.clone(), row.request()?);
                    known.insert(id, Rc::new(Known { row, request, party }));
                }
                Err(Stop { code, detail }) if row.error_code.is_none() => {
                    tracing::warn!(job = row.id, code, "a job stops");
                    claims::stop(&self.store, &row.id, code, &detail).await?;
                }
                Err(_) => {}
            }
        }
        self.known = known;
        self.looks.retain(|job, looks| looks.in_hand > 0 || self.known.contains_key(job));
        for looks in self.looks.values_mut().filter(|looks| looks.in_hand == 0) {
            looks.after = -1;
        }
        for task in self.turns.take() {
            self.queue(task);
        }
        Ok(())
    }

    /// Finds out what became of items that a holder of the lane before this one has left.
    pub(super) async fn sweep(&mut self) -> Result<(), StoreError> {
        let lease = self.lease.borrow().clone();
        let stale = claims::stale(&self.store, &self.lane, &lease).await?;
        let event = |bytes: &[u8]| Uuid::from_slice(bytes).unwrap_or_default();
        let events: Vec<Uuid> = stale.iter().map(|claimed| event(&claimed.event)).collect();
        let fates = fates(&self.store, &events).await?;
        let mut done: HashMap<String, Vec<Done>> = HashMap::new();
        for claimed in stale {
            let (event, taken) = (event(&claimed.event), claimed.taken);
            let one = match fates.get(&event) {
                // Another process will find out what became of it.
                Some(Fate::Open) => continue,
                // Nothing was sent.
                None => taken.put_back(event),
                Some(Fate::Ended { outcome, code, recovered }) => {
                    taken.done(event, outcome, code.as_deref(), *recovered)
                }
            };
            done.entry(claimed.job).or_default().push(Done { is_own: false, ..one });
        }
        for (job, done) in done {
            let failures = max_failure_rate(&self.known, &job);
            claims::end(&self.store, &job, &done, failures).await?;
        }
        Ok(())
    }
}
