//! Label and field selectors, in the forms that the operator and the models use.

use serde_json::Value;

use super::failure::Failure;

/// What a list or watch is limited to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    Equals(String, String),
    Differs(String, String),
    Exists(String),
    Absent(String),
}

impl Selector {
    /// Reads `labelSelector` and `fieldSelector`. Sets (`in`, `notin`) are not among the forms that are used here.
    pub fn parse(labels: &str, fields: &str) -> Result<Self, Failure> {
        let labels = labels
            .split(',')
            .filter(|part| !part.is_empty())
            .map(requirement)
            .collect::<Result<_, _>>()?;
        let fields = fields
            .split(',')
            .filter(|part| !part.is_empty())
            .map(|part| {
                part.split_once('=')
                    .map(|(path, value)| (path.to_owned(), value.to_owned()))
                    .ok_or_else(|| unreadable(part))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { labels, fields })
    }

    /// Whether it selects every object.
    pub fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether it asks for the one object with a name.
    pub fn is_by_name(&self) -> bool {
        self.fields.iter().any(|(path, _)| path == "metadata.name")
    }

    /// Whether an object is among those selected.
    pub fn selects(&self, object: &Value) -> bool {
        self.labels
            .iter()
            .all(|requirement| requirement.holds(object))
            && self.fields.iter().all(|(path, value)| {
                let pointer = format!("/{}", path.replace('.', "/"));
                object
                    .pointer(&pointer)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    == value
            })
    }
}

fn requirement(part: &str) -> Result<Requirement, Failure> {
    if part.contains(" in ") || part.contains(" notin ") || part.contains('(') {
        return Err(unreadable(part));
    }
    if let Some(key) = part.strip_prefix('!') {
        return Ok(Requirement::Absent(key.to_owned()));
    }
    if let Some((key, value)) = part.split_once("!=") {
        return Ok(Requirement::Differs(key.to_owned(), value.to_owned()));
    }
    Ok(match part.split_once('=') {
        Some((key, value)) => {
            Requirement::Equals(key.to_owned(), value.trim_start_matches('=').to_owned())
        }
        None => Requirement::Exists(part.to_owned()),
    })
}

fn unreadable(part: &str) -> Failure {
    Failure::bad_request(&format!(
        "the simulation does not know the selector {part:?}"
    ))
}

impl Requirement {
    fn holds(&self, object: &Value) -> bool {
        let label = |key: &str| object.get("metadata")?.get("labels")?.get(key)?.as_str();
        match self {
            Self::Equals(key, value) => label(key) == Some(value),
            Self::Differs(key, value) => label(key) != Some(value),
            Self::Exists(key) => label(key).is_some(),
            Self::Absent(key) => label(key).is_none(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panic")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_part_must_hold() {
        let object =
            json!({"metadata": {"name": "a", "labels": {"app": "shop"}}, "reason": "Failed"});
        let selects =
            |labels: &str, fields: &str| Selector::parse(labels, fields).unwrap().selects(&object);
        assert!(selects("", ""));
        assert!(selects(
            "app=shop,!tier,app",
            "metadata.name=a,reason=Failed"
        ));
        assert!(!selects("app=other", ""));
        assert!(!selects("app!=shop", ""));
        assert!(!selects("tier", ""));
        assert!(!selects("", "reason=Other"));
        assert!(Selector::parse("app in (a,b)", "").is_err());
    }
}
