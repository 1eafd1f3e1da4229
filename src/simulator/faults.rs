//! Faults on request: what goes wrong, for which requests, how often.

use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, de};

use super::operation::{Operation, Wanted};

/// One way in which requests go wrong, and which of them. As JSON:
/// `{"effect": "throttle", "operation": "AbortMultipartUpload", "times": 2}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// What happens instead of the genuine reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// The reply comes this much later, in milliseconds. A fault without an effect
    /// only delays, and may strike beside another.
    #[serde(default)]
    pub latency_millis: u64,
    /// Only to this operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// Only to requests about this account: the one in the path or, to assume a role, the
    /// role's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// Only to requests about the vault of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault_name: Option<String>,
    /// Only to requests about the upload with this ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload_id: Option<String>,
    /// The share of the requests, over 0 and up to 1, evenly spread: 0.25 strikes
    /// every fourth. All of them if absent.
    #[serde(default, deserialize_with = "share", skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// How many times it still strikes. Until it is removed if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// Carry the operation out first, so that only its reply is late or spoiled.
    #[serde(default)]
    pub carried_out: bool,
    /// What the upload's owner does once the reply is made, before it is sent: what races
    /// with whatever the caller does next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<Activity>,
}

/// What an upload's owner does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Activity {
    /// Sends one more part.
    Part,
    /// Completes the upload.
    Completion,
}

/// What a fault does. As JSON a name, such as `"hang"`, or an object of one
/// member, such as `{"notJson": {"status": 502}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Effect {
    /// 400 `ThrottlingException`.
    Throttle,
    /// 400 `ThrottlingException` for the requests above this rate, as a real
    /// request quota would.
    RateLimit {
        /// Requests per second, over 0, which is also the size of the largest burst.
        #[serde(deserialize_with = "positive")]
        per_second: f64,
    },
    /// 500 `ServiceUnavailableException`.
    Unavailable,
    /// Any error in Glacier's form.
    Error {
        /// The HTTP status.
        status: u16,
        /// The exception's name.
        code: String,
        /// The sentence beside it.
        message: String,
    },
    /// The connection is reset (TCP RST) instead of a reply.
    Reset,
    /// No reply, ever; the connection stays open.
    Hang,
    /// The genuine reply breaks off halfway through its body, if it has none then
    /// of one that is made up. The operation is always carried out.
    Truncate,
    /// A page of HTML such as a proxy makes, with this status.
    NotJson {
        /// The HTTP status.
        status: u16,
    },
    /// A body of JSON that has nothing of the genuine one: `{}`.
    Bare,
    /// A body that never ends, with this status.
    Endless {
        /// The HTTP status.
        status: u16,
    },
    /// A page of a list that names each of its entries twice.
    Doubled,
    /// A page of a list with this marker, so that the list comes back to where it was.
    Marker {
        /// The marker.
        text: String,
    },
}

/// The faults in force.
#[derive(Default)]
pub(super) struct Faults(Vec<Active>);

struct Active {
    fault: Fault,
    /// How much of the next strike has accrued at the fault's rate.
    accrued: f64,
    /// For a rate limit: the requests in store, and since when.
    bucket: Option<(f64, Instant)>,
}

/// What strikes one request.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Strike {
    pub(super) delay: Duration,
    pub(super) effect: Option<Effect>,
    pub(super) carried_out: bool,
    pub(super) then: Option<Activity>,
}

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push(Active { fault, accrued: 0.0, bucket: None });
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter().map(|active| &active.fault)
    }

    /// What the faults do to the next request: the first effect whose turn it is,
    /// and the latency of all that strike.
    pub(super) fn strike(&mut self, wanted: Option<&Wanted>, now: Instant) -> Strike {
        let mut strike = Strike::default();
        for active in &mut self.0 {
            let only_delays = active.fault.effect.is_none();
            if (only_delays || strike.effect.is_none()) && active.is_due(wanted, now) {
                strike.delay += Duration::from_millis(active.fault.latency_millis);
                strike.carried_out |= active.fault.carried_out;
                strike.then = strike.then.or(active.fault.then);
                if !only_delays {
                    strike.effect = active.fault.effect.clone();
                }
            }
        }
        self.0.retain(|active| active.fault.times != Some(0));
        strike
    }
}

