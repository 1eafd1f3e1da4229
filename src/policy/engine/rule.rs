//! The one rule by which the layers of policies make a decision.

/// What the applicable statements of one layer say, with one of them: a Deny if
/// there is one, else an Allow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Found<S> {
    Deny(S),
    Allow(S),
    Nothing,
}

/// What the layers say together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verdict<S> {
    /// Denied, by this statement.
    Deny(S),
    /// Allowed, by this statement.
    Allow(S),
    /// A policy allows it, but no guardrail does: implicitly denied.
    Limited,
    /// No policy allows it: implicitly denied.
    Nothing,
}

/// Judges the three layers:
///
/// 1. a Deny that applies in any layer denies;
/// 2. otherwise an Allow must apply in the caller's own policies *or* in a vault
///    policy, as for identity-based and resource-based policies within one
///    account (the gateway's callers and vaults belong to one owner);
/// 3. and, where there are guardrails (`Some`), an Allow must apply in those
///    too, as for service control policies;
/// 4. otherwise the request is denied.
///
/// Source: IAM User Guide, "Policy evaluation logic", "Policy evaluation for
/// requests within a single account"; AWS Organizations User Guide, "SCP
/// evaluation".
pub(crate) fn judge<S>(
    own: Found<S>,
    guardrails: Option<Found<S>>,
    vaults: Found<S>,
) -> Verdict<S> {
    match (own, guardrails, vaults) {
        (Found::Deny(deny), ..) | (_, Some(Found::Deny(deny)), _) | (.., Found::Deny(deny)) => {
            Verdict::Deny(deny)
        }
        (Found::Allow(_), Some(Found::Nothing), _) | (_, Some(Found::Nothing), Found::Allow(_)) => {
            Verdict::Limited
        }
        (Found::Allow(allow), ..) | (.., Found::Allow(allow)) => Verdict::Allow(allow),
        (Found::Nothing, _, Found::Nothing) => Verdict::Nothing,
    }
}
