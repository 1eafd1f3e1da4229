//! Signature Version 4, verified: the signature is computed anew from the request
//! as it arrived, and compared (IAM User Guide, "Create a signed AWS API
//! request"). Whose secret it takes is for the caller of this module to say.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_lc_rs::constant_time;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use secrecy::{ExposeSecret, SecretString};
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use crate::domain::{AMZ_DATE, Region};

const SERVICE: &str = "glacier";
const DATE_HEADER: &str = "x-amz-date";
/// The longest access key ID (IAM API Reference, "AccessKey").
const MAX_KEY_ID: usize = 128;

/// What a signature covers of a request.
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest<'a> {
    /// The method.
    pub method: &'a str,
    /// Path and query as they stood in the request line.
    pub target: &'a str,
    /// All headers, names in lower case.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The payload's SHA-256 in lower-case hexadecimal.
    pub payload_sha256: &'a str,
}

/// Why a signature proves nothing. The kinds are those that AWS tells apart by
/// error code; the sentences are for the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no `Authorization` header.
    #[error("Request is missing Authentication Token")]
    Missing,
    /// The request does not say, or not clearly, what was signed and how.
    #[error("{0}")]
    Incomplete(String),
    /// The request is not what was signed, or was signed with another secret, for
    /// another service or for another day.
    #[error("{0}")]
    DoesNotMatch(String),
    /// The request was signed too long ago or too far in the future.
    #[error("{0}")]
    Expired(String),
}

/// The parts of an `Authorization` header of Signature Version 4.
#[derive(Debug)]
pub struct Authorization<'a> {
    access_key_id: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> SignedRequest<'a> {
    /// The value of a header that the request has exactly once.
    ///
    /// # Errors
    /// When it is there twice or is not plain ASCII.
    pub fn header(&self, name: &str) -> Result<Option<&'a str>, SignatureError> {
        let mut values = self.headers.iter().filter(|(n, _)| *n == name).map(|(_, value)| *value);
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) if value.is_ascii() => Ok(std::str::from_utf8(value).ok()),
            (Some(_), None) => incomplete(format!("Header '{name}' must be plain ASCII.")),
            (Some(_), Some(_)) => incomplete(format!("Header '{name}' must be given once.")),
        }
    }
}

impl<'a> Authorization<'a> {
    /// Reads the `Authorization` header of `request`.
    ///
    /// # Errors
    /// [`SignatureError::Missing`] or [`SignatureError::Incomplete`].
    pub fn of(request: &SignedRequest<'a>) -> Result<Self, SignatureError> {
        Self::parse(request.header("authorization")?.ok_or(SignatureError::Missing)?)
    }

    /// Reads the value of an `Authorization` header: `AWS4-HMAC-SHA256` and then
    /// `Credential`, `SignedHeaders` and `Signature`, each once.
    ///
    /// # Errors
    /// [`SignatureError::Incomplete`], which says what is wrong.
    pub fn parse(header: &'a str) -> Result<Self, SignatureError> {
        let Some(fields) = header.strip_prefix("AWS4-HMAC-SHA256 ") else {
            return incomplete("Authorization header requires the AWS4-HMAC-SHA256 algorithm.");
        };
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for field in fields.split(',') {
            let (name, value) = field.trim().split_once('=').unwrap_or_default();
            let place = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                _ => return incomplete("Authorization header has a part that is not known."),
            };
            if place.replace(value).is_some() {
                return incomplete(format!("Authorization header has '{name}' twice."));
            }
        }
        let (Some(credential), Some(signed_headers), Some(signature)) =
            (credential, signed_headers, signature)
        else {
            return incomplete(
                "Authorization header requires 'Credential', 'SignedHeaders' and 'Signature'.",
            );
        };

