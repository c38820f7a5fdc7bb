//! Requests: hyper, axum, tower and tonic on channels.

#[path = "../support/certs.rs"]
mod certs;
#[path = "../support/guard.rs"]
mod guard;
#[path = "../support/local.rs"]
mod local;
#[path = "../support/network.rs"]
mod network;
#[path = "../support/raw.rs"]
mod raw;

mod app;
mod axum_features;
mod balancing;
mod early_answers;
mod error_table;
mod fallback;
mod hyper_axum;
mod hyper_ends;
mod hyper_stack;
mod large_bodies;
mod lost_requests;
mod not_tcpchan;
mod refusals;
mod requests;
mod reqwest;
mod retry;
mod tonic;
