//! A place that a call takes, and the wait for one.

use std::{sync::Arc, time::Instant};

use tokio::{sync::oneshot, time::timeout_at};

use super::{
    Ceiling, Took,
    queue::{Held, Round, Told},
};

/// Room for a call. It is given back when this is dropped.
pub struct Slot {
    pub(super) ceiling: Arc<Ceiling>,
    pub(super) background: bool,
    /// Whether it was given though there was no room.
    pub(super) is_try: bool,
    /// How often calls had been written off when it was given.
    pub(super) round: Round,
    pub(super) begun: Instant,
    /// How Glacier took the call.
    pub took: Took,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.ceiling.leave(self);
    }
}

/// One who waits in the queue, until this is dropped.
pub(super) struct Waiting {
    pub ceiling: Arc<Ceiling>,
    pub team: Option<String>,
    pub id: u64,
    pub told: oneshot::Receiver<Told>,
    pub deadline: Instant,
}

impl Waiting {
    /// Waits for room.
    ///
    /// # Errors
    /// There was none in time.
    pub async fn end(mut self) -> Result<Slot, Held> {
        match timeout_at(self.deadline.into(), &mut self.told).await {
            Ok(Ok(told)) => told.map(|round| self.slot(round)),
            // Another team made this one give way, or the wait was too long.
            Ok(Err(_)) | Err(_) => {
                let now = Instant::now();
                let mut state = self.ceiling.state();
                state.refused.overloaded += u64::from(now >= self.deadline);
                Err(state.waited_in_vain(now))
            }
        }
    }

    fn slot(&self, round: Round) -> Slot {
        Slot {
            ceiling: self.ceiling.clone(),
            background: self.team.is_none(),
            is_try: false,
            round,
            begun: Instant::now(),
            took: Took::Unclear,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let waited = self.ceiling.state().queue.remove(self.team.as_deref(), self.id);
        // Given room in the last moment, which nobody will take.
        if !waited && let Ok(Ok(round)) = self.told.try_recv() {
            drop(self.slot(round));
        }
    }
}
