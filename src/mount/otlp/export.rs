//! Spans on their way to a collector: gathered and sent by a thread of their own, so that nothing waits for the network.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::Layer;

use crate::mount::Error;
use crate::mount::otlp::Listening;

/// Where a collector takes traces, unless its URL names a path.
const TRACES_PATH: &str = "v1/traces";
/// How long a collector may take for one batch.
const SEND_MAX: Duration = Duration::from_secs(5);
/// How long the end of a mount waits for what was not sent yet.
const LAST_SEND_MAX: Duration = Duration::from_secs(3);

/// Where spans are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    url: String,
}

impl Collector {
    /// Reads `http://HOST[:PORT][/PATH]`; without a path it is `/v1/traces`.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let refused = |why: &str| Error::new(format!("collector '{url}' {why}"), "name it like http://localhost:4318");
        let uri: http::Uri = url.parse().map_err(|error| refused(&format!("is no URL: {error}")))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(Error::new(
                    format!("collector '{url}' cannot be reached: braidfs speaks no TLS"),
                    "run a collector beside it that forwards what it gets",
                ));
            }
            _ => return Err(refused("does not begin with http://")),
        }
        let path =
            if uri.path().trim_matches('/').is_empty() { format!("{}/{TRACES_PATH}", url.trim_end_matches('/')) } else { url.to_owned() };
        Ok(Self { url: path })
    }

    /// Starts the thread that sends; what is given second is to be told of the spans of a store's mount.
    pub fn begin(&self, store: &str) -> Result<(Exporter, Listening), Error> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&self.url)
            .with_timeout(SEND_MAX)
            .with_http_client(Client::new(&self.url))
            .build()
            .map_err(|error| Error::new(format!("spans cannot be exported to '{}': {error}", self.url), ""))?;
        let about = [KeyValue::new("service.version", env!("CARGO_PKG_VERSION")), KeyValue::new("braidfs.store", store.to_owned())];
        let resource = Resource::builder().with_service_name("braidfs").with_attributes(about).build();
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        let layer =
            tracing_opentelemetry::layer().with_tracer(provider.tracer("braidfs")).with_location(false).with_tracked_inactivity(false);
        Ok((Exporter { provider }, layer.boxed()))
    }
}

/// Sends the rest when it is dropped.
#[derive(Debug)]
pub struct Exporter {
    provider: SdkTracerProvider,
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // A collector that is not there holds up the end no longer than this.
        if let Err(error) = self.provider.shutdown_with_timeout(LAST_SEND_MAX) {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

/// Posts over plain HTTP; blocks the thread that it is called on, which does nothing else.
#[derive(Debug)]
struct Client {
    agent: ureq::Agent,
    url: String,
    /// Whether the last attempt failed: it is said once.
    failed: AtomicBool,
}

impl Client {
    fn new(url: &str) -> Self {
        let config = ureq::Agent::config_builder().timeout_global(Some(SEND_MAX)).http_status_as_error(false).build();
        Self { agent: config.into(), url: url.to_owned(), failed: AtomicBool::new(false) }
    }

    fn post(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ureq::Error> {
        let (parts, mut body) = self.agent.run(request.map(Vec::from))?.into_parts();
        let body = body.read_to_vec()?;
        Ok(Response::from_parts(parts, body.into()))
    }

    fn note(&self, why_not: Option<String>) {
        let failed_before = self.failed.swap(why_not.is_some(), Ordering::Relaxed);
        match why_not {
            Some(why) if !failed_before => tracing::warn!(collector = self.url, why, "spans cannot be exported"),
            None if failed_before => tracing::info!(collector = self.url, "spans are exported again"),
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.post(request);
        self.note(match &answer {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("it answered {}", response.status())),
            Err(error) => Some(error.to_string()),
        });
        Ok(answer?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_a_url_whose_path_may_be_left_out() {
        for (url, wanted) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            ("http://localhost:4318/", "http://localhost:4318/v1/traces"),
            ("http://[::1]:4318/own/path", "http://[::1]:4318/own/path"),
        ] {
            assert_eq!(Collector::parse(url).unwrap().url, wanted);
        }
        for (url, why) in
            [("localhost:4318", "http://"), ("ftp://a", "http://"), ("https://a", "TLS"), ("http://a b", "no URL"), ("", "no URL")]
        {
            let error = Collector::parse(url).unwrap_err();
            assert!(error.message.contains(why) && !error.hint.is_empty(), "{url}: {error:?}");
        }
    }
}
