//! Configurations of rustls that are exchanged while connections live.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use tokio::task::spawn_blocking;

/// A configuration that may be exchanged, as its user gave it.
#[derive(Debug)]
pub(crate) struct Slot<C>(Arc<RwLock<Arc<C>>>);

impl<C> Slot<C> {
    pub fn new(config: Arc<C>) -> Self {
        Slot(Arc::new(RwLock::new(config)))
    }

    pub fn get(&self) -> Arc<C> {
        let config = self.0.read();
        config.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn handle(&self) -> TlsHandle<C> {
        TlsHandle(Arc::downgrade(&self.0))
    }
}

impl<C> Clone for Slot<C> {
    fn clone(&self) -> Self {
        Slot(self.0.clone())
    }
}

/// Makes of a configuration what this crate needs of it, once for each.
pub(crate) struct Prepared<C> {
    slot: Slot<C>,
    prepare: Box<dyn Fn(&mut C) + Send + Sync>,
    /// The last one, as it was given and as it is used.
    last: Mutex<Option<(Arc<C>, Arc<C>)>>,
}

impl<C: Clone> Prepared<C> {
    pub fn new(slot: Slot<C>, prepare: impl Fn(&mut C) + Send + Sync + 'static) -> Self {
        Prepared {
            slot,
            prepare: Box::new(prepare),
            last: Mutex::new(None),
        }
    }

    /// The same configuration, of which something else is made.
    #[cfg(feature = "client")]
    pub fn with(&self, prepare: impl Fn(&mut C) + Send + Sync + 'static) -> Self {
        Prepared::new(self.slot.clone(), prepare)
    }

    pub fn get(&self) -> Arc<C> {
        let given = self.slot.get();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((source, ready)) = &*last
            && Arc::ptr_eq(source, &given)
        {
            return ready.clone();
        }
        let mut config = C::clone(&given);
        (self.prepare)(&mut config);
        let ready = Arc::new(config);
        let old = last.replace((given, ready.clone()));
        drop(last);
        drop(old); // may run anything
        ready
    }

    #[cfg(feature = "client")]
    pub fn handle(&self) -> TlsHandle<C> {
        self.slot.handle()
    }

    /// The configuration as it was given last.
    #[cfg(feature = "client")]
    pub fn given(&self) -> Arc<C> {
        self.slot.get()
    }
}

/// Exchanges the configuration of rustls that handshakes use from then on: certificates,
/// keys, and the authorities whose certificates are accepted.
///
/// Connections that were made go on with what they have. On a server,
/// [`Config::max_connection_age`](crate::Config::max_connection_age) ends them at an age; on
/// a client, the pool replaces them each hour. `server::Tls` and `client::TlsConnector` give
/// it.
///
/// Build each configuration anew, with rustls's `builder()`. One that was cloned from the
/// old one resumes its sessions, also those of clients that the new one would refuse.
///
/// ```no_run
/// # async fn run(app: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use tcpchan::server::{Acceptor, Tls};
/// use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
/// use tokio_rustls::rustls::{self, ServerConfig};
///
/// fn load() -> Result<ServerConfig, Box<dyn std::error::Error>> {
///     let chain = CertificateDer::pem_file_iter("chain.pem")?.collect::<Result<_, _>>()?;
///     let key = PrivateKeyDer::from_pem_file("key.pem")?;
///     Ok(ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?)
/// }
///
/// let tls = Tls::new(load()?);
/// tls.handle().watch(["chain.pem", "key.pem"], Duration::from_secs(10), || {
///     load().inspect_err(|error| eprintln!("the old certificate stays: {error}")).ok()
/// });
/// let listener = tokio::net::TcpListener::bind("0.0.0.0:3443").await?;
/// let acceptor = Acceptor::new(listener).with_tls(tls);
/// axum::serve(acceptor, app).await?;
/// # Ok(())
/// # }
/// ```
pub struct TlsHandle<C>(Weak<RwLock<Arc<C>>>);

impl<C> TlsHandle<C> {
    /// Uses this configuration from the next handshake on. Nothing happens where the
    /// acceptor or connector is gone.
    pub fn replace(&self, config: impl Into<Arc<C>>) {
        let config = config.into();
        if let Some(slot) = self.0.upgrade() {
            let mut current = slot.write().unwrap_or_else(PoisonError::into_inner);
            let old = std::mem::replace(&mut *current, config);
            drop(current);
            drop(old); // may run anything
        }
    }
}

impl<C: Send + Sync + 'static> TlsHandle<C> {
    /// Reads the files at this interval, and has `load` make a configuration when their
    /// contents have changed, and at first. With `None`, and after a panic, the old
    /// configuration stays, and `load` is called again after each interval. While a file can't
    /// be read, the old configuration stays, too.
    ///
    /// The contents are compared, so it sees a symbolic link that points elsewhere, as in a
    /// Kubernetes secret. Files that change one after another are no harm: rustls refuses a
    /// certificate with another one's key, and the next change is seen, too.
    ///
    /// Files are read, and `load` is run, on the runtime's threads for blocking calls. It
    /// ends when the acceptor or connector is gone.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, or in one without time.
    pub fn watch<P, F, R>(&self, files: impl IntoIterator<Item = P>, interval: Duration, load: F)
    where
        P: Into<PathBuf>,
        F: FnMut() -> Option<R> + Send + 'static,
        R: Into<Arc<C>>,
    {
        let handle = self.clone();
        let files: Vec<PathBuf> = files.into_iter().map(Into::into).collect();
        let mut interval = tokio::time::interval(interval.max(Duration::from_millis(1)));
        let watched = Arc::new(Mutex::new(Watched {
            files,
            seen: Vec::new(),
            load,
        }));
        tokio::spawn(async move {
            while handle.0.strong_count() > 0 {
                interval.tick().await;
                let watched = watched.clone();
                let look = move || {
                    let mut watched = watched.lock().unwrap_or_else(PoisonError::into_inner);
                    watched.look().map(Into::<Arc<C>>::into)
                };
                if let Ok(Some(config)) = spawn_blocking(look).await {
                    handle.replace(config);
                }
            }
        });
    }
}

