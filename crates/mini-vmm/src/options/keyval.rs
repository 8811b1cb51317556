//! Lists of `key=value`, separated by commas; two commas stand for one inside a value. Some options
//! take a JSON object as well.

use super::{BadOption, near, values};
use crate::json;

/// One name that an option accepts, with its meaning for the help text.
pub type Key = (&'static str, &'static str);

/// The parsed `key=value` pairs of one option, taken out one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyVals {
    option: String,
    pairs: Vec<(String, String)>,
    /// Items of a list that had no value.
    bare: Vec<String>,
}

impl KeyVals {
    /// Splits `text`. The first item may leave out its key, which is then `implied`. An item
    /// without a value is a switch: `name` is `name=on` and `noname` is `name=off`.
    pub fn parse(option: &str, text: &str, implied: Option<&str>) -> Self {
        let items = split_commas(text);
        let bare = items.iter().filter(|item| !item.contains('='));
        let bare = bare.cloned().collect();
        let pairs = items
            .into_iter()
            .enumerate()
            .map(|(index, item)| pair(item, implied.filter(|_| index == 0)))
            .collect();
        Self {
            option: option.to_owned(),
            pairs,
            bare,
        }
    }

    /// As [`parse`](Self::parse), of an option that may have the arguments of a monitor's command:
    /// what begins with a brace is JSON.
    pub fn parse_any(option: &str, text: &str, implied: &str) -> Result<Self, BadOption> {
        if !is_json(text) {
            return Ok(Self::parse(option, text, Some(implied)));
        }
        let members = json::parse(text.as_bytes()).map_err(|error| {
            let accepted = format!("an object such as {{\"{implied}\": \"...\"}}");
            BadOption::value(option, text, format_args!("not JSON: {error}"), accepted)
        })?;
        Ok(Self::of(option, json::pairs(members)))
    }

    /// Pairs that were split before.
    pub fn of(option: &str, pairs: Vec<(String, String)>) -> Self {
        Self {
            option: option.to_owned(),
            pairs,
            bare: Vec::new(),
        }
    }

    /// Adds a pair.
    pub fn put(&mut self, key: &str, value: &str) {
        self.pairs.push((key.to_owned(), value.to_owned()));
    }

    /// The option these pairs were given to.
    pub fn option(&self) -> &str {
        &self.option
    }

    /// Refuses keys that are not in `accepted`, listing the near ones.
    pub fn check(&mut self, accepted: &[Key]) -> Result<(), BadOption> {
        let known = |key: &str| accepted.iter().any(|(name, _)| *name == key);
        self.check_with(known, accepted.iter().map(|(name, _)| *name))
    }

