//! Arguments of a command, checked against its row of the table.

use serde_json::{Map, Value};

use super::error::QmpError;
use crate::json;

/// A parameter in QAPI's notation: its name, with `*` in front where it may be left out, and its
/// type, `str`, `int`, `bool` or `any`. The name `**` allows any others.
pub(super) type Parameter = (&'static str, &'static str);

/// Arguments that have the names and types of their command's parameters.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Arguments(Map<String, Value>);

impl Arguments {
    /// Checks `given`.
    pub(super) fn check(
        given: Map<String, Value>,
        parameters: &[Parameter],
    ) -> Result<Self, QmpError> {
        let open = parameters.iter().any(|(name, _)| *name == OTHERS);
        for (name, value) in &given {
            let kind = parameters.iter().find(|(other, _)| name_of(other) == name);
            match kind {
                Some((_, kind)) if !fits(value, kind) => {
                    return Err(QmpError::generic(format_args!(
                        "Invalid parameter type for '{name}', expected: {kind}"
                    )));
                }
                None if !open => {
                    return Err(QmpError::generic(format_args!(
                        "Parameter '{name}' is unexpected"
                    )));
                }
                _ => {}
            }
        }
        let wanted = parameters.iter().map(|(name, _)| *name);
        let missing = wanted
            .filter(|name| !name.starts_with('*'))
            .find(|name| !given.contains_key(*name));
        match missing {
            Some(name) => Err(QmpError::generic(format_args!(
                "Parameter '{name}' is missing"
            ))),
            None => Ok(Self(given)),
        }
    }

    /// A string, empty where it is not given.
    pub(super) fn text(&self, name: &str) -> &str {
        self.optional(name).unwrap_or_default()
    }

    /// A string.
    pub(super) fn optional(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// A value of any type, null where it is not given.
    pub(super) fn value(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or(&Value::Null)
    }

    /// A value of any type as the command line would have it.
    pub(super) fn option(&self, name: &str) -> String {
        json::option(self.value(name))
    }

    /// A number, 0 where it is not given.
    pub(super) fn number(&self, name: &str) -> u64 {
        self.given(name).unwrap_or_default()
    }

    /// A number.
    pub(super) fn given(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.as_u64()
    }

    /// A switch, off where it is not given.
    pub(super) fn switch(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// A list of strings.
    pub(super) fn list(&self, name: &str) -> Option<Vec<&str>> {
        let items = self.0.get(name)?.as_array()?;
        Some(items.iter().filter_map(Value::as_str).collect())
    }

    /// An object.
    pub(super) fn object(&self, name: &str) -> Option<&Map<String, Value>> {
        self.0.get(name)?.as_object()
    }

    /// All of them as the command line would have them.
    pub(super) fn into_pairs(self) -> Vec<(String, String)> {
        json::pairs(self.0)
    }
}

/// The name of a parameter.
pub(super) fn name_of(parameter: &'static str) -> &'static str {
    parameter.strip_prefix('*').unwrap_or(parameter)
}

/// The parameter that allows others.
pub(super) const OTHERS: &str = "**";

fn fits(value: &Value, kind: &str) -> bool {
    match kind {
        "str" => value.is_string(),
        "int" => value.is_u64(),
        "bool" => value.is_boolean(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(given: Value, parameters: &[Parameter]) -> Result<Arguments, String> {
        let Value::Object(given) = given else {
            panic!("{given}")
        };
        Arguments::check(given, parameters).map_err(|error| error.desc)
    }

    #[test]
    fn names_and_types_are_checked() {
        let parameters = &[("*device", "str"), ("size", "int")];
        let arguments = check(json!({"size": 5}), parameters).unwrap();
        assert_eq!(
            (arguments.number("size"), arguments.optional("device")),
            (5, None)
        );
        for (given, desc) in [
            (json!({}), "Parameter 'size' is missing"),
            (
                json!({"size": -1}),
                "Invalid parameter type for 'size', expected: int",
            ),
            (
                json!({"size": "1"}),
                "Invalid parameter type for 'size', expected: int",
            ),
            (json!({"size": 1, "x": 1}), "Parameter 'x' is unexpected"),
        ] {
            assert_eq!(check(given, parameters).unwrap_err(), desc);
        }
        let open = &[("driver", "str"), (OTHERS, "any")];
        assert!(check(json!({"driver": "a", "x": 1}), open).is_ok());
    }
}