struct Watched<F> {
    files: Vec<PathBuf>,
    /// What the files had when a configuration was last made of them.
    seen: Vec<Vec<u8>>,
    load: F,
}

impl<F> Watched<F> {
    fn look<R>(&mut self) -> Option<R>
    where
        F: FnMut() -> Option<R>,
    {
        let contents: Result<Vec<_>, _> = self.files.iter().map(fs::read).collect();
        let contents = contents.ok().filter(|contents| *contents != self.seen)?;
        let config = (self.load)()?;
        self.seen = contents;
        Some(config)
    }
}

impl<C> Clone for TlsHandle<C> {
    fn clone(&self) -> Self {
        TlsHandle(self.0.clone())
    }
}

impl<C> fmt::Debug for TlsHandle<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsHandle").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::OnceLock;
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Tells on its drop whether the lock is free, as something of the user's might need.
    #[derive(Clone)]
    struct Probe {
        prepared: Arc<OnceLock<Weak<Prepared<Probe>>>>,
        is_free: Sender<bool>,
    }

    impl Drop for Probe {
        fn drop(&mut self) {
            if let Some(prepared) = self.prepared.get().and_then(Weak::upgrade) {
                let _ = self.is_free.send(prepared.last.try_lock().is_ok());
            }
        }
    }

    #[test]
    fn an_old_configuration_is_dropped_without_the_lock() {
        let (is_free, told) = channel();
        let probe = Probe {
            prepared: Arc::default(),
            is_free,
        };
        let slot = Slot::new(Arc::new(probe.clone()));
        let prepared = Arc::new(Prepared::new(slot, |_| {}));
        probe.prepared.set(Arc::downgrade(&prepared)).unwrap();
        prepared.get();
        prepared.slot.handle().replace(probe);
        prepared.get();
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [true, true]);
    }

    /// As when the process had no descriptor left.
    #[tokio::test(start_paused = true)]
    async fn a_load_that_failed_is_tried_again_though_no_file_has_changed() {
        let slot = Slot::new(Arc::new(1));
        let mut results = VecDeque::from([None, Some(2)]);
        let load = move || results.pop_front().expect("no load after the last");
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        slot.handle().watch([file], Duration::from_secs(1), load);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(*slot.get(), 2);
    }
}