    /// Refuses keys that are not `known`, listing those of `names` that are near, or showing how to
    /// write a comma where one may have ended a path.
    pub fn check_with<'a>(
        &mut self,
        known: impl Fn(&str) -> bool,
        names: impl Iterator<Item = &'a str> + Clone,
    ) -> Result<(), BadOption> {
        let mut path = None;
        for (key, value) in &mut self.pairs {
            if !known(key) && !switch_off(key, value, &known) {
                let is_bare = self.bare.contains(key);
                let path = path.filter(|_| is_bare && !near::is_near(key, names.clone()));
                return Err(match path {
                    Some((name, path)) => cut(&self.option, name, path, key),
                    None => {
                        let names = near::accepted(key, names);
                        BadOption::property(&self.option, key, value, "unknown name", names)
                    }
                });
            }
            path = is_path(key).then_some((&*key, &*value));
        }
        Ok(())
    }

    /// Takes the value of `key`; the last one wins, as in QEMU.
    pub fn take(&mut self, key: &str) -> Option<String> {
        let mut found = None;
        self.pairs.retain(|(name, value)| {
            let hit = name == key;
            if hit {
                found = Some(value.clone());
            }
            !hit
        });
        found
    }

    /// Whether there are keys that begin with `prefix`.
    pub fn has_below(&self, prefix: &str) -> bool {
        self.pairs.iter().any(|(key, _)| key.starts_with(prefix))
    }

    /// Takes a value that must be there.
    pub fn require(&mut self, key: &str, accepted: &str) -> Result<String, BadOption> {
        let missing = || BadOption::property(&self.option, key, "", "missing", accepted);
        let missing = missing();
        self.take(key)
            .filter(|value| !value.is_empty())
            .ok_or(missing)
    }

    /// Takes a switch, `default` where it is not given.
    pub fn take_switch(&mut self, key: &str, default: bool) -> Result<bool, BadOption> {
        match self.take(key) {
            Some(text) => values::switch(&self.option, key, &text),
            None => Ok(default),
        }
    }

    /// Takes a number in `range`.
    pub fn take_number(
        &mut self,
        key: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, BadOption> {
        let Some(text) = self.take(key) else {
            return Ok(None);
        };
        let accepted = || format!("a number from {} to {}", range.start(), range.end());
        match values::number(&text).filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(BadOption::property(
                &self.option,
                key,
                &text,
                "not accepted",
                accepted(),
            )),
        }
    }

    /// Takes a word out of `words`, the first one being the default.
    pub fn take_word(
        &mut self,
        key: &str,
        words: &[&'static str],
    ) -> Result<&'static str, BadOption> {
        let Some(text) = self.take(key) else {
            return Ok(words.first().copied().unwrap_or(""));
        };
        match words.iter().find(|word| **word == text) {
            Some(word) => Ok(word),
            None => {
                let list = words.join(", ");
                Err(BadOption::property(
                    &self.option,
                    key,
                    &text,
                    "not accepted",
                    list,
                ))
            }
        }
    }

    /// The pairs that were not taken, for those who have their own table of names.
    pub fn into_pairs(self) -> Vec<(String, String)> {
        self.pairs
    }

    /// Whether the one thing asked for is help: `help` or `?` as an item of its own, be it the
    /// first one, whose key may be implied.
    pub fn asks_help(&self) -> bool {
        let mut pairs = self.pairs.iter();
        pairs
            .clone()
            .any(|(key, value)| is_help(key) && value == "on")
            || pairs.next().is_some_and(|(_, value)| is_help(value))
    }
}

/// Whether a word asks what there is.
pub(super) fn is_help(word: &str) -> bool {
    HELP.contains(&word)
}

/// Whether a value is in JSON rather than a list, where the option takes both.
pub(super) fn is_json(text: &str) -> bool {
    text.starts_with('{')
}

fn pair(item: String, implied: Option<&str>) -> (String, String) {
    match (item.split_once('='), implied) {
        (Some((key, value)), _) => (key.to_owned(), value.to_owned()),
        (None, Some(key)) => (key.to_owned(), item),
        (None, None) => (item, "on".to_owned()),
    }
}

/// Turns `noname=on` into `name=off`; false where there is no such name.
fn switch_off(key: &mut String, value: &mut String, known: impl Fn(&str) -> bool) -> bool {
    let name = key.strip_prefix("no").filter(|name| known(name));
    let Some(name) = name.filter(|_| value == "on") else {
        return false;
    };
    (*key, *value) = (name.to_owned(), "off".to_owned());
    true
}

fn is_path(key: &str) -> bool {
    let name = key.rsplit('.').next();
    name.is_some_and(|name| PATHS.contains(&name))
}

/// The error of an unknown name that may be the rest of a path with a comma in it.
fn cut(option: &str, key: &str, path: &str, rest: &str) -> BadOption {
    let [path, rest] = [path, rest].map(|text| text.replace(',', ",,"));
    let why = format!("unknown name {rest}");
    let accepted = format!("{key}={path},,{rest} for a comma in the path");
    BadOption::property(option, key, &format!("{path},{rest}"), why, accepted)
}

fn split_commas(text: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == ',' && chars.next_if_eq(&',').is_none() {
            items.push(String::new());
        } else if let Some(item) = items.last_mut() {
            item.push(c);
        }
    }
    items.retain(|item| !item.is_empty());
    items
}

