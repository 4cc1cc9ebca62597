//! Names of streams, types and categories: injective, canonical, reversible.

use braidfs::format::names::{
    COMPONENT_LEN_MAX, Decoded, ENDING, decode_file_name, decode_stream_directory, decode_stream_path, directory_name, file_name,
    stream_directory, stream_path,
};

/// Takes the bytes as an id, and as a name.
pub fn holds(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    of_id(text);
    of_name(text);
}

fn of_id(id: &str) {
    let is_long = |part: &str| part.len() * 3 + ENDING.len() > COMPONENT_LEN_MAX;
    let there_and_back = |name: String, back: Option<Decoded>, may_be_cut: bool| {
        for part in name.split('/') {
            assert!((1..=COMPONENT_LEN_MAX).contains(&part.len()) && part != "." && part != "..", "{part:?} of {id:?}");
        }
        match back.unwrap_or_else(|| panic!("{name:?} is not canonical, of {id:?}")) {
            Decoded::Exact(back) => assert_eq!(back, id, "{name:?}"),
            Decoded::Cut => assert!(may_be_cut, "{name:?} of {id:?}"),
        }
    };
    there_and_back(stream_path(id), decode_stream_path(&stream_path(id)), id.split('/').any(is_long));
    there_and_back(stream_directory(id), decode_stream_directory(&stream_directory(id)), id.split('/').any(is_long));
    there_and_back(file_name(id, ENDING), decode_file_name(&file_name(id, ENDING), ENDING), is_long(id));
    assert!(!directory_name(id).contains('/'));
}

fn of_name(name: &str) {
    if let Some(Decoded::Exact(id)) = decode_stream_path(name) {
        assert_eq!(stream_path(&id), name);
    }
    if let Some(Decoded::Exact(id)) = decode_stream_directory(name) {
        assert_eq!(stream_directory(&id), name);
    }
    if let Some(Decoded::Exact(id)) = decode_file_name(name, ENDING) {
        assert_eq!(file_name(&id, ENDING), name);
    }
}

/// Ids and names that were thought of.
pub fn seeds() -> Vec<Vec<u8>> {
    let long = "é".repeat(200);
    let ids = ["a", "", "a/b", "/", "a//b/", ".", "..", ".hidden", "a%b", "%", "x.jsonl/y", "%2Ejsonl", "a\n\u{7f}", "order:1-2", &long];
    ids.iter().flat_map(|id| [id.as_bytes().to_vec(), stream_path(id).into_bytes(), stream_directory(id).into_bytes()]).collect()
}
