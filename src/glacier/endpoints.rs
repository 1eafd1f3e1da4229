//! Where Glacier answers: a client for each endpoint and region, which all accounts share
//! that use it. Whose credentials sign is said call by call.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use aws_config::{BehaviorVersion, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_glacier::{Client, config};
use tokio_rustls::TlsConnector;
use url::Url;

use super::{
    direct::{self, DirectAbort, SeenCredentials},
    response::{CheckResponse, ShortAnswer},
};
use crate::{config::Aws, domain::Region};

/// What asks one region's Glacier at one endpoint.
pub(super) struct Regional {
    pub(super) client: Client,
    pub(super) direct_abort: Option<DirectAbort>,
}

/// A URL, if it is not AWS's public one, and a region.
type Place = (Option<Url>, Region);

/// All endpoints that are in use.
pub(super) struct Endpoints {
    settings: Aws,
    shared: SdkConfig,
    /// The gateway's own credentials.
    seen: SeenCredentials,
    /// `None` if all aborts go to the SDK.
    tls: Option<Option<TlsConnector>>,
    known: Mutex<HashMap<Place, Weak<Regional>>>,
}

/// The time limits of a call and of its attempts.
pub(super) fn timeouts(settings: &Aws) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(settings.connect_timeout)
        .read_timeout(settings.read_timeout)
        .operation_attempt_timeout(settings.attempt_timeout)
        .operation_timeout(settings.operation_timeout)
        .build()
}

/// How often a call is attempted.
pub(super) fn retries(settings: &Aws) -> RetryConfig {
    RetryConfig::standard().with_max_attempts(settings.max_attempts)
}

impl Endpoints {
    /// Credentials of the gateway's own come from AWS's default chain unless given. Nothing
    /// is sent yet.
    pub(super) async fn new(settings: &Aws, given: Option<SharedCredentialsProvider>) -> Self {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(config::Region::new(settings.region.as_str().to_owned()))
            .timeout_config(timeouts(settings))
            .retry_config(retries(settings));
        if let Some(credentials) = given {
            loader = loader.credentials_provider(credentials);
        }
        let shared = loader.load().await;
        let seen = SeenCredentials::default();
        let chain = shared.credentials_provider().map(|chain| seen.note(chain));
        let mut shared = shared.into_builder();
        shared.set_credentials_provider(chain);
        let shared = shared.build();
        // With a single attempt there would be none left for the SDK's verdict.
        let tls = (settings.max_attempts > 1).then(direct::tls);
        Self { settings: settings.clone(), shared, seen, tls, known: Mutex::default() }
    }

    /// The client of STS, at the endpoint of the gateway's own region: a session that it
    /// gives is good in all regions.
    pub(super) fn sts(&self) -> aws_sdk_sts::Client {
        let mut config = aws_sdk_sts::config::Builder::from(&self.shared).interceptor(ShortAnswer);
        if let Some(url) = &self.settings.sts_endpoint_url {
            config.set_endpoint_url(Some(text(url)));
        }
        aws_sdk_sts::Client::from_conf(config.build())
    }

    /// What asks the Glacier of `region`, at `url` or else at the endpoint of the settings.
    pub(super) fn at(&self, url: Option<&Url>, region: &Region) -> Arc<Regional> {
        let url = url.or(self.settings.endpoint_url.as_ref());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, regional| regional.strong_count() > 0);
        let place = known.entry((url.cloned(), region.clone())).or_default();
        if let Some(regional) = place.upgrade() {
            return regional;
        }
        let regional = Arc::new(self.regional(url, region));
        *place = Arc::downgrade(&regional);
        regional
    }

    fn regional(&self, url: Option<&Url>, region: &Region) -> Regional {
        let mut config = config::Builder::from(&self.shared)
            .region(config::Region::new(region.as_str().to_owned()))
            .interceptor(CheckResponse);
        // Not in `shared`: there it would redirect STS as well.
        if let Some(url) = url {
            config.set_endpoint_url(Some(text(url)));
        }
        let direct_abort = self.tls.clone().map(|tls| {
            let direct = DirectAbort::new(&self.settings, self.seen.clone(), tls);
            config.push_interceptor(direct.learn());
            direct
        });
        Regional { client: Client::from_conf(config.build()), direct_abort }
    }
}

fn text(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}
