//! An event stream that is read beside other work.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, bail, ensure};
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;
use tokio::task::JoinHandle;

use crate::stamps::Ages;

/// Reads until it is dropped.
pub struct Events {
    ages: Arc<Mutex<Vec<f64>>>,
    task: JoinHandle<Result<()>>,
}

impl Events {
    pub fn new(response: Response<Incoming>) -> Self {
        let ages: Arc<Mutex<Vec<f64>>> = Arc::default();
        let task = tokio::spawn(read(response, ages.clone()));
        Events { ages, task }
    }

    /// How long each event since it was last asked was on its way, in seconds.
    pub fn take(&self) -> Vec<f64> {
        let mut ages = self.ages.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *ages)
    }

    /// Whether the stream went on until now.
    pub async fn check(&mut self) -> Result<()> {
        match self.task.is_finished() {
            true => (&mut self.task).await?,
            false => Ok(()),
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(response: Response<Incoming>, all: Arc<Mutex<Vec<f64>>>) -> Result<()> {
    ensure!(response.status().is_success(), "{}", response.status());
    let mut body = response.into_body();
    let mut ages = Ages::default();
    while let Some(frame) = body.frame().await {
        if let Some(bytes) = frame?.data_ref() {
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(ages.feed(bytes));
        }
    }
    bail!("the event stream ended")
}
