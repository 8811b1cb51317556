//! JSON as QEMU takes it, from monitors and on the command line, and as pairs of the command line.

use std::borrow::Cow;
use std::fmt::Display;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The value in `bytes`, whose strings may be in single quotes.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(&in_double_quotes(bytes))
}

/// `members` as the command line would have them: nested members have dotted names, and a null is
/// an empty value.
pub(crate) fn pairs(members: Map<String, Value>) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    flatten("", Value::Object(members), &mut pairs);
    pairs
}

/// A value that has no members as the command line would have it.
pub(crate) fn option(value: &Value) -> String {
    match value {
        Value::Bool(on) => if *on { "on" } else { "off" }.to_owned(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

fn flatten(name: &str, value: Value, pairs: &mut Vec<(String, String)>) {
    let below = |key: &dyn Display| match name {
        "" => key.to_string(),
        name => format!("{name}.{key}"),
    };
    let text = match value {
        Value::Object(members) => {
            for (key, value) in members {
                flatten(&below(&key), value, pairs);
            }
            return;
        }
        Value::Array(items) => {
            for (index, value) in items.into_iter().enumerate() {
                flatten(&below(&index), value, pairs);
            }
            return;
        }
        Value::Null => String::new(),
        value => option(&value),
    };
    pairs.push((name.to_owned(), text));
}

/// JSON whose strings may be in single quotes, which QEMU takes as well.
fn in_double_quotes(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.contains(&b'\'') {
        return bytes.into();
    }
    let (mut json, mut quote) = (Vec::with_capacity(bytes.len()), None);
    let mut bytes = bytes.iter().copied();
    while let Some(byte) = bytes.next() {
        match (quote, byte) {
            (None, b'"' | b'\'') => {
                quote = Some(byte);
                json.push(b'"');
            }
            (Some(_), b'\\') => match bytes.next() {
                Some(b'\'') => json.push(b'\''),
                next => json.extend([byte].into_iter().chain(next)),
            },
            (Some(end), _) if byte == end => {
                quote = None;
                json.push(b'"');
            }
            (Some(_), b'"') => json.extend(b"\\\""),
            _ => json.push(byte),
        }
    }
    json.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn strings_may_be_in_single_quotes() {
        let text = br#"{'execute': 'a"b', "arguments": {'c': "d'e", 'f\'': '\\'}}"#;
        let expected = json!({"execute": "a\"b", "arguments": {"c": "d'e", "f'": "\\"}});
        assert_eq!(parse::<Value>(text).unwrap(), expected);
        for text in [&b"{'execute"[..], b"{'execute': 'a\\", b"'"] {
            parse::<Value>(text).unwrap_err();
        }
    }

    #[test]
    fn pairs_are_those_of_the_command_line() {
        let given = json!({"a": true, "b": {"c": 1, "d": ["x", {"e": "y"}]}, "n": null});
        let Value::Object(given) = given else {
            panic!("{given}")
        };
        let pairs = pairs(given);
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(
            pairs,
            [
                ("a", "on"),
                ("b.c", "1"),
                ("b.d.0", "x"),
                ("b.d.1.e", "y"),
                ("n", "")
            ]
        );
    }
}
