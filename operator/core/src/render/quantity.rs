//! The canonical form of Kubernetes quantities, as the API server stores them.

use std::collections::BTreeMap;

use serde_json::Value;
use todo_operator_api::scalar::Quantity;

/// The canonical form: the largest suffix that leaves a whole number, binary suffixes for what was written with one
/// (`1024Mi` is `1Gi`, `0.5` is `500m`, `1000m` is `1`). Text that is no quantity is left as it is.
///
/// Binary quantities below 1024, or with a fraction, are written in decimal, as Kubernetes does
/// (`k8s.io/apimachinery/pkg/api/resource`, `Quantity.CanonicalizeBytes`).
pub(crate) fn canonical(quantity: &Quantity) -> String {
    let text = quantity.to_string();
    let Some(millis) = quantity.as_millis() else {
        return text;
    };
    let whole = millis % 1_000 == 0;
    if text.ends_with('i') && whole && (millis / 1_000).abs() >= 1_024 {
        scaled(
            millis / 1_000,
            1_024,
            &["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"],
        )
    } else {
        scaled(millis, 1_000, &["m", "", "k", "M", "G", "T", "P", "E"])
    }
}

fn scaled(mut amount: i128, base: i128, suffixes: &[&str]) -> String {
    if amount == 0 {
        return "0".to_owned();
    }
    let mut suffix = "";
    for (index, candidate) in suffixes.iter().enumerate() {
        suffix = candidate;
        if index + 1 == suffixes.len() || amount % base != 0 {
            break;
        }
        amount /= base;
    }
    format!("{amount}{suffix}")
}

/// A map of quantities in canonical form.
pub(crate) fn map(quantities: &BTreeMap<String, Quantity>) -> Value {
    quantities
        .iter()
        .map(|(name, quantity)| (name.clone(), Value::from(canonical(quantity))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Requests and limits of a container.
pub(crate) fn resources(resources: Option<&todo_operator_api::component::Resources>) -> Value {
    resources.map_or(Value::Null, |resources| {
        serde_json::json!({"requests": map(&resources.requests), "limits": map(&resources.limits)})
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_as_kubernetes_stores_them() {
        for (written, stored) in [
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Ki", "512"),
            ("1000", "1k"),
            ("1024", "1024"),
            ("1000Mi", "1000Mi"),
            ("129M", "129M"),
            ("1000k", "1M"),
            ("0", "0"),
            ("0Mi", "0"),
            ("100u", "1m"),
            (".1", "100m"),
        ] {
            assert_eq!(canonical(&Quantity::from(written)), stored, "{written}");
        }
        assert_eq!(canonical(&Quantity::Int(2)), "2");
        assert_eq!(canonical(&Quantity::from("none")), "none");
    }
}
