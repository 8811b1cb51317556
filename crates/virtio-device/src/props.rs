//! Device properties: typed structs whose fields are set by name, as `-device type,name=value`
//! does it.
//!
//! One [`props!`](crate::props!) table per layer (device, common virtio, transport) gives a struct
//! with defaults, setters, parsing and help. Names, types and defaults are QEMU's, so that its
//! users find what they know.

mod on_error;
mod size;

use std::fmt;

pub use on_error::OnErrorAuto;
pub use size::Size;

/// A set of named properties; implemented by [`props!`](crate::props!).
pub trait Props: Default {
    /// Sets the property `name` from text. `Ok(false)` where this set has none of that name.
    ///
    /// # Errors
    /// [`PropError::Value`] where the text is not a value of the property's type.
    fn set(&mut self, name: &str, value: &str) -> Result<bool, PropError>;

    /// Every property, with its current value.
    fn describe(&self) -> Vec<PropHelp>;
}

/// One property, as help lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropHelp {
    /// Name, such as `num-queues`.
    pub name: &'static str,
    /// Accepted values, such as `on|off`.
    pub accepts: &'static str,
    /// Current value (in a fresh set, the default); empty where unset.
    pub value: String,
    /// What it does, in a line.
    pub help: &'static str,
}

/// Why a property could not be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PropError {
    /// No layer has a property of that name.
    #[error("unknown property '{name}'{}", did_you_mean(.near))]
    Unknown {
        /// The name given.
        name: String,
        /// Names like it.
        near: Vec<&'static str>,
    },
    /// The value is not of the property's type.
    #[error("property '{name}': '{value}' is not valid; accepted: {accepts}")]
    Value {
        /// The property.
        name: &'static str,
        /// The text given.
        value: String,
        /// What it accepts.
        accepts: &'static str,
    },
}

/// A type that a property can have.
pub trait PropValue: Sized {
    /// Accepted values, for help and errors.
    const ACCEPTS: &'static str;
    /// Parses a value; `None` where it is not one.
    fn parse(text: &str) -> Option<Self>;
    /// The value as [`parse`](Self::parse) takes it.
    fn show(&self) -> String;
}

/// A switch that the VMM may decide itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnOffAuto {
    /// Decided by where the device is plugged.
    #[default]
    Auto,
    /// On.
    On,
    /// Off.
    Off,
}

/// Applies `name=value` pairs to the layers of a device, in order; each layer is offered a name
/// that those before it do not have.
///
/// # Errors
/// The first pair that no layer knows or accepts.
pub fn apply<'a>(
    pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    layers: &mut [&mut dyn DynProps],
) -> Result<(), PropError> {
    for (name, value) in pairs {
        let mut known = false;
        for layer in layers.iter_mut() {
            known = known || layer.set(name, value)?;
        }
        if !known {
            let names = layers.iter().flat_map(|l| l.describe()).map(|p| p.name);
            return Err(PropError::Unknown {
                name: name.to_owned(),
                near: near(name, names),
            });
        }
    }
    Ok(())
}

/// [`Props`], object-safe.
pub trait DynProps {
    /// See [`Props::set`].
    ///
    /// # Errors
    /// As there.
    fn set(&mut self, name: &str, value: &str) -> Result<bool, PropError>;
    /// See [`Props::describe`].
    fn describe(&self) -> Vec<PropHelp>;
}

impl<P: Props> DynProps for P {
    fn set(&mut self, name: &str, value: &str) -> Result<bool, PropError> {
        Props::set(self, name, value)
    }

    fn describe(&self) -> Vec<PropHelp> {
        Props::describe(self)
    }
}

/// Splits an option string such as `virtio-blk-pci,drive=d0,serial=a,,b` at its commas into
/// `(name, value)` pairs. `,,` is a comma; a word without `=` has no value.
pub fn split_options(text: &str) -> Vec<(String, Option<String>)> {
    let mut words = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match words.last_mut() {
            Some(_) if c == ',' && chars.next_if_eq(&',').is_none() => words.push(String::new()),
            Some(word) => word.push(c),
            None => {}
        }
    }
    words.retain(|word| !word.is_empty());
    let pair = |word: String| match word.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (word, None),
    };
    words.into_iter().map(pair).collect()
}

/// Those of `names` that a person who typed `word`, in whatever case, may have meant, best first, at
/// most three.
pub fn near<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let word = word.to_lowercase();
    let mut scored: Vec<_> = names
        .into_iter()
        .map(|name| (distance(&word, &name.to_lowercase()), name))
        .collect();
    scored.retain(|&(d, name)| d <= 1 + name.len() / 4 || (word.len() > 2 && name.contains(&word)));
    scored.sort_unstable();
    scored.dedup();
    scored.into_iter().take(3).map(|(_, name)| name).collect()
}

/// Number of characters to insert, remove, replace or swap with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

fn did_you_mean(near: &[&str]) -> String {
    if near.is_empty() {
        String::new()
    } else {
        format!("; did you mean {}?", near.join(", "))
    }
}

