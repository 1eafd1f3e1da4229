//! Benchmarks of the policy engine beside its peers: see `benches/decision.rs`.
