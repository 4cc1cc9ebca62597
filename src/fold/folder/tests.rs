use proptest::prelude::*;

use super::*;

fn event(n: u32, event_type: &str, data: &str) -> Vec<u8> {
    let id = event_id(n);
    format!(r#"{{"stream_version":{n},"event_id":"{id}","stream_id":"s-{n}","event_type":"{event_type}","event_data":{data}}}"#)
        .into_bytes()
}

fn event_id(n: u32) -> String {
    format!("0190a0b0-0000-7000-8000-{n:012}")
}

fn fold(step: &str, init: &str, events: &[Vec<u8>]) -> Result<String, FoldError> {
    let mut folder = Folder::new(Program::compile(step)?, init.as_bytes())?;
    for event in events {
        folder.apply(event)?;
    }
    Ok(String::from_utf8(folder.state()?).unwrap())
}

#[test]
fn counters() {
    let events: Vec<_> = (1..=5).map(|n| event(n, if n % 2 == 0 { "Even" } else { "Odd" }, "null")).collect();
    assert_eq!(fold(". + 1", "0", &events).unwrap(), "5");
    assert_eq!(fold(".[$event.event_type] += 1", "{}", &events).unwrap(), r#"{"Odd":3,"Even":2}"#);
}

#[test]
fn grouping_and_objects() {
    let events = [event(1, "Put", r#"{"key":"a","n":1}"#), event(2, "Put", r#"{"key":"b","n":2}"#), event(3, "Removed", r#"{"key":"a"}"#)];
    let step = r#"$event.event_data as $d | if $event.event_type == "Put" then .[$d.key] //= {} | .[$d.key].seen += [$d.n] else del(.[$d.key]) end"#;
    assert_eq!(fold(step, "{}", &events[..2]).unwrap(), r#"{"a":{"seen":[1]},"b":{"seen":[2]}}"#);
    assert_eq!(fold(step, "{}", &events).unwrap(), r#"{"b":{"seen":[2]}}"#);
}

#[test]
fn an_update_of_null_says_how_it_is_written_here() {
    let error = fold(".a.b += 1", "{}", &[event(1, "A", "null")]).unwrap_err();
    assert!(error.message.contains(".a //= {} | .a.b += 1"), "{error}");
    assert_eq!(fold(".a //= {} | .a.b += 1", "{}", &[event(1, "A", "null")]).unwrap(), r#"{"a":{"b":1}}"#);
}

#[test]
fn big_integers_stay_exact_and_fractions_are_floats() {
    let events = [event(1, "Sum", "9007199254740993"), event(2, "Sum", "123456789012345678901234567890")];
    assert_eq!(fold(". + $event.event_data", "0", &events).unwrap(), "123456789012354686100489308883");
    assert_eq!(fold(". + $event.event_data", "0", &[event(1, "Sum", "0.1"), event(2, "Sum", "0.2")]).unwrap(), "0.30000000000000004");
    assert_eq!(fold("$event.event_data", "0", &[event(1, "Kept", "1.50")]).unwrap(), "1.50");
}

#[test]
fn a_failing_step_names_its_event_and_stays_failed() {
    let mut folder = Folder::new(Program::compile(". + $event.event_data").unwrap(), b"0").unwrap();
    folder.apply(&event(1, "Sum", "1")).unwrap();
    let error = folder.apply(&event(2, "Sum", "\"two\"")).unwrap_err();
    assert_eq!((error.kind, error.event_id), (FoldErrorKind::Step, Some(event_id(2).parse().unwrap())));
    assert!(error.message.contains("cannot calculate"), "{error}");
    assert_eq!(folder.apply(&event(3, "Sum", "1")).unwrap_err(), error);
    assert_eq!(folder.state().unwrap_err(), error);
}

#[test]
fn a_step_gives_exactly_one_value() {
    let events = [event(7, "A", "null")];
    for (step, part) in [("empty", "no value"), ("., .", "more than one"), ("., error(1)", "failed"), ("error(null)", "failed")] {
        let error = fold(step, "0", &events).unwrap_err();
        assert!(error.message.contains(part), "{step:?}: {error}");
        assert_eq!(error.event_id, Some(event_id(7).parse().unwrap()), "{step:?}");
    }
}

#[test]
fn a_state_that_is_no_json_is_the_fault_of_the_event_that_made_it() {
    let events: Vec<_> = (1..=9).map(|n| event(n, "A", "null")).collect();
    let program = Program::compile("if $event.stream_version == 4 then nan else . end").unwrap();
    let mut folder = Folder::new(program, b"0").unwrap();
    let (index, error) = folder.apply_all(&events, usize::MAX, |_| {}).unwrap_err();
    assert_eq!((index, error.event_id), (3, Some(event_id(4).parse().unwrap())));
    assert_eq!(folder.state().unwrap_err(), error);
}

fn datum() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(|x| format!("{x:?}")),
        "[a-z]{0,3}".prop_map(|text| format!("\"{text}\"")),
        Just("[1,{\"a\":2.0}]".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// A state that is saved and read back anywhere goes on to the same bytes.
    #[test]
    fn incremental_equals_from_scratch(data in prop::collection::vec((0..4_u32, datum()), 1..20), cut in 0..20_usize) {
        let step = r#".[$event.event_type] += [$event.event_data] | .n += ($event.event_data | numbers // 1)
            | .order = [keys_unsorted[] | select(. != "order")]"#;
        let events: Vec<_> = data.iter().enumerate().map(|(n, (kind, datum))| event(n as u32, &format!("T{kind}"), datum)).collect();
        let cut = cut.min(events.len());
        let whole = fold(step, "{}", &events);
        let saved = fold(step, "{}", &events[..cut]);
        match (whole, saved) {
            (Ok(whole), Ok(saved)) => {
                prop_assert_eq!(fold(step, "{}", &events).unwrap(), whole.clone());
                prop_assert_eq!(fold(step, &saved, &events[cut..]).unwrap(), whole);
            }
            // A sum may grow beyond a float; then both ways say so.
            (Err(whole), Ok(saved)) => prop_assert_eq!(fold(step, &saved, &events[cut..]).unwrap_err(), whole),
            (whole, Err(saved)) => prop_assert_eq!(saved.kind, whole.map_err(|error| error.kind).unwrap_err()),
        }
    }
}
