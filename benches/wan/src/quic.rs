//! What both ends of QUIC share.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use quinn::TransportConfig;
use quinn::congestion::{BbrConfig, CubicConfig};

use crate::conditions::Congestion;
use crate::way::LARGE_WINDOW;

pub const PROTOCOL: &str = "wan";

/// quinn's defaults suit 100 Mbit/s, 100 streams and 30 s of idle.
pub fn transport(congestion: Congestion) -> Result<TransportConfig> {
    let mut config = TransportConfig::default();
    config.max_concurrent_bidi_streams(2000u32.into());
    config.stream_receive_window(LARGE_WINDOW.into());
    config.send_window(LARGE_WINDOW.into());
    config.max_idle_timeout(Some(Duration::from_secs(90).try_into()?));
    match congestion {
        Congestion::Bbr => config.congestion_controller_factory(Arc::new(BbrConfig::default())),
        Congestion::Cubic => config.congestion_controller_factory(Arc::new(CubicConfig::default())),
    };
    Ok(config)
}
