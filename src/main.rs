//! The `glacier-gateway` command.

use std::process::ExitCode;

/// A request makes many small allocations, at which glibc's own allocator is slower.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    glacier_gateway::cli::run()
}
