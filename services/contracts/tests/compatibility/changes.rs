//! What is different between a released schema and today's, and breaks somebody.

use std::collections::BTreeSet;

use serde_json::Value;

/// Keywords that may not change at all.
const FIXED: [&str; 4] = ["type", "format", "pattern", "uniqueItems"];
/// Limits above which nothing may be; they may only grow.
const UPPER: [&str; 3] = ["maxLength", "maxItems", "maximum"];
/// Limits below which nothing may be; they may only shrink.
const LOWER: [&str; 3] = ["minLength", "minItems", "minimum"];

/// Every breaking change, with its field.
pub fn breaking(name: &str, released: &Value, today: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let roots = Roots { released, today };
    roots.compare(name, released, today, &mut found);
    found
}

struct Roots<'a> {
    released: &'a Value,
    today: &'a Value,
}

impl Roots<'_> {
    fn compare(&self, path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
        let (old, new) = (resolved(self.released, old), resolved(self.today, new));
        for keyword in FIXED {
            if old.get(keyword) != new.get(keyword) {
                found.push(format!(
                    "{path}: {keyword} was {} and is {}",
                    shown(old.get(keyword)),
                    shown(new.get(keyword))
                ));
            }
        }
        for (keywords, is_narrower) in [
            (UPPER, (|old, new| new < old) as fn(f64, f64) -> bool),
            (LOWER, |old, new| new > old),
        ] {
            for keyword in keywords {
                let (was, is) = (old.get(keyword), new.get(keyword));
                let narrower = match (was.and_then(Value::as_f64), is.and_then(Value::as_f64)) {
                    (Some(was), Some(is)) => is_narrower(was, is),
                    (None, Some(_)) => true,
                    _ => false,
                };
                if narrower {
                    found.push(format!(
                        "{path}: {keyword} was {} and is {}",
                        shown(was),
                        shown(is)
                    ));
                }
            }
        }
        self.compare_values(path, old, new, found);
        self.compare_fields(path, old, new, found);
        if let (Some(old), Some(new)) = (old.get("items"), new.get("items")) {
            self.compare(&format!("{path}[]"), old, new, found);
        }
    }

    fn compare_values(&self, path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
        let (was, is) = (values(old), values(new));
        for value in was.difference(&is) {
            found.push(format!("{path}: the value {value} is gone"));
        }
        for value in is.difference(&was) {
            found.push(format!(
                "{path}: {value} is new, and who has the old type refuses it"
            ));
        }
    }

    fn compare_fields(&self, path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
        let (was, is) = (required(old), required(new));
        let (Some(old), Some(new)) = (
            old.get("properties").and_then(Value::as_object),
            new.get("properties").and_then(Value::as_object),
        ) else {
            return;
        };
        for (field, old) in old {
            let path = format!("{path}.{field}");
            match new.get(field) {
                Some(new) => self.compare(&path, old, new, found),
                None => found.push(format!("{path} is gone")),
            }
            if was.contains(field) && !is.contains(field) && new.contains_key(field) {
                found.push(format!("{path} may be left out now"));
            }
        }
        for field in is.difference(&was) {
            found.push(format!("{path}.{field} is required now"));
        }
    }
}

fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let reference = schema.get("$ref").and_then(Value::as_str);
    reference
        .and_then(|reference| root.pointer(reference.trim_start_matches('#')))
        .unwrap_or(schema)
}

/// The values of an enumeration.
fn values(schema: &Value) -> BTreeSet<String> {
    let listed = schema
        .get("enum")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let described = schema
        .get("oneOf")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let described = described.filter_map(|choice| choice.get("const"));
    listed
        .chain(described)
        .chain(schema.get("const"))
        .map(ToString::to_string)
        .collect()
}

fn required(schema: &Value) -> BTreeSet<String> {
    let names = schema.get("required").and_then(Value::as_array);
    let names = names.into_iter().flatten().filter_map(Value::as_str);
    names.map(str::to_owned).collect()
}