impl Active {
    fn is_due(&mut self, wanted: Option<&Wanted>, now: Instant) -> bool {
        if !self.fault.is_about(wanted) {
            return false;
        }
        self.accrued += self.fault.rate.unwrap_or(1.0);
        // Ten times 0.1 is a little less than 1.
        if self.accrued < 1.0 - 1e-9 {
            return false;
        }
        self.accrued -= 1.0;
        if let Some(Effect::RateLimit { per_second }) = self.fault.effect {
            let burst = per_second.max(1.0);
            let (stored, since) = self.bucket.unwrap_or((burst, now));
            let stored = burst.min(stored + (now - since).as_secs_f64() * per_second);
            let allowed = stored >= 1.0;
            self.bucket = Some((if allowed { stored - 1.0 } else { stored }, now));
            if allowed {
                return false;
            }
        }
        if let Some(times) = &mut self.fault.times {
            *times = times.saturating_sub(1);
        }
        true
    }
}

impl Fault {
    fn is_about(&self, wanted: Option<&Wanted>) -> bool {
        let Some(wanted) = wanted else {
            return self.operation.is_none()
                && self.account_id.is_none()
                && self.vault_name.is_none()
                && self.upload_id.is_none();
        };
        self.operation.is_none_or(|operation| operation == wanted.operation)
            && self.account_id.as_ref().is_none_or(|account| *account == wanted.account)
            && self.vault_name.as_ref().is_none_or(|vault| *vault == wanted.vault)
            && self.upload_id.as_ref().is_none_or(|upload| *upload == wanted.upload)
    }
}

fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let share = positive(deserializer)?;
    if share > 1.0 { Err(de::Error::custom("a rate is at most 1")) } else { Ok(Some(share)) }
}

fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let number = f64::deserialize(deserializer)?;
    if number > 0.0 { Ok(number) } else { Err(de::Error::custom("a rate is over 0")) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn faults(json: &str) -> Faults {
        let mut faults = Faults::default();
        let listed: Vec<Fault> = serde_json::from_str(json).unwrap();
        listed.into_iter().for_each(|fault| faults.add(fault));
        faults
    }

    fn struck(faults: &mut Faults, path: &str) -> Option<Effect> {
        faults.strike(Wanted::of("DELETE", path).as_ref(), Instant::now()).effect
    }

    const ABORT: &str = "/-/vaults/v/multipart-uploads/u";

    #[test]
    fn a_rate_is_spread_evenly() {
        let mut faults = faults(r#"[{"effect": "throttle", "rate": 0.1}]"#);
        let hits: Vec<bool> = (0..20).map(|_| struck(&mut faults, ABORT).is_some()).collect();
        assert_eq!(hits.iter().filter(|hit| **hit).count(), 2);
        assert!(hits[9] && hits[19]);
    }

    #[test]
    fn a_fault_strikes_only_what_it_names_and_only_so_often() {
        let mut faults = faults(
            r#"[{"effect": "reset", "operation": "AbortMultipartUpload", "uploadId": "u", "times": 1},
                {"effect": "hang", "vaultName": "w"}]"#,
        );
        assert_eq!(struck(&mut faults, "/-/vaults/v/multipart-uploads/other"), None);
        assert_eq!(struck(&mut faults, "/-/vaults/v"), None);
        assert_eq!(struck(&mut faults, ABORT), Some(Effect::Reset));
        assert_eq!(struck(&mut faults, ABORT), None);
        assert_eq!(struck(&mut faults, "/-/vaults/w"), Some(Effect::Hang));
        assert_eq!(faults.iter().count(), 1, "a spent fault is gone");
    }

    #[test]
    fn a_rate_limit_lets_requests_through_as_the_bucket_fills() {
        let mut faults = faults(r#"[{"effect": {"rateLimit": {"perSecond": 2}}}]"#);
        let start = Instant::now();
        let mut at = |millis| faults.strike(None, start + Duration::from_millis(millis)).effect;
        assert_eq!([at(0), at(0)], [None, None]);
        assert!(at(0).is_some());
        assert_eq!(at(500), None);
        assert!(at(500).is_some());
    }

    #[test]
    fn a_rate_out_of_range_is_refused() {
        for wrong in [
            r#"{"effect": "hang", "rate": 0}"#,
            r#"{"effect": "hang", "rate": 1.5}"#,
            r#"{"effect": {"rateLimit": {"perSecond": -1}}}"#,
            r#"{"effect": "hang", "count": 2}"#,
        ] {
            assert!(serde_json::from_str::<Fault>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn latency_comes_beside_another_fault() {
        let mut faults =
            faults(r#"[{"effect": "unavailable"}, {"latencyMillis": 20}, {"effect": "hang"}]"#);
        let strike = faults.strike(None, Instant::now());
        assert_eq!(strike.delay, Duration::from_millis(20));
        assert_eq!(strike.effect, Some(Effect::Unavailable));
    }
}
