//! Printing of answers: JSON as it came, or lines for people.

use serde_json::{Map, Value};

use super::inspection;
use super::request::Request;

/// What a person looks for first, in this order; the rest follows by name.
const FIRST: [&str; 7] = ["id", "name", "hostname", "names", "status", "next_action", "secret"];

/// Prints an answer to standard output.
pub(super) fn print(answer: &Value, request: &Request, json: bool) {
    if json {
        println!("{answer:#}");
    } else if let Some(rows) = answer.get("data").and_then(Value::as_array) {
        print!("{}", table(rows, &request.columns));
    } else if let Some(text) = inspection::text(answer) {
        print!("{text}");
    } else {
        print!("{}", fields(answer, 0));
    }
}

fn table(rows: &[Value], columns: &[&str]) -> String {
    if rows.is_empty() {
        return "(none)\n".to_owned();
    }
    let cell = |row: &Value, column: &str| row.get(column).map_or_else(String::new, plain);
    let heads: Vec<String> = columns.iter().map(|column| column.to_uppercase()).collect();
    let body: Vec<Vec<String>> =
        rows.iter().map(|row| columns.iter().map(|column| cell(row, column)).collect()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(heads).chain(body).collect();
    let width =
        |at: usize| lines.iter().filter_map(|line| line.get(at)).map(|text| text.chars().count()).max();
    let widths: Vec<usize> = (0..columns.len()).map(|at| width(at).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// `name: value` a line, what lies deeper indented.
fn fields(value: &Value, depth: usize) -> String {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(object) => first_things_first(object)
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| match value {
                Value::Object(_) => format!("{indent}{name}:\n{}", fields(value, depth + 1)),
                Value::Array(items) if items.iter().any(Value::is_object) => {
                    let items: String = items
                        .iter()
                        .map(|item| format!("{indent}  -\n{}", fields(item, depth + 2)))
                        .collect();
                    format!("{indent}{name}:\n{items}")
                }
                _ => format!("{indent}{name}: {}\n", plain(value)),
            })
            .collect(),
        _ => format!("{indent}{}\n", plain(value)),
    }
}

fn first_things_first(object: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut members: Vec<_> = object.iter().collect();
    let rank = |name: &str| FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len());
    members.sort_by_key(|(name, _)| rank(name));
    members
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_a_table_with_aligned_columns() {
        let rows = [json!({"id": "t_1", "name": "Ann"}), json!({"id": "t_22", "name": null})];
        assert_eq!(table(&rows, &["id", "name"]), "ID    NAME\nt_1   Ann\nt_22\n");
    }

    #[test]
    fn one_thing_is_a_line_a_field() {
        let thing = json!({"id": "a_1", "next": {"who": "you"}, "none": null});
        assert_eq!(fields(&thing, 0), "id: a_1\nnext:\n  who: you\n");
    }

    #[test]
    fn what_is_the_matter_stands_before_the_details() {
        let thing = json!({"checks": 3, "hostname": "a.test", "next_action": "wait", "status": "pending"});
        assert_eq!(fields(&thing, 0), "hostname: a.test\nstatus: pending\nnext_action: wait\nchecks: 3\n");
    }
}
