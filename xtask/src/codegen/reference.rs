//! One page of Markdown per custom resource, from its schema: every field, its limits, and the rules on it.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

/// The page of a custom resource, without the mark of a generated file.
pub(super) fn page(definition: &CustomResourceDefinition) -> Result<String> {
    let names = &definition.spec.names;
    let version = definition
        .spec
        .versions
        .first()
        .with_context(|| format!("{} serves no version", names.kind))?;
    let schema = version
        .schema
        .as_ref()
        .and_then(|validation| validation.open_api_v3_schema.as_ref())
        .with_context(|| format!("{} has no schema", names.kind))?;
    let schema = serde_json::to_value(schema)
        .with_context(|| format!("cannot read the schema of {}", names.kind))?;

    let mut text = format!("# {}\n\n{}\n\n", names.kind, description(&schema));
    let short_names = names.short_names.clone().unwrap_or_default().join(", ");
    let _ = writeln!(
        text,
        "`{}/{}`, {}, short name `{short_names}`.\n",
        definition.spec.group,
        version.name,
        match definition.spec.scope.as_str() {
            "Namespaced" => "in a namespace",
            _ => "of the whole cluster",
        },
    );
    text.push_str(&rules(&schema));
    for (name, property) in properties(&schema) {
        section(&mut text, name, property, 2);
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    Ok(text)
}

/// An object's table of fields and its rules, then the same for every object inside.
fn section(text: &mut String, path: &str, schema: &Value, level: usize) {
    let _ = writeln!(text, "{} {path}\n", "#".repeat(level));
    let about = description(schema);
    if !about.is_empty() {
        let _ = writeln!(text, "{about}\n");
    }
    text.push_str("| Field | Type | Default | Limits | Description |\n|---|---|---|---|---|\n");
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (name, property) in properties(schema) {
        let mut limits = limits(property);
        if required.contains(&name) {
            limits.insert(0, "required".to_owned());
        }
        let default = match &property["default"] {
            Value::Null => String::new(),
            Value::String(value) => format!("`{value}`"),
            value => format!("`{value}`"),
        };
        let _ = writeln!(
            text,
            "| `{name}` | {} | {default} | {} | {} |",
            type_of(property, &format!("{path}.{name}")),
            cell(&limits.join("; ")),
            cell(&description(property)),
        );
    }
    text.push('\n');
    text.push_str(&rules(schema));
    for (name, property) in properties(schema) {
        if let Some((nested, path)) = object_in(property, &format!("{path}.{name}")) {
            section(text, &path, nested, (level + 1).min(4));
        }
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&str, &Value)> {
    schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, property)| (name.as_str(), property))
}

fn description(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or("").to_owned()
}

/// The object that a property is, or holds as a list or a map, with the path that its section is headed by.
fn object_in<'a>(property: &'a Value, path: &str) -> Option<(&'a Value, String)> {
    if property["properties"].is_object() {
        Some((property, path.to_owned()))
    } else if property["items"].is_object() {
        object_in(&property["items"], &format!("{path}[]"))
    } else if property["additionalProperties"].is_object() {
        object_in(&property["additionalProperties"], &format!("{path}.NAME"))
    } else {
        None
    }
}

/// The type in words, with a link where the object has a section of its own.
fn type_of(property: &Value, path: &str) -> String {
    if property["items"].is_object() {
        return format!(
            "list of {}",
            type_of(&property["items"], &format!("{path}[]"))
        );
    }
    if property["additionalProperties"].is_object() {
        let value = type_of(&property["additionalProperties"], &format!("{path}.NAME"));
        return format!("map of {value}");
    }
    if property["properties"].is_object() {
        return format!("[object](#{})", anchor(path));
    }
    if property["x-kubernetes-int-or-string"] == true {
        return "integer or string".to_owned();
    }
    match (property["type"].as_str(), property["format"].as_str()) {
        (Some("string"), Some("date-time")) => "time".to_owned(),
        (Some(name), _) => name.to_owned(),
        (None, _) => "any".to_owned(),
    }
}

/// The anchor that Markdown renderers give to the heading of a path.
fn anchor(path: &str) -> String {
    path.chars()
        .filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_')
        .flat_map(char::to_lowercase)
        .collect()
}

/// What the API server checks of a value; for a list also what it checks of each item.
fn limits(property: &Value) -> Vec<String> {
    let mut limits = Vec::new();
    if let Some(values) = property["enum"].as_array() {
        let values: Vec<String> = values
            .iter()
            .filter_map(Value::as_str)
            .map(|value| format!("`{value}`"))
            .collect();
        limits.push(values.join(", "));
    }
    for (least, most, unit) in [
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
        ("minProperties", "maxProperties", " entries"),
    ] {
        match (whole(&property[least]), whole(&property[most])) {
            (Some(least), Some(most)) if least == most => limits.push(format!("{least}{unit}")),
            (Some(least), Some(most)) => limits.push(format!("{least}–{most}{unit}")),
            (Some(least), None) => limits.push(format!("≥ {least}{unit}")),
            (None, Some(most)) => limits.push(format!("≤ {most}{unit}")),
            (None, None) => {}
        }
    }
    if let Some(pattern) = property["pattern"].as_str() {
        limits.push(format!("`{pattern}`"));
    }
    let inner = match &property["items"] {
        Value::Object(_) => &property["items"],
        _ => &property["additionalProperties"],
    };
    if inner.is_object() && !inner["properties"].is_object() {
        let inner = self::limits(inner);
        if !inner.is_empty() {
            limits.push(format!("each {}", inner.join(", ")));
        }
    }
    limits
}