/// Declares a struct of properties: a doc line, `"name" => field: Type = default` each. Before them
/// may come sets that it includes, `..field: Set` each, whose properties are also its own.
///
/// ```
/// virtio_device::props! {
///     /// Properties of a toy.
///     pub struct ToyProps {
///         /// How loud it is, in percent.
///         "volume" => volume: u8 = 50,
///         /// What it says.
///         "say" => say: Option<String> = None,
///     }
/// }
/// use virtio_device::props::Props;
/// let mut toy = ToyProps::default().say(Some("hello".into()));
/// assert_eq!(Props::set(&mut toy, "volume", "0x10"), Ok(true));
/// assert_eq!(toy.volume, 16);
/// assert_eq!(Props::set(&mut toy, "colour", "red"), Ok(false));
/// assert!(Props::set(&mut toy, "volume", "loud").is_err());
/// assert_eq!(toy.describe()[0].help, "How loud it is, in percent.");
///
/// virtio_device::props! {
///     /// Properties of a toy that moves.
///     pub struct CarProps {
///         ..toy: ToyProps,
///         /// How fast it is, in percent.
///         "speed" => speed: u8 = 10,
///     }
/// }
/// let mut car = CarProps::default();
/// assert_eq!(Props::set(&mut car, "volume", "0"), Ok(true));
/// assert_eq!((car.toy.volume, car.speed), (0, 10));
/// let names: Vec<_> = car.describe().iter().map(|property| property.name).collect();
/// assert_eq!(names, ["volume", "say", "speed"]);
/// ```
#[macro_export]
macro_rules! props {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $( .. $set:ident : $set_ty:ty , )*
        $( #[doc = $help:literal] $prop:literal => $field:ident : $ty:ty = $default:expr ),* $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        $vis struct $name {
            $( #[doc = concat!("[`", stringify!($set_ty), "`], which are included.")]
            pub $set: $set_ty, )*
            $( #[doc = $help] pub $field: $ty ),*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $set: <$set_ty>::default(), )* $( $field: $default ),* }
            }
        }

        impl $name {
            $( #[doc = concat!("[`", stringify!($set_ty), "`], which are included.")]
            #[must_use]
            pub fn $set(mut self, set: $set_ty) -> Self {
                self.$set = set;
                self
            } )*

            $( #[doc = $help] #[must_use] pub fn $field(mut self, value: $ty) -> Self {
                self.$field = value;
                self
            } )*
        }

        impl $crate::props::Props for $name {
            fn set(&mut self, name: &str, value: &str) -> Result<bool, $crate::props::PropError> {
                match name {
                    $( $prop => {
                        self.$field = $crate::props::value($prop, value)?;
                        Ok(true)
                    } )*
                    _ => {
                        let known = false;
                        $( let known = known || $crate::props::Props::set(&mut self.$set, name, value)?; )*
                        Ok(known)
                    }
                }
            }

            fn describe(&self) -> Vec<$crate::props::PropHelp> {
                let included: &[Vec<$crate::props::PropHelp>] =
                    &[ $( $crate::props::Props::describe(&self.$set) ),* ];
                let own = [ $( $crate::props::PropHelp {
                    name: $prop,
                    accepts: <$ty as $crate::props::PropValue>::ACCEPTS,
                    value: $crate::props::PropValue::show(&self.$field),
                    help: $help.trim_ascii(),
                } ),* ];
                included.iter().flatten().cloned().chain(own).collect()
            }
        }
    };
}

/// Checks what the type of a property does not.
///
/// # Errors
/// [`PropError::Value`] unless `holds`.
pub fn ensure(
    holds: bool,
    name: &'static str,
    value: impl ToString,
    accepts: &'static str,
) -> Result<(), PropError> {
    if holds {
        Ok(())
    } else {
        Err(refuse(name, value, accepts))
    }
}

/// [`PropError::Value`] for this property and value.
pub fn refuse(name: &'static str, value: impl ToString, accepts: &'static str) -> PropError {
    PropError::Value {
        name,
        value: value.to_string(),
        accepts,
    }
}

/// Parses the value of the property `name`; for [`props!`](crate::props!).
///
/// # Errors
/// [`PropError::Value`].
pub fn value<T: PropValue>(name: &'static str, text: &str) -> Result<T, PropError> {
    T::parse(text).ok_or_else(|| PropError::Value {
        name,
        value: text.to_owned(),
        accepts: T::ACCEPTS,
    })
}

impl PropValue for bool {
    const ACCEPTS: &'static str = "on|off";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "on" | "yes" | "true" | "y" => Some(true),
            "off" | "no" | "false" | "n" => Some(false),
            _ => None,
        }
    }

    fn show(&self) -> String {
        if *self { "on" } else { "off" }.to_owned()
    }
}

impl PropValue for OnOffAuto {
    const ACCEPTS: &'static str = "on|off|auto";

    fn parse(text: &str) -> Option<Self> {
        match bool::parse(text) {
            Some(true) => Some(Self::On),
            Some(false) => Some(Self::Off),
            None => (text == "auto").then_some(Self::Auto),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        }
        .to_owned()
    }
}

macro_rules! number {
    ($($ty:ty: $accepts:literal),*) => { $(
        impl PropValue for $ty {
            const ACCEPTS: &'static str = $accepts;

            fn parse(text: &str) -> Option<Self> {
                match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
                    Some(hex) if !hex.starts_with(['+', '-']) => <$ty>::from_str_radix(hex, 16).ok(),
                    Some(_) => None,
                    None => text.parse().ok(),
                }
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )* };
}

number!(
    u8: "a number from 0 to 255",
    u16: "a number from 0 to 65535",
    u32: "a number from 0 to 4294967295",
    u64: "a number from 0 to 2^64 - 1",
    i32: "a number from -2147483648 to 2147483647"
);

impl PropValue for String {
    const ACCEPTS: &'static str = "text";

    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl<T: PropValue> PropValue for Option<T> {
    const ACCEPTS: &'static str = T::ACCEPTS;

    fn parse(text: &str) -> Option<Self> {
        T::parse(text).map(Some)
    }

    fn show(&self) -> String {
        self.as_ref().map(T::show).unwrap_or_default()
    }
}

impl fmt::Display for OnOffAuto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.show())
    }
}
