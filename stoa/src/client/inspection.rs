//! A look at a domain, for people: what it has, what would change, what becomes of e-mail.

use std::fmt::Write as _;

use serde_json::Value;

/// The text; none: the answer is something else.
pub(super) fn text(answer: &Value) -> Option<String> {
    let records = answer.get("records")?.as_array()?;
    answer.get("changes")?.as_array()?;
    let word = |name: &str| answer.get(name).and_then(Value::as_str);
    let mut text = format!("{}\n", word("hostname")?);
    let keeper = word("provider").map(str::to_owned).or_else(|| servers(answer));
    if let Some(keeper) = keeper {
        let zone = word("zone").unwrap_or_default();
        let _ = writeln!(text, "The records of {zone} are kept at {keeper}.");
    }
    if let Some(why) = word("text") {
        let _ = writeln!(text, "{why}");
    }
    text.push_str("\nToday\n");
    text.push_str(&lines(records, "  "));
    for kind in answer.get("unanswered").and_then(Value::as_array).into_iter().flatten() {
        let _ = writeln!(text, "  {}: could not be found out", kind.as_str().unwrap_or_default());
    }
    text.push_str(&fates(answer));
    let _ = write!(text, "\n{}\n", word("email").unwrap_or_default());
    Some(text)
}

/// What becomes of each record of `changes`.
pub(super) fn fates(answer: &Value) -> String {
    let changes = answer.get("changes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut text = String::new();
    for (fate, head) in [("remove", "To remove"), ("add", "To add"), ("keep", "Stays as it is")] {
        let of: Vec<Value> = changes
            .iter()
            .filter(|change| change.get("change").is_some_and(|is| is == fate))
            .cloned()
            .collect();
        if !of.is_empty() {
            let _ = write!(text, "\n{head}\n{}", lines(&of, "  "));
        }
    }
    text
}

fn servers(answer: &Value) -> Option<String> {
    let names: Vec<&str> = answer.get("name_servers")?.as_array()?.iter().filter_map(Value::as_str).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn lines(records: &[Value], indent: &str) -> String {
    if records.is_empty() {
        return format!("{indent}(no records)\n");
    }
    let field = |record: &Value, name: &str| record.get(name).and_then(Value::as_str).map(str::to_owned);
    let mut text = String::new();
    for record in records {
        let value = field(record, "value").unwrap_or_else(|| "(told when you add the domain)".to_owned());
        let (kind, name) = (field(record, "type"), field(record, "name"));
        let _ =
            writeln!(text, "{indent}{:<5}  {}  {value}", kind.unwrap_or_default(), name.unwrap_or_default());
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_look_is_told_in_the_order_in_which_it_is_acted_on() {
        let record = json!({"type": "A", "name": "shop.example.com", "value": "192.0.2.1"});
        let answer = json!({
            "hostname": "shop.example.com", "zone": "example.com", "provider": "Gandi", "name_servers": [],
            "text": null, "records": [record], "unanswered": ["MX"],
            "changes": [
                {"change": "remove", "type": "A", "name": "shop.example.com", "value": "192.0.2.1"},
                {"change": "add", "type": "CNAME", "name": "shop.example.com", "value": null},
            ],
            "email": "Your e-mail stays as it is.",
        });
        assert_eq!(
            text(&answer).unwrap(),
            "shop.example.com\nThe records of example.com are kept at Gandi.\n\nToday\n  A      shop.example.com  \
             192.0.2.1\n  MX: could not be found out\n\nTo remove\n  A      shop.example.com  192.0.2.1\n\nTo add\n  \
             CNAME  shop.example.com  (told when you add the domain)\n\nYour e-mail stays as it is.\n"
        );
        assert_eq!(text(&json!({"records": [], "id": "dom_1"})), None);
    }
}
