//! The names in the certificate that a client shows, for the event of a handshake that fails.

use std::cell::OnceCell;
use std::future::Future;

use webpki::EndEntityCert;

tokio::task_local! {
    static NAMES: OnceCell<String>;
}

/// Runs a handshake. [`names`] gives what was shown in it, while it runs.
pub(super) async fn in_handshake<T>(handshake: impl Future<Output = T>) -> T {
    NAMES.scope(OnceCell::new(), handshake).await
}

/// Takes note of a certificate, which nobody may have verified yet.
pub(super) fn note(certificate: &EndEntityCert<'_>) {
    // Without a handshake there is nobody to tell.
    let _ = NAMES.try_with(|names| names.get_or_init(|| names_of(certificate)).len());
}

/// The names that were shown, if a certificate was.
pub(super) fn names() -> Option<String> {
    NAMES.try_with(|names| names.get().cloned()).ok().flatten()
}

/// At most so many bytes of names are told.
const MOST: usize = 512;

fn names_of(certificate: &EndEntityCert<'_>) -> String {
    let names = certificate.valid_dns_names();
    let names: Vec<&str> = names.chain(certificate.valid_uri_names()).collect();
    let mut names = names.join(", ");
    if names.len() > MOST {
        let end = (0..=MOST).rfind(|&end| names.is_char_boundary(end));
        names.truncate(end.unwrap_or(0));
        names += "...";
    }
    names
}
