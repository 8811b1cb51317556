//! Near matches for a mistyped name.

use virtio_device::props::near;

/// The accepted names nearest to `name`, or all of them where none is near.
pub fn accepted<'a>(name: &str, all: impl Iterator<Item = &'a str> + Clone) -> String {
    match near(name, all.clone()).as_slice() {
        [] => all.collect::<Vec<_>>().join(", "),
        near => near.join(", "),
    }
}

/// Whether `name` is near one of `all`.
pub(super) fn is_near<'a>(name: &str, all: impl Iterator<Item = &'a str>) -> bool {
    !near(name, all).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_near_names_first_and_all_when_none_is_near() {
        let all = ["readonly", "file", "format", "h"];
        assert_eq!(accepted("readonyl", all.into_iter()), "readonly");
        assert_eq!(
            accepted("hda", all.into_iter()),
            "readonly, file, format, h"
        );
    }
}
