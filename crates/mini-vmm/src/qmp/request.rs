//! Requests, and what answers them.

use serde_json::{Map, Value, json};

use super::error::QmpError;
use crate::json;

/// A command that is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Name of the command.
    pub execute: String,
    /// Its arguments, not checked yet.
    pub arguments: Map<String, Value>,
    /// What the answer repeats.
    pub id: Option<Value>,
}

impl Request {
    /// The request in `bytes`; with an error comes what the answer repeats, where that is known.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, (QmpError, Option<Value>)> {
        let value = json::parse(bytes);
        let value =
            value.map_err(|error| (bad(format_args!("JSON parse error, {error}")), None))?;
        let Value::Object(mut members) = value else {
            return Err((bad("QMP input must be a JSON object"), None));
        };
        let id = members.remove("id");
        match Self::of(members) {
            Ok((execute, arguments)) => Ok(Self {
                execute,
                arguments,
                id,
            }),
            Err(error) => Err((error, id)),
        }
    }

    fn of(mut members: Map<String, Value>) -> Result<(String, Map<String, Value>), QmpError> {
        let execute = match members.remove("execute") {
            Some(Value::String(name)) => name,
            Some(_) => return Err(bad("QMP input member 'execute' must be a string")),
            None => return Err(bad("QMP input lacks member 'execute'")),
        };
        let arguments = match members.remove("arguments") {
            Some(Value::Object(arguments)) => arguments,
            Some(_) => return Err(bad("QMP input member 'arguments' must be an object")),
            None => Map::new(),
        };
        match members.keys().next() {
            Some(name) => Err(bad(format_args!("QMP input member '{name}' is unexpected"))),
            None => Ok((execute, arguments)),
        }
    }
}

/// The answer to a request.
pub(super) fn answer(result: Result<Value, QmpError>, id: Option<Value>) -> Value {
    let mut answer = match result {
        Ok(value) => json!({"return": value}),
        Err(error) => json!({"error": error}),
    };
    if let Some(id) = id {
        answer["id"] = id;
    }
    answer
}

fn bad(desc: impl std::fmt::Display) -> QmpError {
    QmpError::generic(desc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_taken_apart() {
        let request = br#"{"execute": "stop", "arguments": {"a": 1}, "id": [2]}"#;
        let request = Request::parse(request).unwrap();
        assert_eq!(request.execute, "stop");
        assert_eq!(request.arguments["a"], 1);
        assert_eq!(request.id, Some(json!([2])));
    }

    #[test]
    fn what_is_no_request_is_refused_with_its_id() {
        for (text, desc, id) in [
            ("{", "JSON parse error", None),
            ("[]", "must be a JSON object", None),
            (r#"{"id": 1}"#, "lacks member 'execute'", Some(1)),
            (r#"{"execute": 1}"#, "must be a string", None),
            (
                r#"{"execute": "a", "arguments": 1, "id": 2}"#,
                "must be an object",
                Some(2),
            ),
            (
                r#"{"exec-oob": "a", "execute": "b"}"#,
                "'exec-oob' is unexpected",
                None,
            ),
        ] {
            let (error, repeated) = Request::parse(text.as_bytes()).unwrap_err();
            assert!(error.desc.contains(desc), "{text}: {error}");
            assert_eq!(repeated, id.map(Value::from), "{text}");
        }
        let deep = "[".repeat(10_000);
        assert!(Request::parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn answers_repeat_the_id() {
        let value = answer(Ok(json!({})), Some(json!("x")));
        assert_eq!(value.to_string(), r#"{"id":"x","return":{}}"#);
        let value = answer(Err(QmpError::no_device("d")), None);
        let error = json!({"class": "DeviceNotFound", "desc": "Device 'd' not found"});
        assert_eq!(value, json!({"error": error}));
    }
}
