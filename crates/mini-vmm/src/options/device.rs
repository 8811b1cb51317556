//! `-device`: a type, an identifier and properties.

use super::{BadOption, DriveOptions, KeyVals, values};

/// One `-device`; its type and properties are checked by the table of devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceOptions {
    /// Name of the type, such as `pvpanic`.
    pub driver: String,
    /// Its identifier, where it has one.
    pub id: Option<String>,
    /// Its properties in the order given; the last one of a name wins.
    pub properties: Vec<(String, String)>,
}

impl DeviceOptions {
    /// Parses the value of `-device`.
    pub fn parse(text: &str) -> Result<Self, BadOption> {
        Self::of(KeyVals::parse_any("-device", text, "driver")?)
    }

    /// Takes pairs, those of `-device` or the arguments of `device_add`.
    pub fn of(mut kv: KeyVals) -> Result<Self, BadOption> {
        let driver = kv.require("driver", "a type; -device help lists them")?;
        let id = kv
            .take("id")
            .map(|id| values::identifier(kv.option(), &id))
            .transpose()?;
        Ok(Self {
            driver,
            id,
            properties: kv.into_pairs(),
        })
    }

    /// The value of the property `name`, where it is given.
    pub fn property(&self, name: &str) -> Option<&str> {
        let mut given = self.properties.iter().rev();
        let pair = given.find(|(other, _)| other == name);
        pair.map(|(_, value)| value.as_str())
    }
}

impl DeviceOptions {
    /// The disk that a `-drive` with `if=virtio` asks for.
    pub(super) fn disk(drive: &DriveOptions) -> Self {
        Self {
            driver: "virtio-blk-pci".to_owned(),
            id: None,
            properties: vec![("drive".to_owned(), drive.id.clone())],
        }
    }
}
