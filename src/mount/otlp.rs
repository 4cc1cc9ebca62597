//! Where spans go besides the log: a collector that speaks OTLP over HTTP. Only in a program built with the feature `otlp`.

#[cfg(not(feature = "otlp"))]
mod absent;
#[cfg(feature = "otlp")]
mod export;

use tracing_subscriber::layer::Layered;
use tracing_subscriber::{EnvFilter, Layer, Registry};

#[cfg(not(feature = "otlp"))]
pub use absent::{Collector, Exporter};
#[cfg(feature = "otlp")]
pub use export::{Collector, Exporter};

/// What passes the filter.
pub type Filtered = Layered<EnvFilter, Registry>;

/// One of those that spans and events are told to.
pub type Listening = Box<dyn Layer<Filtered> + Send + Sync>;
