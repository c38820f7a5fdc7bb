//! How many files the process may have open: each client is one.

/// Raises the limit to the highest that the system allows. Many begin with 1,024, for the sake
/// of old programs.
#[cfg(unix)]
pub fn raise_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let current = maximum;
    // Where the system has no highest, it may refuse: the limit is as it was then.
    let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum });
}

#[cfg(not(unix))]
pub fn raise_limit() {}