/// Schemas write whole numbers as `1.0`.
fn whole(number: &Value) -> Option<String> {
    number.as_f64().map(|number| number.to_string())
}

/// The CEL rules on an object and on those of its fields that are no objects themselves.
fn rules(schema: &Value) -> String {
    let mut lines = String::new();
    let fields = properties(schema)
        .filter(|(_, property)| !property["properties"].is_object())
        .map(|(name, property)| (format!(".{name}"), property));
    for (field, holder) in std::iter::once((String::new(), schema)).chain(fields) {
        for rule in holder["x-kubernetes-validations"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let field = rule["fieldPath"].as_str().unwrap_or(&field);
            let at = match field {
                "" => String::new(),
                field => format!("`{}`: ", field.trim_start_matches('.')),
            };
            let _ = writeln!(
                lines,
                "- {at}{}  \n  `{}`",
                prose(rule["message"].as_str().unwrap_or("(no message)")),
                rule["rule"].as_str().unwrap_or("")
            );
        }
    }
    if lines.is_empty() {
        return lines;
    }
    format!("Rules:\n\n{lines}\n")
}

/// Text in which `<app>` is no HTML element.
fn prose(text: &str) -> String {
    text.replace('<', "&lt;")
}

/// Text that stays inside one cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    fn sample() -> String {
        let schema = json!({
            "description": "A thing.",
            "required": ["parts"],
            "properties": {
                "size": {"type": "integer", "minimum": 1.0, "maximum": 9.0, "default": 3, "description": "How big.\nOr small."},
                "mode": {"type": "string", "enum": ["a", "b"], "pattern": "^a|b$"},
                "names": {"type": "array", "maxItems": 4, "items": {"type": "string", "minLength": 2, "maxLength": 2},
                          "x-kubernetes-validations": [{"rule": "self.isSorted()", "message": "names must rise"}]},
                "parts": {"type": "object", "additionalProperties": {
                    "type": "object",
                    "properties": {"weight": {"x-kubernetes-int-or-string": true}},
                    "x-kubernetes-validations": [{"rule": "has(self.weight)", "message": "weigh it", "fieldPath": ".weight"}],
                }},
            },
        });
        let mut text = String::new();
        section(&mut text, "spec", &schema, 2);
        text
    }

    #[test]
    fn a_field_shows_type_default_limits_and_description() {
        let text = sample();
        assert!(
            text.contains("| `size` | integer | `3` | 1–9 | How big. Or small. |\n"),
            "{text}"
        );
        assert!(
            text.contains("| `mode` | string |  | `a`, `b`; `^a\\|b$` |  |\n"),
            "{text}"
        );
        assert!(
            text.contains("| `names` | list of string |  | ≤ 4 items; each 2 characters |  |\n"),
            "{text}"
        );
    }

    #[test]
    fn an_object_in_a_map_has_a_linked_section_of_its_own() {
        let text = sample();
        assert!(
            text.contains("| `parts` | map of [object](#specpartsname) |  | required |  |\n"),
            "{text}"
        );
        assert!(text.contains("### spec.parts.NAME\n\n| Field |"), "{text}");
        assert!(text.contains("| `weight` | integer or string |"), "{text}");
    }

    #[test]
    fn rules_stand_with_their_message_where_they_apply() {
        let text = sample();
        let names = text
            .find("- `names`: names must rise  \n  `self.isSorted()`\n")
            .unwrap();
        let nested = text.find("### spec.parts.NAME").unwrap();
        let weight = text
            .find("- `weight`: weigh it  \n  `has(self.weight)`\n")
            .unwrap();
        assert!(names < nested && nested < weight, "{text}");
    }

    #[test]
    fn every_link_of_every_page_has_its_heading_and_no_two_headings_share_an_anchor() {
        for definition in super::super::custom_resources::definitions() {
            let text = page(&definition).unwrap();
            let mut anchors = BTreeSet::new();
            for heading in text.lines().filter(|line| line.starts_with("##")) {
                let anchor = anchor(heading.trim_start_matches('#').trim());
                assert!(anchors.insert(anchor), "twice: {heading}");
            }
            for link in text.split("](#").skip(1) {
                let link = link.split(')').next().unwrap();
                assert!(anchors.contains(link), "no heading for #{link}");
            }
        }
    }

    #[test]
    fn every_rule_of_every_kind_stands_on_its_page() {
        fn messages(schema: &Value, found: &mut Vec<String>) {
            if let Some(fields) = schema.as_object() {
                for rule in schema["x-kubernetes-validations"]
                    .as_array()
                    .into_iter()
                    .flatten()
                {
                    found.push(rule["message"].as_str().unwrap().to_owned());
                }
                fields.values().for_each(|field| messages(field, found));
            }
        }
        for definition in super::super::custom_resources::definitions() {
            let text = page(&definition).unwrap();
            let mut wanted = Vec::new();
            messages(
                &serde_json::to_value(&definition.spec.versions[0].schema).unwrap(),
                &mut wanted,
            );
            for message in wanted {
                assert!(text.contains(&prose(&message)), "{message}");
            }
        }
    }

    #[test]
    fn every_field_of_every_kind_is_described() {
        for definition in super::super::custom_resources::definitions() {
            let text = page(&definition).unwrap();
            for row in text.lines().filter(|line| line.starts_with("| `")) {
                assert!(
                    !row.ends_with("|  |"),
                    "{}: {row}",
                    definition.spec.names.kind
                );
            }
        }
    }
}
