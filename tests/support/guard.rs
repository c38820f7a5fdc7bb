//! So that what hangs is a failure.

use std::future::Future;
use std::time::Duration;

/// Far above what any test here takes, even on a busy machine.
const GUARD: Duration = Duration::from_secs(120);

/// Waits for a future that would not end if something were held up.
pub async fn within<F: Future>(future: F) -> F::Output {
    match tokio::time::timeout(GUARD, future).await {
        Ok(output) => output,
        Err(_) => panic!("held up for {GUARD:?}"),
    }
}
