//! Settings that are planned and not yet acted on. They are refused: a limit or a bill that somebody wrote
//! down and nobody enforces would be worse than none.

use crate::document::Section;
use crate::error::Faults;

pub(crate) const SECTIONS: [&str; 2] = ["limits", "billing"];

const PLANNED: [(&str, &[&str], &str); 2] = [
    (
        "limits",
        &["redis"],
        "limits that several edges share come with a later version; remove it, each edge limits for itself",
    ),
    (
        "billing",
        &["stripe_key", "stripe_url"],
        "billing comes with a later version; remove it, usage is metered all the same",
    ),
];

pub(crate) fn refuse(root: &Section<'_>, faults: &mut Faults<'_>) {
    for (name, keys, reason) in PLANNED {
        let section = root.section(name, keys, faults);
        for key in keys {
            if let Some(span) = section.span_of(key) {
                faults.at(span, format!("`{name}.{key}`: {reason}"));
            }
        }
    }
}
