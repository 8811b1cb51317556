//! `-object`: a type, an identifier and properties.

use super::{BadOption, KeyVals, values};

/// One `-object`; its type and properties are checked by the table of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectOptions {
    /// Name of the type, such as `rng-random`.
    pub kind: String,
    /// Its identifier.
    pub id: String,
    /// Its properties in the order given; the last one of a name wins.
    pub properties: Vec<(String, String)>,
}

impl ObjectOptions {
    /// Parses the value of `-object`.
    pub fn parse(text: &str) -> Result<Self, BadOption> {
        Self::of(KeyVals::parse_any("-object", text, "qom-type")?)
    }

    /// Takes pairs, those of `-object` or the arguments of `object-add`.
    pub fn of(mut kv: KeyVals) -> Result<Self, BadOption> {
        let kind = kv.require("qom-type", "a type; -object help lists them")?;
        let id = kv.require("id", "an identifier")?;
        Ok(Self {
            kind,
            id: values::identifier(kv.option(), &id)?,
            properties: kv.into_pairs(),
        })
    }
}
