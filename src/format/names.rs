//! File names for streams, types, categories and subscriptions (SEMANTICS.md, "Names").

use sha2::{Digest, Sha256};

/// The most bytes of a file name.
pub const COMPONENT_LEN_MAX: usize = 255;

/// The ending of every view of lines.
pub const ENDING: &str = ".jsonl";

/// What stands before the hash of a name that was cut; comes from nothing else.
const CUT: &str = "%~";

const HASH_HEX_LEN: usize = 32;

/// What ends a category within the id of a stream.
pub const SEPARATORS: [char; 3] = ['-', ':', '/'];

/// What a canonical name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Exactly this id.
    Exact(String),
    /// An id that was too long: only the ids that exist tell which.
    Cut,
}

/// The path of a stream's view below `streams/`: `a/b.jsonl` for `a/b`.
#[must_use]
pub fn stream_path(stream_id: &str) -> String {
    match stream_id.rsplit_once('/') {
        Some((directories, last)) => stream_directory(directories) + "/" + &component(last, ENDING, false),
        None => component(stream_id, ENDING, false),
    }
}

/// The path of a stream with every component as a directory: where a fork of it is shown.
#[must_use]
pub fn stream_directory(stream_id: &str) -> String {
    let parts: Vec<String> = stream_id.split('/').map(|part| component(part, "", true)).collect();
    parts.join("/")
}

/// The name of one file for a type, a category or a subscription, with `/` as `%2F`.
#[must_use]
pub fn file_name(raw: &str, ending: &str) -> String {
    component(raw, ending, false)
}

/// The name of one directory for such a name, with `/` as `%2F`.
#[must_use]
pub fn directory_name(raw: &str) -> String {
    component(raw, "", true)
}

/// The stream whose view has that path below `streams/`; none if no stream's canonical path is this.
#[must_use]
pub fn decode_stream_path(path: &str) -> Option<Decoded> {
    let (directories, last) = path.rsplit_once('/').map_or((None, path), |(directories, last)| (Some(directories), last));
    let last = decode_component(last, ENDING, false, false)?;
    match directories {
        Some(directories) => Some(join(decode_stream_directory(directories)?, last)),
        None => Some(last),
    }
}

/// The stream with that path of directories; none if no stream's canonical path is this.
#[must_use]
pub fn decode_stream_directory(path: &str) -> Option<Decoded> {
    let mut parts = path.split('/').map(|part| decode_component(part, "", true, false));
    let first = parts.next()??;
    parts.try_fold(first, |whole, part| Some(join(whole, part?)))
}

/// The type, category or subscription with that file name; none if it is not the canonical one.
#[must_use]
pub fn decode_file_name(name: &str, ending: &str) -> Option<Decoded> {
    decode_component(name, ending, false, true)
}

/// What has that name of a directory; none if it is not the canonical one.
#[must_use]
pub fn decode_directory_name(name: &str) -> Option<Decoded> {
    decode_component(name, "", true, true)
}

/// What stands before the second separator of a stream's id and each behind it: longer prefixes than its category.
pub fn longer_prefixes(stream_id: &str) -> impl Iterator<Item = &str> {
    stream_id.match_indices(SEPARATORS).skip(1).filter_map(|(at, _)| stream_id.get(..at))
}

/// The category for which a stream is listed: what stands before its first `-`, `:` or `/`.
///
/// A stream that begins with one has the category `""`, whose file name is `%`.
#[must_use]
pub fn category_of(stream_id: &str) -> Option<&str> {
    stream_id.split_once(SEPARATORS).map(|(category, _)| category)
}

fn join(front: Decoded, back: Decoded) -> Decoded {
    match (front, back) {
        (Decoded::Exact(front), Decoded::Exact(back)) => Decoded::Exact(front + "/" + &back),
        _ => Decoded::Cut,
    }
}

/// Encodes one component; a `/` in it becomes `%2F`.
fn component(raw: &str, ending: &str, is_directory: bool) -> String {
    let mut name = escape(raw);
    if is_directory && name.ends_with(ENDING) {
        name.truncate(name.len() - ENDING.len());
        name.push_str("%2Ejsonl");
    }
    if name.len() + ending.len() > COMPONENT_LEN_MAX { cut_name(&name, raw.as_bytes(), ending) } else { name + ending }
}

