//! Near matches for a mistyped name.

/// `name` with the accepted names nearest to it, or all of them where none is near.
pub fn accepted<'a>(name: &str, all: impl Iterator<Item = &'a str> + Clone) -> String {
    let mut near: Vec<(usize, &str)> = all
        .clone()
        .map(|other| (distance(name, other), other))
        .filter(|(distance, other)| is_near(*distance, name, other))
        .collect();
    near.sort_unstable();
    near.dedup();
    near.truncate(MOST_SHOWN);
    if near.is_empty() {
        return all.collect::<Vec<_>>().join(", ");
    }
    near.into_iter()
        .map(|(_, other)| other)
        .collect::<Vec<_>>()
        .join(", ")
}

/// A third of the letters may be wrong; a name that contains the other is near as well.
fn is_near(distance: usize, name: &str, other: &str) -> bool {
    let contained = name.len() >= SHORTEST_PART && (other.contains(name) || name.contains(other));
    contained || distance * 3 <= name.len().max(other.len())
}

/// Levenshtein distance in bytes, one row of the matrix at a time.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let best = (*cell + 1).min(left + 1).min(corner + usize::from(x != y));
            corner = std::mem::replace(cell, best);
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

const MOST_SHOWN: usize = 6;
const SHORTEST_PART: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_levenshtein() {
        for (a, b, expected) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn shows_near_names_first_and_all_when_none_is_near() {
        let all = ["readonly", "file", "format"];
        assert_eq!(accepted("readonyl", all.into_iter()), "readonly");
        assert_eq!(accepted("zzzz", all.into_iter()), "readonly, file, format");
    }
}
