//! Signature Version 4, verified: the signature is computed anew from the request
//! as it arrived and compared (AWS IAM User Guide, "Create a signed AWS API
//! request").

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_lc_rs::constant_time;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use secrecy::ExposeSecret;
use time::{Duration, OffsetDateTime, PrimitiveDateTime, macros::format_description};

use super::{Account, error::GlacierError};
use crate::glacier::{AccountId, Region};

/// How far a request's date may lie from the service's clock.
const TOLERANCE: Duration = Duration::minutes(5);

/// What SigV4 covers of a request.
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    /// Path and query as they stood in the request line.
    pub(super) target: &'a str,
    /// All headers, names in lower case.
    pub(super) headers: &'a [(String, String)],
    /// The payload's SHA-256 in lower-case hexadecimal.
    pub(super) payload_sha256: String,
}

/// Whose request it is and for which region, as the signature proves it.
pub(super) struct Caller {
    pub(super) account: AccountId,
    pub(super) region: Region,
}

/// The parts of an `Authorization` header.
struct Authorization<'a> {
    access_key_id: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

/// Checks the signature of a request against `accounts` at `now`.
///
/// # Errors
/// `MissingAuthenticationTokenException`, `IncompleteSignatureException`,
/// `UnrecognizedClientException` (400) or `InvalidSignatureException` (403), as
/// AWS answers.
pub(super) fn verify(
    request: &Signed<'_>,
    accounts: &[Account],
    now: OffsetDateTime,
) -> Result<Caller, GlacierError> {
    let authorization = request.header("authorization").ok_or_else(|| {
        client_error(
            "MissingAuthenticationTokenException",
            "Request is missing Authentication Token",
        )
    })?;
    let claim = parse(authorization)?;
    let names = request.headers.iter().map(|(name, _)| name.as_str());
    let mut to_be_signed = names.filter(|name| name.starts_with("x-amz-")).chain(["host"]);
    if let Some(name) = to_be_signed.find(|name| !claim.signed_headers.contains(name)) {
        return Err(GlacierError::invalid_signature(format!(
            "'{name}' must be a 'SignedHeader' in the AWS Authorization."
        )));
    }
    if request.header("host").is_none() {
        return Err(client_error("IncompleteSignatureException", "The Host header is missing."));
    }

    let unknown = || {
        client_error(
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        )
    };
    let account = accounts
        .iter()
        .find(|account| account.access_key_id == claim.access_key_id)
        .ok_or_else(unknown)?;
    let expected_token = account.session_token.as_ref().map(|token| token.expose_secret());
    if request.header("x-amz-security-token") != expected_token {
        return Err(unknown());
    }
    let region = check_scope(&claim)?;
    let date = check_date(request.header("x-amz-date").unwrap_or_default(), claim.date, now)?;

    let expected = signature(request, &claim, account, date)?;
    let same =
        constant_time::verify_slices_are_equal(expected.as_bytes(), claim.signature.as_bytes());
    same.map_err(|_| {
        GlacierError::invalid_signature(
            "The request signature we calculated does not match the signature you provided. \
             Check your AWS Secret Access Key and signing method. \
             Consult the service documentation for details.",
        )
    })?;
    Ok(Caller { account: account.account_id.clone(), region })
}

impl Signed<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

fn client_error(code: &str, message: impl Into<String>) -> GlacierError {
    GlacierError::new(actix_web::http::StatusCode::BAD_REQUEST, code, message)
}

