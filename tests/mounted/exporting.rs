//! `braidfs mount --otlp`: what a collector gets, and that none is needed.

use std::fs;

#[cfg(feature = "otlp")]
use crate::support::mount::Mount;
use crate::support::run::braidfs;
use crate::support::store::TestStore;

#[cfg(not(feature = "otlp"))]
#[test]
fn a_program_that_exports_nothing_says_how_to_get_one_that_does() {
    let store = TestStore::new();
    let point = store.home().join("mnt");
    fs::create_dir(&point).unwrap();
    let (dir, point) = (store.path(), point.to_str().unwrap().to_owned());
    let refused = braidfs(["mount", dir.to_str().unwrap(), &point, "--otlp", "http://localhost:4318"]).code(2);
    assert!(refused.err.contains("--features otlp"), "{}", refused.err);
}

#[cfg(feature = "otlp")]
mod with_it {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::thread;

    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::trace::v1::Span;
    use prost::Message;

    use super::*;

    /// What one POST held: its path and its body.
    type Posted = (String, Vec<u8>);

    /// Answers every POST with 200, until nobody listens to what came.
    fn collect() -> (String, Receiver<Posted>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, posted) = channel();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let sender = sender.clone();
                thread::spawn(move || serve(connection.unwrap(), &sender));
            }
        });
        (url, posted)
    }

    fn serve(connection: TcpStream, posted: &Sender<Posted>) {
        let mut reader = BufReader::new(connection);
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                if reader.read_until(b'\n', &mut head).unwrap() == 0 {
                    return;
                }
            }
            let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
            assert!(head.contains("content-type: application/x-protobuf"), "{head}");
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let mut body = vec![0; length.parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            let path = head.split(' ').nth(1).unwrap().to_owned();
            if posted.send((path, body)).is_err() {
                return;
            }
            reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        }
    }

    fn mount(store: &TestStore, collector: &str) -> Mount {
        // A proxy that this machine has is none for this machine's own collector.
        Mount::options(&store.path()).arg("--otlp").arg(collector).env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1").start()
    }

    fn append(mount: &Mount, type_: &str) {
        fs::write(mount.join("append"), format!("{{\"stream\":\"a\",\"type\":\"{type_}\",\"data\":1}}\n")).unwrap();
    }

    fn number(span: &Span, key: &str) -> Option<i64> {
        let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
        match found.value.as_ref()?.value.as_ref()? {
            Value::IntValue(number) => Some(*number),
            other => panic!("{key} is {other:?}"),
        }
    }

    #[test]
    fn a_collector_gets_a_span_for_every_operation_with_its_numbers() {
        let store = TestStore::new();
        let (url, posted) = collect();
        let mount = mount(&store, &url);
        for type_ in ["One", "Two", "Three"] {
            append(&mount, type_);
        }
        assert!(mount.unmount().success());
        // The end has sent the rest.
        let requests: Vec<ExportTraceServiceRequest> = posted
            .try_iter()
            .map(|(path, body)| {
                assert_eq!(path, "/v1/traces");
                ExportTraceServiceRequest::decode(body.as_slice()).unwrap()
            })
            .collect();
        let resources = || requests.iter().flat_map(|request| &request.resource_spans);
        let about: Vec<String> =
            resources().flat_map(|one| &one.resource.as_ref().unwrap().attributes).map(|one| format!("{one:?}")).collect();
        for text in ["\"braidfs\"", store.path().canonicalize().unwrap().to_str().unwrap()] {
            assert!(about.iter().any(|attribute| attribute.contains(text)), "{text} in {about:?}");
        }
        let spans: Vec<&Span> = resources().flat_map(|one| &one.scope_spans).flat_map(|scope| &scope.spans).collect();
        let appends: Vec<&&Span> = spans.iter().filter(|span| span.name == "append").collect();
        assert_eq!(appends.len(), 3, "{spans:?}");
        for span in appends {
            assert_eq!(["drafts", "events", "committed", "refused"].map(|key| number(span, key)), [Some(1), Some(1), Some(1), Some(0)]);
            assert!(number(span, "duration_us").is_some_and(|micros| micros > 0));
            assert!(span.start_time_unix_nano > 0 && span.end_time_unix_nano > span.start_time_unix_nano);
        }
        assert!(spans.iter().any(|span| span.name == "load" && number(span, "events") == Some(0)), "{spans:?}");
    }

    #[test]
    fn a_collector_that_is_not_there_or_never_answers_disturbs_no_mount() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for address in [gone, silent.local_addr().unwrap()] {
            let store = TestStore::new();
            let mount = mount(&store, &format!("http://{address}"));
            append(&mount, "One");
            assert_eq!(mount.read_lines("log.jsonl").len(), 1);
            let log = mount.store().parent().unwrap().join("mnt.log");
            assert!(mount.unmount().success());
            let log = fs::read_to_string(log).unwrap();
            assert!(log.contains("spans cannot be exported") || log.contains("spans were not exported"), "{log}");
        }
    }

    #[test]
    fn what_is_no_collector_is_refused_before_anything_is_mounted() {
        let store = TestStore::new();
        let point = store.home().join("mnt");
        fs::create_dir(&point).unwrap();
        let (dir, point) = (store.path(), point.to_str().unwrap().to_owned());
        for (url, why) in [("localhost:4318", "http://"), ("https://localhost", "TLS")] {
            let refused = braidfs(["mount", dir.to_str().unwrap(), &point, "--otlp", url]).code(2);
            assert!(refused.err.contains(why), "{}", refused.err);
            assert_eq!(fs::read_dir(&point).unwrap().count(), 0);
        }
    }
}
