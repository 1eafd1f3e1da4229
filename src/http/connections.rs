//! The REST listener's connections, counted. Those beyond the limit wait, and nobody
//! would know why.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use actix_web::dev::Extensions;

/// How many connections there are and may be.
#[derive(Clone)]
pub struct Connections {
    open: Arc<AtomicUsize>,
    /// The most that are served at once.
    pub limit: usize,
}

/// One connection; counted until this is dropped.
struct Open(Arc<AtomicUsize>);

impl Connections {
    /// None yet, and `limit` at most.
    pub fn new(limit: usize) -> Self {
        Self { open: Arc::default(), limit }
    }

    /// Counts a connection until what is kept with it is dropped.
    pub fn count(&self, kept: &mut Extensions) {
        self.open.fetch_add(1, Ordering::Relaxed);
        kept.insert(Open(self.open.clone()));
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
