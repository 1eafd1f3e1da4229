//! What an answer must be like before the SDK reads it.

use aws_sdk_glacier::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::BeforeDeserializationInterceptorContextMut,
    },
    error::BoxError,
    primitives::SdkBody,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use http_body_util::Limited;

use crate::domain::Operation;

/// A longer body is not read to its end. Glacier's longest page is far shorter.
const MAX_BODY: usize = 8 * 1024 * 1024;

/// Refuses what Glacier would not answer. The SDK takes any 2xx for success, and a
/// body of any length.
#[derive(Debug)]
pub(super) struct CheckResponse;

impl Intercept for CheckResponse {
    fn name(&self) -> &'static str {
        "CheckResponse"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = config.load::<Metadata>().map(Metadata::name);
        let success = match operation {
            Some(name) if name == Operation::AbortMultipartUpload.name() => 204,
            _ => 200,
        };
        let response = context.response_mut();
        let status = response.status();
        if status.is_success() && status.as_u16() != success {
            return Err(format!("Glacier's success is {success}, not {status}").into());
        }
        let body = Limited::new(response.take_body(), MAX_BODY);
        *response.body_mut() = SdkBody::from_body_1_x(body);
        Ok(())
    }
}