        let scope: Vec<&str> = credential.split('/').collect();
        let [access_key_id, date, region, service, "aws4_request"] = scope[..] else {
            return incomplete("Credential must be KEYID/YYYYMMDD/REGION/SERVICE/aws4_request.");
        };
        if !(1..=MAX_KEY_ID).contains(&access_key_id.len())
            || !access_key_id.bytes().all(|b| b.is_ascii_alphanumeric())
        {
            return incomplete("Credential must begin with an access key ID.");
        }
        let signed_headers: Vec<&str> = signed_headers.split(';').collect();
        if !signed_headers.is_sorted_by(|a, b| a < b)
            || signed_headers.iter().any(|name| name.bytes().any(|b| b.is_ascii_uppercase()))
        {
            return incomplete(
                "SignedHeaders must be sorted, in lower case and without repetition.",
            );
        }
        if signature.len() != 64
            || !signature.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        {
            return incomplete("Signature must be 64 digits of lower-case hexadecimal.");
        }
        Ok(Self { access_key_id, date, region, service, signed_headers, signature })
    }

    /// Whose request it claims to be.
    pub fn access_key_id(&self) -> &'a str {
        self.access_key_id
    }

    /// Checks that `request` was signed with `secret`, for Glacier, and within
    /// `tolerance` of `now`. Returns the region it was signed for.
    ///
    /// # Errors
    /// See [`SignatureError`].
    pub fn verify(
        &self,
        request: &SignedRequest<'_>,
        secret: &SecretString,
        now: OffsetDateTime,
        tolerance: Duration,
    ) -> Result<Region, SignatureError> {
        self.verify_for(SERVICE, request, secret, now, tolerance)
    }

    /// As [`Self::verify`], for another service.
    ///
    /// # Errors
    /// See [`SignatureError`].
    pub fn verify_for(
        &self,
        service: &str,
        request: &SignedRequest<'_>,
        secret: &SecretString,
        now: OffsetDateTime,
        tolerance: Duration,
    ) -> Result<Region, SignatureError> {
        if self.service != service {
            let message = format!("Credential should be scoped to correct service: '{service}'.");
            return does_not_match(message);
        }
        let Ok(region) = self.region.parse() else {
            return does_not_match("Credential should be scoped to a valid region.");
        };
        self.check_headers(request)?;
        let date = self.check_date(request, now, tolerance)?;
        self.check_signature(request, secret, date)?;
        Ok(region)
    }

    /// `host` and everything that AWS reads must be signed; what is signed must be
    /// there, once.
    fn check_headers(&self, request: &SignedRequest<'_>) -> Result<(), SignatureError> {
        let names = request.headers.iter().map(|(name, _)| *name);
        let mut to_be_signed = names.filter(|name| name.starts_with("x-amz-")).chain(["host"]);
        if let Some(name) = to_be_signed.find(|name| !self.signed_headers.contains(name)) {
            return does_not_match(format!(
                "'{name}' must be a 'SignedHeader' in the AWS Authorization."
            ));
        }
        for name in &self.signed_headers {
            if *name == "authorization" || request.header(name)?.is_none() {
                return incomplete("SignedHeaders names a header that cannot have been signed.");
            }
        }
        Ok(())
    }

    /// Reads `x-amz-date`, which must agree with the scope's date and the clock.
    fn check_date(
        &self,
        request: &SignedRequest<'_>,
        now: OffsetDateTime,
        tolerance: Duration,
    ) -> Result<OffsetDateTime, SignatureError> {
        let written = |moment: OffsetDateTime| moment.format(AMZ_DATE).unwrap_or_default();
        let text = request.header(DATE_HEADER)?.unwrap_or_default();
        let date = PrimitiveDateTime::parse(text, AMZ_DATE).map(PrimitiveDateTime::assume_utc);
        // Written anew, so that there is one way only to write a date.
        let Some(date) = date.ok().filter(|date| written(*date) == text) else {
            return incomplete("X-Amz-Date must be a date such as 20121231T235959Z.");
        };
        if text.split('T').next() != Some(self.date) {
            return does_not_match("Date in Credential scope does not match X-Amz-Date.");
        }
        let minutes = tolerance.whole_minutes();
        let (now_text, earliest, latest) = (written(now), now - tolerance, now + tolerance);
        if date < earliest {
            return Err(SignatureError::Expired(format!(
                "Signature expired: {text} is now earlier than {} ({now_text} - {minutes} min.)",
                written(earliest)
            )));
        }
        if date > latest {
            return Err(SignatureError::Expired(format!(
                "Signature not yet current: {text} is still later than {} ({now_text} + {minutes} min.)",
                written(latest)
            )));
        }
        Ok(date)
    }

    /// Compares with the signature that the request ought to have.
    ///
    /// The comparison takes the same time wherever the two differ, so a forger
    /// cannot find a signature digit by digit: `verify_slices_are_equal` is
    /// AWS-LC's `CRYPTO_memcmp`, which reads both to the end. The lengths are
    /// equal and public: the parser admits 64 digits only.
    fn check_signature(
        &self,
        request: &SignedRequest<'_>,
        secret: &SecretString,
        date: OffsetDateTime,
    ) -> Result<(), SignatureError> {
        let expected = self.expected_signature(request, secret, date)?;
        constant_time::verify_slices_are_equal(expected.as_bytes(), self.signature.as_bytes())
            .or_else(|_| {
                does_not_match(
                    "The request signature we calculated does not match the signature you \
                     provided. Check your secret access key, and that nothing between you and \
                     this service changes the request's path, query, Host or other signed headers.",
                )
            })
    }

    fn expected_signature(
        &self,
        request: &SignedRequest<'_>,
        secret: &SecretString,
        date: OffsetDateTime,
    ) -> Result<String, SignatureError> {
        let unsignable = || SignatureError::Incomplete("The request cannot be signed.".to_owned());
        // Without a path there is nothing to sign, and the library panics.
        if !request.target.starts_with('/') {
            return Err(unsignable());
        }
        let secret = secret.expose_secret();
        let identity = Credentials::new(self.access_key_id, secret, None, None, "sigv4").into();
        let mut settings = SigningSettings::default();
        // What the caller signed is signed, even if an SDK would leave it out.
        settings.excluded_headers = None;
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name(self.service)
            .time(SystemTime::from(date))
            .settings(settings)
            .build()
            .map_err(|_| unsignable())?;
        let mut headers = Vec::with_capacity(self.signed_headers.len());
        for name in &self.signed_headers {
            headers.push((*name, request.header(name)?.unwrap_or_default()));
        }
        let signable = SignableRequest::new(
            request.method,
            request.target,
            headers.into_iter(),
            SignableBody::Precomputed(request.payload_sha256.to_owned()),
        )
        .map_err(|_| unsignable())?;
        let signed = sign(signable, &parameters.into()).map_err(|_| unsignable())?;
        Ok(signed.into_parts().1)
    }
}

fn incomplete<T>(message: impl Into<String>) -> Result<T, SignatureError> {
    Err(SignatureError::Incomplete(message.into()))
}

fn does_not_match<T>(message: impl Into<String>) -> Result<T, SignatureError> {
    Err(SignatureError::DoesNotMatch(message.into()))
}

#[cfg(test)]
#[path = "sigv4_tests.rs"]
mod tests;