fn parse(authorization: &str) -> Result<Authorization<'_>, GlacierError> {
    let incomplete = |what: &str| client_error("IncompleteSignatureException", what);
    let fields = authorization.strip_prefix("AWS4-HMAC-SHA256 ").ok_or_else(|| {
        incomplete("Authorization header requires the AWS4-HMAC-SHA256 algorithm.")
    })?;
    let field = |name: &str| {
        let values = fields.split(',').filter_map(|f| f.trim().split_once('='));
        values.into_iter().find(|(n, _)| *n == name).map(|(_, value)| value).ok_or_else(|| {
            incomplete(&format!("Authorization header requires '{name}' parameter."))
        })
    };
    let scope: Vec<&str> = field("Credential")?.split('/').collect();
    let [access_key_id, date, region, service, "aws4_request"] = scope[..] else {
        return Err(incomplete(
            "Credential must have exactly 5 slash-delimited elements, \
             e.g. keyid/date/region/service/term.",
        ));
    };
    Ok(Authorization {
        access_key_id,
        date,
        region,
        service,
        signed_headers: field("SignedHeaders")?.split(';').collect(),
        signature: field("Signature")?,
    })
}

/// The scope must name this service and a region that could be one.
fn check_scope(claim: &Authorization<'_>) -> Result<Region, GlacierError> {
    if claim.service != "glacier" {
        return Err(GlacierError::invalid_signature(
            "Credential should be scoped to correct service: 'glacier'.",
        ));
    }
    claim.region.parse().map_err(|_| {
        GlacierError::invalid_signature("Credential should be scoped to a valid region.")
    })
}

/// Reads `x-amz-date`, which must agree with the scope's date and with the clock.
fn check_date(
    text: &str,
    scope_date: &str,
    now: OffsetDateTime,
) -> Result<OffsetDateTime, GlacierError> {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let date = PrimitiveDateTime::parse(text, format).map(PrimitiveDateTime::assume_utc).map_err(
        |_| {
            client_error(
                "IncompleteSignatureException",
                "Date must be in ISO-8601 'basic format', as 20121231T235959Z in X-Amz-Date.",
            )
        },
    )?;
    if !text.starts_with(scope_date) || scope_date.len() != "20121231".len() {
        return Err(GlacierError::invalid_signature(format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from \
             HTTP: '{scope_date}' != '{}', from '{text}'.",
            &text[.."20121231".len()]
        )));
    }
    let written = |moment: OffsetDateTime| moment.format(format).unwrap_or_default();
    let (earliest, latest) = (now - TOLERANCE, now + TOLERANCE);
    if date < earliest {
        return Err(GlacierError::invalid_signature(format!(
            "Signature expired: {text} is now earlier than {} ({} - 5 min.)",
            written(earliest),
            written(now)
        )));
    }
    if date > latest {
        return Err(GlacierError::invalid_signature(format!(
            "Signature not yet current: {text} is still later than {} ({} + 5 min.)",
            written(latest),
            written(now)
        )));
    }
    Ok(date)
}

/// The signature the request ought to have. Only the headers it says it signed
/// take part; a session token does so as one of them.
fn signature(
    request: &Signed<'_>,
    claim: &Authorization<'_>,
    account: &Account,
    date: OffsetDateTime,
) -> Result<String, GlacierError> {
    let unsignable =
        |_| client_error("IncompleteSignatureException", "The request cannot be signed.");
    let secret = account.secret_access_key.expose_secret();
    let identity = Credentials::new(&account.access_key_id, secret, None, None, "simulator").into();
    let mut settings = SigningSettings::default();
    settings.excluded_headers = None;
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(claim.region)
        .name(claim.service)
        .time(SystemTime::from(date))
        .settings(settings)
        .build()
        .map_err(|_| GlacierError::unavailable())?;

    let signed = request.headers.iter().filter(|(name, _)| {
        name != "authorization" && claim.signed_headers.contains(&name.as_str())
    });
    // The signature covers the payload's hash as announced; that the payload has
    // this hash is for the operation to check.
    let payload = request.header("x-amz-content-sha256").unwrap_or(&request.payload_sha256);
    let signable = SignableRequest::new(
        request.method,
        request.target,
        signed.map(|(name, value)| (name.as_str(), value.as_str())),
        SignableBody::Precomputed(payload.to_owned()),
    )
    .map_err(unsignable)?;
    let (_, signature) = sign(signable, &parameters.into()).map_err(unsignable)?.into_parts();
    Ok(signature)
}
