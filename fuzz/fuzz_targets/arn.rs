//! A text that is read as a vault's ARN is written as the same text.
#![no_main]

use glacier_gateway::policy::Resource;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(resource) = text.parse::<Resource>() {
        assert_eq!(resource.as_str(), text);
        assert!(text.contains(":vaults/"));
    }
});
