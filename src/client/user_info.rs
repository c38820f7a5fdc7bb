//! A URI without who asks: that is for the application, not for a connection that many
//! share.

use std::borrow::Cow;

use http::Uri;
use http::uri::Authority;

/// The same URI without `user:password@`, which no pool, error or event is to show.
pub(super) fn without_user_info(uri: &Uri) -> Cow<'_, Uri> {
    let authority = uri.authority().map_or("", Authority::as_str);
    let Some((_, host)) = authority.rsplit_once('@') else {
        return Cow::Borrowed(uri);
    };
    let mut parts = uri.clone().into_parts();
    parts.authority = Authority::try_from(host).ok();
    Cow::Owned(Uri::from_parts(parts).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_the_user_info_stays() {
        for (with, without) in [
            (
                "http://user:secret@host:80/path?query",
                "http://host:80/path?query",
            ),
            ("https://user@[::1]/", "https://[::1]/"),
            ("http://host/a@b", "http://host/a@b"),
            ("user@host:80", "host:80"),
            ("/path@", "/path@"),
        ] {
            let uri = Uri::from_static(with);
            assert_eq!(*without_user_info(&uri), Uri::from_static(without));
        }
    }
}
