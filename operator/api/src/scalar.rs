//! Scalars that Kubernetes writes as strings: durations and quantities.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A duration such as `500ms`, `30s`, `5m`, `1h30m` or `7d`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Duration(pub String);

impl Duration {
    /// Length in milliseconds, or `None` where the text is no duration.
    pub fn as_millis(&self) -> Option<u64> {
        let mut rest = self.0.as_str();
        let mut total: u64 = 0;
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let amount: u64 = rest.get(..digits)?.parse().ok()?;
            rest = rest.get(digits..)?;
            let unit_end = rest
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(rest.len());
            let factor = match rest.get(..unit_end)? {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return None,
            };
            rest = rest.get(unit_end..)?;
            total = total.checked_add(amount.checked_mul(factor)?)?;
        }
        Some(total)
    }

    /// Length in whole seconds, rounded up, or `None` where the text is no duration.
    pub fn as_secs(&self) -> Option<u64> {
        self.as_millis().map(|ms| ms.div_ceil(1_000))
    }
}

impl From<&str> for Duration {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 32,
            "pattern": "^([0-9]+(ms|s|m|h|d))+$",
        })
    }
}

/// A Kubernetes quantity such as `100m`, `1`, `0.5` or `128Mi`; a bare integer is accepted too.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Quantity {
    /// A bare integer.
    Int(i64),
    /// Text with an optional suffix.
    Text(String),
}

impl Quantity {
    /// The quantity in thousandths of its unit, or `None` where it is no quantity
    /// (grammar: <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>).
    pub fn as_millis(&self) -> Option<i128> {
        let text = match self {
            Self::Int(n) => return Some(i128::from(*n) * 1_000),
            Self::Text(text) => text.as_str(),
        };
        let end = text
            .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-')))
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.len() > 9 || (whole.is_empty() && fraction.is_empty()) {
            return None;
        }
        let negative = whole.starts_with('-');
        let whole: i128 = match whole {
            "" | "+" | "-" => 0,
            digits => digits.parse().ok()?,
        };
        let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
        let fraction: i128 = if fraction.is_empty() {
            0
        } else {
            fraction.parse().ok()?
        };
        let signed = if negative { -fraction } else { fraction };
        let mantissa = whole.checked_mul(scale)?.checked_add(signed)?;
        // (factor, divisor) of one unit in thousandths.
        let (factor, divisor): (i128, i128) = match suffix {
            "n" => (1, 1_000_000),
            "u" => (1, 1_000),
            "m" => (1, 1),
            "" => (1_000, 1),
            "k" => (1_000_000, 1),
            "M" => (1_000_000_000, 1),
            "G" => (1_000_000_000_000, 1),
            "T" => (1_000_000_000_000_000, 1),
            "P" => (1_000_000_000_000_000_000, 1),
            "Ki" => (1_000 << 10, 1),
            "Mi" => (1_000 << 20, 1),
            "Gi" => (1_000 << 30, 1),
            "Ti" => (1_000 << 40, 1),
            "Pi" => (1_000_i128 << 50, 1),
            _ => return None,
        };
        let product = mantissa.checked_mul(factor)?;
        let divisor = divisor * scale;
        Some((product + divisor - 1).div_euclid(divisor))
    }
}

impl From<&str> for Quantity {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(n) => write!(f, "{n}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quantity".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "maxLength": 32,
            "pattern": "^[+-]?([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(n|u|m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_add_their_parts() {
        assert_eq!(Duration::from("1h30m").as_secs(), Some(5_400));
        assert_eq!(Duration::from("500ms").as_millis(), Some(500));
        assert_eq!(Duration::from("500ms").as_secs(), Some(1));
        assert_eq!(Duration::from("7d").as_secs(), Some(604_800));
    }

    #[test]
    fn what_is_no_duration_is_none() {
        for text in ["", "5", "m", "5 m", "5x", "-5m", "99999999999999999999s"] {
            assert_eq!(Duration::from(text).as_millis(), None, "{text}");
        }
    }

    #[test]
    fn quantities_compare_across_suffixes() {
        let millis = |text: &str| Quantity::from(text).as_millis();
        assert_eq!(millis("0.5"), millis("500m"));
        assert_eq!(millis("1Gi"), millis("1024Mi"));
        assert_eq!(millis("1.5k"), millis("1500"));
        assert_eq!(millis(".5"), Some(500));
        assert_eq!(millis("100n"), Some(1), "rounded up, as Kubernetes does");
        assert_eq!(Quantity::Int(2).as_millis(), Some(2_000));
        for text in ["", "Mi", "1X", "1.2.3"] {
            assert_eq!(millis(text), None, "{text}");
        }
    }
}
