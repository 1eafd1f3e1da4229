//! `[telemetry]`: traces, for whoever looks for where time goes.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;
use url::Url;

use super::https_or_loopback;

/// `[telemetry]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// Where traces go; without it there are none.
    pub otlp: Option<Otlp>,
}

/// `[telemetry.otlp]`: traces over OTLP (HTTP with protobuf).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Otlp {
    /// Where a collector takes traces.
    pub endpoint: Url,
    /// The file with further headers of each request, one `Name: value` a line.
    pub headers_file: Option<PathBuf>,
    /// PEM certificates that the collector is trusted by, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The share of the traces that begin here which are sent, from 0 to 1.
    #[serde(default = "default_ratio")]
    pub sample_ratio: f64,
    /// How long the collector may take for a request.
    #[serde(with = "humantime_serde", default = "default_timeout")]
    pub timeout: Duration,
}

fn default_ratio() -> f64 {
    0.01
}

fn default_timeout() -> Duration {
    Duration::from_secs(5)
}

impl Telemetry {
    /// What the types cannot say.
    pub(super) fn check(&self, mut wrong: impl FnMut(String, &str)) {
        let Some(otlp) = &self.otlp else { return };
        let Otlp { endpoint, headers_file, sample_ratio, timeout, .. } = otlp;
        let is_http = matches!(endpoint.scheme(), "http" | "https") && endpoint.has_host();
        // What is sent where is logged.
        if !is_http || !endpoint.username().is_empty() || endpoint.password().is_some() {
            wrong(
                "telemetry.otlp.endpoint".into(),
                "write an http:// or https:// URL without user and password, such as \"http://collector:4318\"",
            );
        } else if headers_file.is_some() && !https_or_loopback(endpoint) {
            wrong(
                "telemetry.otlp.endpoint".into(),
                "headers_file holds secrets: write an https:// URL (http:// is for loopback addresses only)",
            );
        }
        if !(0.0..=1.0).contains(sample_ratio) {
            wrong("telemetry.otlp.sample_ratio".into(), "write a number from 0 to 1");
        }
        if timeout.is_zero() || *timeout > Duration::from_secs(60) {
            wrong("telemetry.otlp.timeout".into(), "write a duration from 1ms to 1min");
        }
    }
}
