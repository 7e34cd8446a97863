//! Folded stacks, root first: `main;handle;alloc 42`.

use model::{LocationId, Profile};

use super::named::NamedFrames;

/// Reads folded stacks; `None` when the text is something else.
pub(super) fn read(text: &str) -> Option<(Profile, Vec<String>)> {
    let mut profile = Profile::new(&[("samples", "count")]);
    profile.period_type = Some(profile.value_type("samples", "count"));
    profile.period = 1;
    let mut frames = NamedFrames::default();
    let mut warnings = Vec::new();
    let (mut good, mut bad) = (0_u64, 0_u64);
    let mut stack: Vec<LocationId> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line.starts_with('#') {
            continue;
        }
        let parsed = line.rsplit_once(' ').and_then(|(stack, count)| {
            let count = count.parse::<f64>().ok().filter(|count| count.is_finite())?;
            (!stack.is_empty()).then_some((stack, count.round() as i64))
        });
        let Some((names, count)) = parsed else {
            bad += 1;
            // A file of another kind: most lines would be wrong.
            if bad > 10 + good {
                return None;
            }
            continue;
        };
        good += 1;
        stack.clear();
        let names = names.trim_end().rsplit(';');
        stack.extend(names.map(|name| frames.location(&mut profile, name, "", 0, 0)));
        profile.push_sample(&stack, &[count], &[]);
    }
    if good == 0 || bad > good {
        return None;
    }
    if bad > 0 {
        warnings.push(format!("{bad} lines are no folded stacks and were left out"));
    }
    Some((profile, warnings))
}