fn shown(value: Option<&Value>) -> String {
    value.map_or("nothing".to_owned(), ToString::to_string)
}

/// Paths of what is in `old` and not the same in `new`.
pub fn lost(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(String::new(), old, Some(new), &mut found);
    found
}

fn compare(path: String, old: &Value, new: Option<&Value>, found: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(old), Some(Value::Object(new))) => {
            for (name, value) in old {
                compare(format!("{path}.{name}"), value, new.get(name), found);
            }
        }
        (old, Some(new)) if old == new => {}
        _ => found.push(path),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A change, and what is told of it.
    type Change = (fn(&mut Value), &'static str);

    fn released() -> Value {
        json!({
            "type": "object",
            "required": ["id", "due"],
            "properties": {
                "id": {"type": "string", "format": "uuid"},
                "title": {"type": "string", "maxLength": 500},
                "due": {"$ref": "#/$defs/Due"},
                "tags": {"type": "array", "items": {"$ref": "#/$defs/Tag"}},
            },
            "$defs": {
                "Due": {"type": "object", "properties": {"zone": {"type": "string"}}},
                "Tag": {"oneOf": [{"const": "a"}, {"const": "b"}]},
            },
        })
    }

    fn after(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut today = released();
        change(&mut today);
        breaking("t", &released(), &today)
    }

    fn without(value: &mut Value, field: &str) {
        value.as_object_mut().unwrap().remove(field);
    }

    #[test]
    fn what_only_grows_breaks_nobody() {
        let problems = after(|today| {
            today["properties"]["new"] = json!({"type": "integer"});
            today["properties"]["title"]["maxLength"] = json!(600);
            today["$defs"]["Due"]["properties"]["note"] = json!({"type": "string"});
            today["description"] = json!("other words");
        });
        assert_eq!(problems, [] as [&str; 0]);
    }

    #[test]
    fn each_breaking_change_is_told_with_its_field() {
        let changes: [Change; 9] = [
            (
                |t| without(&mut t["properties"], "title"),
                "t.title is gone",
            ),
            (
                |t| without(&mut t["$defs"]["Due"]["properties"], "zone"),
                "t.due.zone is gone",
            ),
            (
                |t| t["properties"]["id"]["type"] = json!("integer"),
                "t.id: type was \"string\" and is \"integer\"",
            ),
            (
                |t| t["properties"]["title"]["maxLength"] = json!(499),
                "t.title: maxLength was 500 and is 499",
            ),
            (
                |t| t["properties"]["title"]["minLength"] = json!(1),
                "t.title: minLength was nothing and is 1",
            ),
            (
                |t| t["required"] = json!(["id", "due", "title"]),
                "t.title is required now",
            ),
            (
                |t| t["required"] = json!(["id"]),
                "t.due may be left out now",
            ),
            (
                |t| t["$defs"]["Tag"]["oneOf"] = json!([{"const": "a"}]),
                "t.tags[]: the value \"b\" is gone",
            ),
            (
                |t| t["$defs"]["Tag"]["oneOf"][1] = json!({"const": "c"}),
                "t.tags[]: \"c\" is new, and who has the old type refuses it",
            ),
        ];
        for (change, expected) in changes {
            let problems = after(change);
            assert!(
                problems.iter().any(|problem| problem == expected),
                "{expected}: {problems:?}"
            );
        }
    }

    #[test]
    fn a_field_that_is_read_and_not_written_is_lost() {
        let old = json!({"a": 1, "b": {"c": [1, 2]}});
        assert_eq!(
            lost(&old, &json!({"a": 1, "b": {"c": [1, 2]}, "d": 0})),
            [] as [&str; 0]
        );
        assert_eq!(lost(&old, &json!({"a": 2, "b": {}})), [".a", ".b.c"]);
    }
}
