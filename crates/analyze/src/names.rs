//! Names near a mistyped one. Costs, for each candidate of similar length, a table of two
//! rows; names are compared without regard to case and by at most 120 letters.

/// Letters of a name that are compared.
const LETTERS_MAX: usize = 120;

/// The names nearest to `wanted`, nearest first: those that contain it (or end in its last part)
/// before those that differ by few letters. Names further than a third of its length are not near.
pub fn nearest<'n>(
    wanted: &str,
    names: impl Iterator<Item = &'n str>,
    count: usize,
) -> Vec<&'n str> {
    let folded: Vec<char> = fold(wanted);
    let text: String = folded.iter().collect();
    let tail: String = text.rsplit(['.', '/', '*', ']']).next().unwrap_or_default().to_owned();
    let distance_max = (folded.len() / 3).max(2);
    let mut near: Vec<(usize, &str)> = names
        .filter_map(|name| {
            let letters = fold(name);
            let candidate: String = letters.iter().collect();
            if candidate.is_empty() || text.is_empty() {
                return None;
            }
            if candidate.contains(&text) {
                return Some((letters.len() - folded.len().min(letters.len()), name));
            }
            let distance = distance(&folded, &letters, distance_max);
            let ends_alike = tail.len() > 2 && candidate.ends_with(&tail);
            // After whatever contains the whole name.
            match (distance, ends_alike) {
                (Some(distance), _) => Some((1000 + distance, name)),
                (None, true) => Some((2000 + letters.len(), name)),
                (None, false) => None,
            }
        })
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(count).map(|(_, name)| name).collect()
}

pub(crate) fn fold(name: &str) -> Vec<char> {
    name.chars().take(LETTERS_MAX).flat_map(char::to_lowercase).collect()
}

/// Levenshtein's distance, if it is at most `max`.
pub(crate) fn distance(a: &[char], b: &[char], max: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > max {
        return None;
    }
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (index, letter) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(above.len());
        let mut left = index + 1;
        row.push(left);
        for (other, pair) in b.iter().zip(above.windows(2)) {
            let [diagonal, up] = pair else { continue };
            let replaced = diagonal + usize::from(letter != other);
            left = replaced.min(up + 1).min(left + 1);
            row.push(left);
        }
        if row.iter().all(|cost| *cost > max) {
            return None;
        }
        above = row;
    }
    above.last().copied().filter(|distance| *distance <= max)
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn distances() {
        let check = |a: &str, b: &str, max, expected| {
            let letters = |text: &str| text.chars().collect::<Vec<_>>();
            assert_eq!(distance(&letters(a), &letters(b), max), expected, "{a} {b}");
        };
        check("kitten", "sitting", 5, Some(3));
        check("kitten", "sitting", 2, None);
        check("", "abc", 3, Some(3));
        check("same", "same", 0, Some(0));
    }

    #[test]
    fn mistyped_names_are_found() {
        let names = ["main.Order", "main.OrderItem", "[]*main.Order", "net/http.Conn", "string"];
        let near = |wanted| nearest(wanted, names.iter().copied(), 3);
        assert_eq!(near("main.Ordr"), ["main.Order"]);
        assert_eq!(near("main.order"), ["main.Order", "[]*main.Order", "main.OrderItem"]);
        assert_eq!(near("shop.Order"), ["main.Order", "[]*main.Order"]);
        assert_eq!(near("http.Con"), ["net/http.Conn"]);
        assert!(near("java.util.HashMap").is_empty());
        assert!(near("").is_empty());
    }
}
