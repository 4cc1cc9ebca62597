use serde_json::Value;

use super::*;

fn plan_of(files: &[(&str, &str)]) -> LegacyPlan {
    let files: Vec<_> = files.iter().map(|(path, text)| (parse_file_path(path).unwrap(), text.as_bytes())).collect();
    plan(&files, "session")
}

fn line(event_type: &str, time: &str) -> String {
    format!("{{\"type\":\"{event_type}\",\"timestamp\":\"2026-03-01T{time}Z\",\"data\":{{}}}}\n")
}

fn types(plan: &LegacyPlan) -> Vec<&str> {
    plan.events.iter().map(|event| event.event_type.as_str()).collect()
}

fn metadata_of(event: &DraftEvent) -> Value {
    serde_json::from_str(&event.metadata).unwrap()
}

#[test]
fn only_daily_files_belong_to_a_source() {
    assert_eq!(parse_file_path("2026-03-01.jsonl").unwrap().session, None);
    assert_eq!(parse_file_path("s 1/2026-03-01.jsonl").unwrap().session.as_deref(), Some("s 1"));
    for path in ["2026-03-01.json", "notes.jsonl", "2026-3-1.jsonl", "a/b/2026-03-01.jsonl", "/2026-03-01.jsonl", "2026-03-0é.jsonl"] {
        assert_eq!(parse_file_path(path), None, "{path}");
    }
}

#[test]
fn order_is_by_date_then_time_and_never_against_the_lines_of_a_file() {
    let early_next_day = "{\"type\":\"z\",\"timestamp\":\"2026-02-01T00:00:00Z\"}\n";
    let set_back = format!("{}{}", line("b", "10:00:00"), line("c", "08:00:00"));
    let untimed = format!("{{\"type\":\"a0\"}}\n{}{}", line("a", "09:00:00"), line("d", "11:00:00"));
    let plan = plan_of(&[("s2/2026-03-02.jsonl", early_next_day), ("s2/2026-03-01.jsonl", &untimed), ("s1/2026-03-01.jsonl", &set_back)]);
    assert_eq!(types(&plan), ["a0", "a", "b", "c", "d", "z"]);
}

#[test]
fn the_plan_does_not_depend_on_the_order_in_which_files_are_found() {
    let (a, b) = (line("a", "09:00:00"), line("b", "09:00:00"));
    let files = [("s1/2026-03-01.jsonl", a.as_str()), ("s2/2026-03-01.jsonl", b.as_str())];
    assert_eq!(plan_of(&files), plan_of(&[files[1], files[0]]));
}

#[test]
fn an_event_goes_to_its_aggregate() {
    let named = r#"{"type":"a","aggregate_type":"wave","aggregate_id":"w1","session_id":"s9"}"#;
    let by_session = r#"{"type":"b","session_id":"s9"}"#;
    let by_directory = r#"{"type":"c"}"#;
    let text = format!("{named}\n{by_session}\r\n{by_directory}\n");
    let streams = |plan: &LegacyPlan| plan.events.iter().map(|event| event.stream_id.clone()).collect::<Vec<_>>();
    assert_eq!(streams(&plan_of(&[("s1/2026-03-01.jsonl", &text)])), ["wave-w1", "session-s9", "session-s1"]);
    assert_eq!(streams(&plan_of(&[("2026-03-01.jsonl", &text)])), ["wave-w1", "session-s9", "session-"]);
}

#[test]
fn legacy_keys_are_metadata_and_the_data_keeps_its_bytes() {
    let text = r#"{"schema_version":1,"id":"e-1","type":"a","timestamp":"2026-03-01T09:00:00+09:00","data":{ "n":1.0 },"correlation_id":"c","causation_id":"p","seq_nr":12,"tool":{"v":2}}"#;
    let plan = plan_of(&[("2026-03-01.jsonl", &format!("\u{feff}\n\n{text}"))]);
    let event = &plan.events[0];
    assert_eq!((event.event_data.as_str(), event.line), ("{ \"n\":1.0 }", 3));
    let expected = r#"{"schema_version":1,"timestamp":"2026-03-01T09:00:00+09:00","correlation_id":"c","causation_id":"p","legacy_id":"e-1","legacy_seq_nr":12,"legacy_file":"2026-03-01.jsonl","legacy_line":3,"legacy_other":{"tool":{"v":2}}}"#;
    assert_eq!(metadata_of(event), serde_json::from_str::<Value>(expected).unwrap());
    assert_eq!(plan.last_legacy_seq_nr, Some(12));
}

#[test]
fn values_of_unknown_keys_keep_their_bytes_unless_they_nest_too_deep() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let text = format!(r#"{{"type":"a","x":1.50,"deep":{},"deeper":{}}}"#, nested(124), nested(125));
    let plan = plan_of(&[("2026-03-01.jsonl", &text)]);
    let metadata = &plan.events[0].metadata;
    assert!(metadata.contains(r#""x":1.50"#) && metadata.contains(&format!(r#""deeper":"{}""#, nested(125))), "{metadata}");
    assert!(serde_json::from_str::<Value>(&format!("{{\"metadata\":{metadata}}}")).is_ok());
}

#[test]
fn a_copied_event_counts_once_and_a_claimed_id_hides_none() {
    let id = "8f14e45f-ceea-467f-9575-1a2b3c4d5e6f";
    let (first, other) = (format!("{{\"id\":\"{id}\",\"type\":\"a\"}}"), format!("{{\"id\":\"{id}\",\"type\":\"b\"}}"));
    let plan = plan_of(&[("s1/2026-03-01.jsonl", &format!("{first}\n{other}\n")), ("s2/2026-03-01.jsonl", &format!("{first}\n"))]);
    assert_eq!((types(&plan), plan.duplicate_line_count), (vec!["a", "b"], 1));
    assert_eq!(plan.events[0].event_id.unwrap().to_string(), id);
    assert_ne!(plan.events[1].event_id, plan.events[0].event_id);
    assert_eq!(metadata_of(&plan.events[1])["legacy_id"], id);
}

#[test]
fn equal_lines_without_an_id_are_as_many_events() {
    let plan = plan_of(&[("2026-03-01.jsonl", "{\"type\":\"a\"}\n{\"type\":\"a\"}\n")]);
    assert_eq!((plan.events.len(), plan.duplicate_line_count), (2, 0));
    assert_ne!(plan.events[0].event_id, plan.events[1].event_id);
}

#[test]
fn a_log_that_grew_keeps_the_ids_of_what_was_there() {
    let (a, b) = (line("a", "09:00:00"), line("b", "09:30:00"));
    let before = plan_of(&[("2026-03-01.jsonl", &a)]);
    let after = plan_of(&[("2026-03-01.jsonl", &format!("{a}{b}"))]);
    assert_eq!(before.events[0], after.events[0]);
}

#[test]
fn corrupt_lines_are_kept_and_an_empty_source_is_empty() {
    let plan = plan_of(&[("2026-03-01.jsonl", "{\"type\":\"a\"}\nbroken \n\n{\"type\":")]);
    let kept: Vec<_> = plan.corrupt_lines.iter().map(|line| (line.line, line.bytes.as_slice())).collect();
    assert_eq!(kept, [(2, &b"broken"[..]), (4, b"{\"type\":")]);
    assert!(!plan.is_empty());
    assert!(plan_of(&[]).is_empty() && plan_of(&[("2026-03-01.jsonl", "\n \n")]).is_empty());
}