const PATHS: &[&str] = &["file", "filename", "path"];
const HELP: &[&str] = &["help", "?"];

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &[Key] = &[("id", ""), ("file", ""), ("readonly", ""), ("wait", "")];

    fn parse(text: &str) -> KeyVals {
        KeyVals::parse("-drive", text, None)
    }

    #[test]
    fn two_commas_stand_for_one() {
        let mut kv = parse("file=a,,b=c,id=x");
        assert_eq!(kv.take("file").as_deref(), Some("a,b=c"));
        assert_eq!(kv.take("id").as_deref(), Some("x"));
        assert_eq!(parse("file=a,,").take("file").as_deref(), Some("a,"));
        assert_eq!(
            parse("file=,,a,,,,b").take("file").as_deref(),
            Some(",a,,b")
        );
    }

    #[test]
    fn the_last_value_wins() {
        assert_eq!(parse("id=a,id=b").take("id").as_deref(), Some("b"));
    }

    #[test]
    fn an_implied_key_and_switches_without_value() {
        let mut kv = KeyVals::parse("-chardev", "socket,nowait,readonly", Some("file"));
        kv.check(KEYS).unwrap();
        assert_eq!(kv.take("file").as_deref(), Some("socket"));
        assert_eq!(kv.take_switch("wait", true), Ok(false));
        assert_eq!(kv.take_switch("readonly", false), Ok(true));
    }

    #[test]
    fn unknown_names_list_near_matches() {
        let error = parse("readonyl=on").check(KEYS).unwrap_err().to_string();
        assert_eq!(
            error,
            "-drive readonyl=on: unknown name; accepted: readonly"
        );
    }

    #[test]
    fn a_comma_in_a_path_is_told_from_a_mistyped_name() {
        let refused = |text| parse(text).check(KEYS).unwrap_err().to_string();
        for (text, path, rest) in [
            ("id=x,file=a,b.raw", "a", "b.raw"),
            ("file=a,,b,c,,d,id=x", "a,,b", "c,,d"),
        ] {
            let expected = format!(
                "-drive file={path},{rest}: unknown name {rest}; accepted: file={path},,{rest} for a \
                 comma in the path"
            );
            assert_eq!(refused(text), expected);
        }
        for text in ["file=a,readonyl", "file=a,b=on,x", "id=a,b", "b"] {
            assert!(!refused(text).contains(",,"), "{text}");
        }
        let pairs = [("file", "a"), ("b", "on")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let error = KeyVals::of("blockdev-add", pairs.into())
            .check(KEYS)
            .unwrap_err();
        assert!(!error.to_string().contains(",,"), "{error}");
    }

    #[test]
    fn typed_values_are_checked() {
        let word = parse("id=x")
            .take_word("id", &["a", "b"])
            .unwrap_err()
            .to_string();
        assert_eq!(word, "-drive id=x: not accepted; accepted: a, b");
        let number = parse("id=x")
            .take_number("id", 0..=9)
            .unwrap_err()
            .to_string();
        assert_eq!(
            number,
            "-drive id=x: not accepted; accepted: a number from 0 to 9"
        );
        let missing = parse("").require("file", "a path").unwrap_err().to_string();
        assert_eq!(missing, "-drive file=: missing; accepted: a path");
        assert_eq!(parse("id=7").take_number("id", 0..=9), Ok(Some(7)));
    }

    #[test]
    fn help_is_seen_in_any_place() {
        assert!(KeyVals::parse("-device", "help", Some("driver")).asks_help());
        assert!(KeyVals::parse("-device", "virtio-blk-pci,help", Some("driver")).asks_help());
        assert!(!KeyVals::parse("-device", "virtio-blk-pci", Some("driver")).asks_help());
        assert!(
            !KeyVals::parse("-device", "virtio-blk-pci,serial=help", Some("driver")).asks_help()
        );
    }

    #[test]
    fn a_newline_in_a_value_stays_on_one_line() {
        let error = parse("wait=a\nb")
            .take_switch("wait", true)
            .unwrap_err()
            .to_string();
        assert_eq!(error.lines().count(), 1);
    }
}
