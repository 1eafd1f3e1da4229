//! What a simulator knows and remembers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    clock::Clock,
    config::Config,
    error::GlacierError,
    faults::{Activity, Faults},
    received::Requests,
    seed::SeedVault,
    sessions::Sessions,
    vaults::Vaults,
};
use crate::domain::UploadId;

/// A simulator's state, shared by its two endpoints and whoever embeds it.
#[derive(Clone)]
pub struct Simulator {
    pub(super) config: Arc<Config>,
    state: Arc<Mutex<State>>,
}

pub(super) struct State {
    pub(super) vaults: Vaults,
    pub(super) faults: Faults,
    pub(super) received: Requests,
    pub(super) clock: Clock,
    pub(super) sessions: Sessions,
}

impl Simulator {
    pub(super) fn new(config: Config) -> Self {
        let state = Arc::new(Mutex::new(State::new(&config)));
        Self { config: Arc::new(config), state }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything: vaults, requests, added faults, and the clock.
    pub(super) fn reset(&self) {
        *self.state() = State::new(&self.config);
    }

    /// Creates a vault unless there is one, and starts uploads in it. Returns
    /// their IDs in order.
    ///
    /// # Errors
    /// What Glacier would refuse: a part size or description against its rules.
    pub fn seed(&self, seed: &SeedVault) -> Result<Vec<UploadId>, GlacierError> {
        let mut state = self.state();
        let now = state.clock.now();
        seed.plant(&mut state.vaults, now)
    }
}

impl Simulator {
    /// Does what an upload's owner would.
    ///
    /// # Errors
    /// What Glacier would refuse.
    pub fn act(&self, upload: &str, activity: Activity) -> Result<(), GlacierError> {
        let mut state = self.state();
        let now = state.clock.now();
        state.vaults.act(upload, activity, now)
    }
}

impl State {
    fn new(config: &Config) -> Self {
        let mut faults = Faults::default();
        config.faults.iter().cloned().for_each(|fault| faults.add(fault));
        Self {
            vaults: Vaults::new(config.rules),
            faults,
            received: Requests::default(),
            clock: Clock::new(config.clock_skew),
            sessions: Sessions::default(),
        }
    }
}