/// What is shown of an encoded name with its ending where it would be too long: cut at a whole character or escape, and told from others by
/// the hash of what it stands for.
#[must_use]
pub fn cut_name(encoded: &str, raw: &[u8], ending: &str) -> String {
    let front = cut_at(encoded, COMPONENT_LEN_MAX.saturating_sub(CUT.len() + HASH_HEX_LEN + ending.len()));
    encoded.get(..front).unwrap_or_default().to_owned() + CUT + &hash_hex(Sha256::new_with_prefix(raw)) + ending
}

fn hash_hex(hash: Sha256) -> String {
    hash.finalize().iter().take(HASH_HEX_LEN / 2).map(|byte| format!("{byte:02x}")).collect()
}

/// What stands before a separator of `id` and has this cut file name. Costs one pass over `id` and a hash for each separator.
#[must_use]
pub fn find_prefix<'a>(id: &'a str, separators: &[char], name: &str, ending: &str) -> Option<&'a str> {
    let (front, hash) = name.strip_suffix(ending)?.rsplit_once(CUT)?;
    // A byte is written as three at most.
    let is_long = |text: &str| text.len() * 3 >= front.len();
    if !is_long(id) {
        return None;
    }
    let mut digest = Sha256::new();
    let mut from = 0;
    for (at, _) in id.match_indices(separators) {
        digest.update(id.get(from..at)?);
        from = at;
        let prefix = id.get(..at)?;
        if is_long(prefix) && hash_hex(digest.clone()) == hash && file_name(prefix, ending) == name {
            return Some(prefix);
        }
    }
    None
}

fn escape(raw: &str) -> String {
    if raw.is_empty() {
        return "%".to_owned();
    }
    let mut name = String::with_capacity(raw.len() + 8);
    for (at, c) in raw.char_indices() {
        match c {
            '\0'..='\x1f' | '\x7f' | '%' | '/' => name.push_str(&format!("%{:02X}", u32::from(c))),
            '.' if at == 0 => name.push_str("%2E"),
            _ => name.push(c),
        }
    }
    name
}

/// The last place up to `max` that parts neither a character nor an escape.
fn cut_at(name: &str, max: usize) -> usize {
    let at = (0..=max).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    let inside = |before: usize| at.checked_sub(before).filter(|from| name.as_bytes().get(*from) == Some(&b'%'));
    inside(1).or_else(|| inside(2)).unwrap_or(at)
}

fn decode_component(name: &str, ending: &str, is_directory: bool, is_flat: bool) -> Option<Decoded> {
    let encoded = name.strip_suffix(ending)?;
    if let Some((front, hash)) = encoded.rsplit_once(CUT) {
        return is_cut(front, hash, name.len()).then_some(Decoded::Cut);
    }
    let raw = unescape(encoded)?;
    let canonical = (is_flat || !raw.contains('/')) && component(&raw, ending, is_directory) == name;
    canonical.then_some(Decoded::Exact(raw))
}

/// Tells whether a name may be a cut one: full but for what one character or escape takes.
fn is_cut(front: &str, hash: &str, len: usize) -> bool {
    let is_hash = hash.len() == HASH_HEX_LEN && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_hash && len <= COMPONENT_LEN_MAX && len + 3 >= COMPONENT_LEN_MAX && unescape(front).is_some()
}

fn unescape(name: &str) -> Option<String> {
    if name == "%" {
        return Some(String::new());
    }
    let mut parts = name.split('%');
    let mut raw = parts.next()?.to_owned();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        let is_upper = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F'));
        let code = u8::from_str_radix(digits, 16).ok().filter(|code| is_upper && code.is_ascii())?;
        raw.push(char::from(code));
        raw.push_str(rest);
    }
    Some(raw)
}

#[cfg(test)]
#[path = "names/names_tests.rs"]
mod names_tests;
