//! The codes of the linter: what each means, and whether it refuses a policy.

use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The policy is legal, but its author hardly meant it.
    Warning,
    /// The document is refused, and the whole set with it.
    Error,
}

macro_rules! codes {
    ($($variant:ident = $code:literal, $severity:ident, $meaning:literal;)*) => {
        /// The stable code of an error or a warning: what a program should look at.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum LintCode {
            $(#[doc = $meaning] $variant,)*
        }

        impl LintCode {
            /// All codes.
            pub const ALL: &'static [LintCode] = &[$(LintCode::$variant),*];

            /// The code as it is printed.
            pub const fn as_str(self) -> &'static str {
                match self { $(LintCode::$variant => $code),* }
            }

            /// Whether the code is an error or a warning.
            pub const fn severity(self) -> Severity {
                match self { $(LintCode::$variant => Severity::$severity),* }
            }

            /// What the code means, as `docs/policy-reference.md` has it.
            pub const fn meaning(self) -> &'static str {
                match self { $(LintCode::$variant => $meaning),* }
            }
        }
    };
}

codes! {
    InvalidJson = "invalid-json", Error, "The file is not JSON.";
    WrongType = "wrong-type", Error, "A value has the wrong JSON type, such as a number instead of a string.";
    DuplicateKey = "duplicate-key", Error, "A JSON object has the same key twice.";
    UnknownElement = "unknown-element", Error, "An element does not exist in IAM's language.";
    MissingElement = "missing-element", Error, "A required element is missing.";
    EmptyElement = "empty-element", Error, "An element has no values.";
    ExclusiveElements = "exclusive-elements", Error, "A statement has an element and its `Not…` form.";
    UnknownVersion = "unknown-version", Error, "`Version` is not a version of IAM's language.";
    WrongEffect = "wrong-effect", Error, "`Effect` is not `Allow` or `Deny`.";
    DuplicateSid = "duplicate-sid", Error, "Two statements of a document have the same `Sid`.";
    InvalidSid = "invalid-sid", Error, "A `Sid` has characters that are not letters or digits.";
    InvalidAction = "invalid-action", Error, "An action is not written as `service:Action`.";
    UnknownAction = "unknown-action", Error, "Glacier or the gateway has no such action.";
    UnknownService = "unknown-service", Error, "A service's prefix is a misspelling of `glacier` or `gateway`.";
    InvalidResource = "invalid-resource", Error, "A resource is not an ARN and not `*`.";
    InvalidVariable = "invalid-variable", Error, "A policy variable is malformed, or stands before the fifth colon of an ARN.";
    ImpossibleArn = "impossible-arn", Error, "No vault, team or share of the audit trail can have such an ARN; or all actions are Glacier's and all resources are another service's.";
    PrincipalNotAllowed = "principal-not-allowed", Error, "A policy that is not a vault policy has `Principal` or `NotPrincipal`.";
    InvalidPrincipal = "invalid-principal", Error, "A principal is not an ARN, an account or `*`, or has a wildcard in it.";
    UnknownOperator = "unknown-operator", Error, "A condition operator does not exist.";
    UnknownKey = "unknown-key", Error, "A context key does not exist.";
    TypeMismatch = "type-mismatch", Error, "A condition operator cannot compare values of the key's type.";
    WrongValue = "wrong-value", Error, "A condition operator cannot read a value, such as a number that is not one.";
    Misplaced = "misplaced", Error, "A file or folder stands where the gateway reads no policies, or has a name that no team can have.";
    Unreadable = "unreadable", Error, "A file or folder cannot be read.";
    AllowsNothing = "allows-nothing", Warning, "A folder allows nothing to anybody. `check-config` and `serve` say so; `policy lint` does not.";
    UnknownAccount = "unknown-account", Warning, "No configured account has this name, or this tag. Only `check-config` says so.";
    NeverMatches = "never-matches", Warning, "A statement never applies; or one of its actions, resources or conditions does not go with the others.";
    ActionNeverPerformed = "action-never-performed", Warning, "The gateway does not perform some of a statement's actions.";
    ForeignResource = "foreign-resource", Warning, "A resource belongs to another service.";
    ForeignPrincipal = "foreign-principal", Warning, "No caller of the gateway is this principal.";
    KeyNeverFilled = "key-never-filled", Warning, "A context key is never present in a request to the gateway.";
    ContradictingConditions = "contradicting-conditions", Warning, "No request fulfils all conditions of a statement on one key.";
    NoValues = "no-values", Warning, "A condition has an empty list of values.";
    ShadowedAllow = "shadowed-allow", Warning, "A `Deny` applies to every request that an `Allow` would allow.";
    ArnWithoutAccount = "arn-without-account", Warning, "The ARN of a vault has no account, so it matches no vault.";
    IncompleteArn = "incomplete-arn", Warning, "An ARN has fewer than six fields; the missing ones count as `*`.";
    LiteralVariable = "literal-variable", Warning, "`${…}` is plain text, because the version of the language has no variables.";
    NoVersion = "no-version", Warning, "A document has no `Version` and so no variables.";
    OldVersion = "old-version", Warning, "The version of the language has no variables.";
    AllowAll = "allow-all", Warning, "A statement allows everything on every vault.";
    AllowEveryone = "allow-everyone", Warning, "A vault policy allows every team.";
    AllowNotAction = "allow-not-action", Warning, "`Allow` with `NotAction` allows every action that it does not name.";
    AllowNotResource = "allow-not-resource", Warning, "`Allow` with `NotResource` allows every vault that it does not name.";
    AllowNotPrincipal = "allow-not-principal", Warning, "`Allow` with `NotPrincipal` allows every caller that it does not name.";
    UnguardedForAllValues = "unguarded-for-all-values", Warning, "`ForAllValues` also allows requests without the key.";
    DoubtfulOperator = "doubtful-operator", Warning, "A condition operator hardly fits the key's type.";
    MultivaluedKey = "multivalued-key", Warning, "A key may have several values, and the operator is meant for one.";
    SingleValuedKey = "single-valued-key", Warning, "A key has one value, and the operator is meant for several.";
    NotAnArn = "not-an-arn", Warning, "A condition compares an ARN with a text that is not an ARN.";
    TooBig = "too-big", Warning, "A document is larger than AWS accepts.";
    SlowPatterns = "slow-patterns", Warning, "In the worst case, the patterns in a document's conditions need more than 256 comparisons for each character of a value. The next version refuses the document.";
}
