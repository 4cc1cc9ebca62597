#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[test]
fn the_examples() {
    for (id, path) in [
        ("account-1", "account-1.jsonl"),
        ("a/b", "a/b.jsonl"),
        ("a.jsonl/b.jsonl", "a%2Ejsonl/b.jsonl.jsonl"),
        (".jsonl/.x", "%2Ejsonl/%2Ex.jsonl"),
        ("../..", "%2E./%2E..jsonl"),
        ("/", "%/%.jsonl"),
        ("a//", "a/%/%.jsonl"),
        ("100%\u{7f}\n", "100%25%7F%0A.jsonl"),
        ("é b", "é b.jsonl"),
    ] {
        assert_eq!(stream_path(id), path);
        assert_eq!(decode_stream_path(path), Some(Decoded::Exact(id.to_owned())));
    }
    assert_eq!(stream_directory("a/b.jsonl"), "a/b%2Ejsonl");
    assert_eq!(file_name("a/b", ENDING), "a%2Fb.jsonl");
    assert_eq!(file_name("", ENDING), "%.jsonl");
    assert_eq!(directory_name("../x"), "%2E.%2Fx");
}

#[test]
fn only_the_canonical_name_is_found() {
    for path in [
        "a",
        "a%2fb.jsonl",
        "a%2Fb.jsonl",
        ".a.jsonl",
        "%41.jsonl",
        "a.jsonl/b.jsonl",
        "%%.jsonl",
        "%2.jsonl",
        "%FF.jsonl",
        ".jsonl",
        "a//b.jsonl",
        "/a.jsonl",
        "%é.jsonl",
        "",
    ] {
        assert_eq!(decode_stream_path(path), None, "{path}");
    }
    assert_eq!(decode_file_name("a%2Fb.jsonl", ENDING), Some(Decoded::Exact("a/b".to_owned())));
    assert_eq!(decode_file_name("x%~0123456789abcdef0123456789abcdef.jsonl", ENDING), None);
}

#[test]
fn a_component_fits_and_one_byte_more_is_cut() {
    let fits = "x".repeat(COMPONENT_LEN_MAX - ENDING.len());
    assert_eq!(stream_path(&fits), fits.clone() + ENDING);
    let cut = stream_path(&(fits.clone() + "x"));
    assert_eq!((cut.len(), cut.contains(CUT), decode_stream_path(&cut)), (COMPONENT_LEN_MAX, true, Some(Decoded::Cut)));
    for unit in ["é", "%", "漢", "𝄞"] {
        for shift in 0..4 {
            let id = "x".repeat(shift) + &unit.repeat(200);
            for (name, decoded) in [
                (stream_path(&id), decode_stream_path(&stream_path(&id))),
                (stream_directory(&id), decode_stream_directory(&stream_directory(&id))),
            ] {
                assert!((COMPONENT_LEN_MAX - 3..=COMPONENT_LEN_MAX).contains(&name.len()), "{name}");
                assert_eq!(decoded, Some(Decoded::Cut), "{name}");
            }
        }
    }
}

#[test]
fn a_category_ends_at_the_first_separator() {
    assert_eq!(
        ["a-b:c", "a:b-c", "a/b", ":a", "-", "a", ""].map(category_of),
        [Some("a"), Some("a"), Some("a"), Some(""), Some(""), None, None]
    );
}

fn adversarial() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a", "/", ".", "..", "%", "%~", "%2E", "2E", ".jsonl", "jsonl", "%2Ejsonl", "é", "\n", "\u{7f}", "0", "-", " ",
    ]);
    let short = proptest::collection::vec(piece.clone(), 0..6).prop_map(|parts| parts.concat());
    let long = (proptest::collection::vec(piece, 0..4), prop::sample::select(vec!["a", "%", "é", "漢", "𝄞", "/"]), 60_usize..256);
    prop_oneof![4 => short, 1 => long.prop_map(|(parts, unit, n)| unit.repeat(n) + &parts.concat()), 1 => any::<String>()]
}

#[test]
fn a_prefix_is_found_by_its_cut_name() {
    let id = "é/".repeat(100) + "x";
    let name = |parts: usize| file_name(&vec!["é"; parts].join("/"), ENDING);
    let find = |name: &str| find_prefix(&id, &SEPARATORS, name, ENDING).map(|prefix| prefix.split('/').count());
    assert!(!name(50).contains(CUT) && name(51).contains(CUT));
    for parts in [51, 60, 99, 100] {
        assert_eq!(find(&name(parts)), Some(parts));
    }
    for other in [name(101), name(60).replace("é%2F", "e%2F"), name(60).replacen("é%2F", "", 1), name(50), file_name(&id, ENDING)] {
        assert_eq!(find(&other), None, "{other}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn encoding_is_injective_and_reversible(ids in proptest::collection::hash_set(adversarial(), 1..120)) {
        let mut seen = HashMap::new();
        for id in &ids {
            let paths = [(stream_path(id), decode_stream_path(&stream_path(id))), (file_name(id, ENDING), decode_file_name(&file_name(id, ENDING), ENDING)),
                (stream_directory(id), decode_stream_directory(&stream_directory(id))), (directory_name(id), decode_component(&directory_name(id), "", true, true))];
            for (kind, (path, decoded)) in paths.into_iter().enumerate() {
                for part in path.split('/') {
                    prop_assert!(!part.is_empty() && part.len() <= COMPONENT_LEN_MAX && !part.starts_with('.'), "{path}");
                }
                match decoded {
                    Some(Decoded::Exact(exact)) => prop_assert_eq!(&exact, id),
                    Some(Decoded::Cut) => prop_assert!(path.contains(CUT)),
                    None => prop_assert!(false, "{} is not found", path),
                }
                prop_assert_eq!(seen.insert((kind, path), id), None);
            }
        }
    }

    #[test]
    fn a_directory_is_never_a_view(directory in adversarial(), view in adversarial()) {
        let view = stream_path(&view);
        let directory = stream_directory(&directory);
        prop_assert!(!view.split('/').zip(directory.split('/')).all(|(a, b)| a == b) || view.split('/').count() != directory.split('/').count());
    }

    #[test]
    fn what_decodes_is_canonical(path in "[a%/.~0-9A-Fjsonlé\\n]{0,12}(\\.jsonl)?") {
        if let Some(Decoded::Exact(id)) = decode_stream_path(&path) {
            prop_assert_eq!(stream_path(&id), path.clone());
        }
        if let Some(Decoded::Exact(id)) = decode_file_name(&path, ENDING) {
            prop_assert_eq!(file_name(&id, ENDING), path);
        }
    }
}
