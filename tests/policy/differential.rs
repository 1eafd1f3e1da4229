//! The engine against the naive evaluator, on random documents and requests.

use crate::generate::Generator;
use crate::reference;
use crate::support::decision;

/// How many pairs: some in an unoptimized build, many in a release build, and as
/// many as `POLICY_PAIRS` says.
fn pairs() -> u64 {
    let usual = if cfg!(debug_assertions) { 5_000 } else { 500_000 };
    std::env::var("POLICY_PAIRS").map_or(usual, |pairs| pairs.parse().unwrap())
}

#[test]
fn the_engine_and_the_naive_evaluator_agree_on_random_pairs() {
    let mut counts = std::collections::BTreeMap::<String, u64>::new();
    for seed in 0..pairs() {
        let case = Generator::new(seed).case();
        let (engine, naive) = (decision(&case), reference::decide(&case));
        assert_eq!(engine, naive, "seed {seed}: {case:#}");
        *counts.entry(engine).or_default() += 1;
    }
    // The pairs are worth something only if every outcome is frequent.
    println!("{counts:?}");
    for outcome in ["allowed", "explicitDeny", "implicitDeny"] {
        assert!(counts[outcome] * 10 > pairs(), "{counts:?}");
    }
}
