//! JSON Merge Patch (RFC 7396): what a PATCH changes, applied to what is there.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::body::convert;
use crate::problem::Problem;

/// The fields that a patch may change, as `current` has them, with `patch` applied. Fields that `current`
/// does not know are refused by the type's own `deny_unknown_fields`; `null` sets a field to its default.
/// The body reader has seen to it that the patch is an object.
pub(crate) fn apply<T: Serialize + DeserializeOwned>(current: &T, patch: &Value) -> Result<T, Problem> {
    let mut value = serde_json::to_value(current).map_err(Problem::internal)?;
    merge(&mut value, patch);
    convert(value)
}

/// The recursion is bounded by the depth that the JSON reader allows, 128.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (name, change) in changes {
        if change.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_examples_of_the_standard_hold() {
        for (target, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut merged = target.clone();
            merge(&mut merged, &patch);
            assert_eq!(merged, result, "{target} with {patch}");
        }
    }
}
