//! The admin address: what a process does, over HTTP, for people and for machines.

pub mod document;
mod host;
mod look;
mod metrics;
mod page;
mod rates;
mod readiness;
mod response;
mod routes;
mod server;

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::{info, warn};

use self::routes::Admin;
use crate::args;
use crate::failure::Failure;
use crate::service::Directory;

pub use self::metrics::Metrics;

/// The server of the admin address, while it lives.
pub struct Server {
    admin: Arc<Admin>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Listens; None if the options have no address.
    pub async fn start(
        args: &args::Admin,
        metrics: Option<Metrics>,
        services: Directory,
    ) -> Result<Option<Self>, Failure> {
        let (Some(address), Some(metrics)) = (&args.admin, metrics) else {
            return Ok(None);
        };
        let failed =
            |error| Failure::because(format!("--admin: can't listen on {address}"), &error);
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        info!(admin = %addr, "the admin address is open");
        if !addr.ip().to_canonical().is_loopback() {
            warn!(admin = %addr, "other hosts may reach the admin address: they see peers and names");
        }
        let admin = Arc::new(Admin::new(
            services,
            metrics.clone(),
            args.admin_host.clone(),
        ));
        let mut tasks = JoinSet::new();
        tasks.spawn(metrics.keep());
        tasks.spawn(server::serve(listener, admin.clone()));
        Ok(Some(Server {
            admin,
            _tasks: tasks,
        }))
    }

    /// It goes on, and says that the process is not ready.
    pub fn process_stops(&self) {
        self.admin.process_stops();
    }
}
