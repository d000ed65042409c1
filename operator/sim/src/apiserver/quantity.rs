//! Quantities in their canonical form (`k8s.io/apimachinery`, `pkg/api/resource/quantity.go`).

use serde_json::Value;

const NANO: i128 = 1_000_000_000;
const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Decimal,
    Exponent,
    Binary,
}

/// Brings a quantity into its canonical form; what is none stays as it is.
pub fn canonicalize(value: &mut Value) {
    let canonical = match value {
        Value::String(text) => canonical(text),
        Value::Number(number) => canonical(&number.to_string()),
        _ => None,
    };
    if let Some(canonical) = canonical {
        *value = Value::from(canonical);
    }
}

fn canonical(text: &str) -> Option<String> {
    let (nanos, format) = parse(text)?;
    if nanos == 0 {
        return Some("0".to_owned());
    }
    let is_whole = nanos % NANO == 0;
    Some(match format {
        Format::Binary if is_whole && nanos.abs() >= 1024 * NANO => binary(nanos / NANO),
        Format::Exponent => decimal(nanos, true),
        Format::Binary | Format::Decimal => decimal(nanos, false),
    })
}

fn parse(text: &str) -> Option<(i128, Format)> {
    let digits = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '+' | '-' | '.')))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let places = i32::try_from(fraction.len()).ok()?;
    let scaled = |exponent: i32| {
        let shift = exponent - places + 9;
        match u32::try_from(shift) {
            Ok(shift) => mantissa.checked_mul(10_i128.checked_pow(shift)?),
            // Beyond nano, quantities are rounded up.
            Err(_) => Some(round_up(
                mantissa,
                10_i128.checked_pow(shift.unsigned_abs())?,
            )),
        }
    };
    if let Some(position) = BINARY.iter().skip(1).position(|known| *known == suffix) {
        let factor = 1024_i128.checked_pow(u32::try_from(position).ok()? + 1)?;
        let nanos = mantissa.checked_mul(factor)?.checked_mul(NANO)?;
        let divisor = 10_i128.checked_pow(u32::try_from(places).ok()?)?;
        return Some((round_up(nanos, divisor), Format::Binary));
    }
    if let Some((_, exponent)) = DECIMAL.iter().find(|(known, _)| *known == suffix) {
        return Some((scaled(*exponent)?, Format::Decimal));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    Some((scaled(exponent)?, Format::Exponent))
}

fn round_up(value: i128, divisor: i128) -> i128 {
    let quotient = value / divisor;
    match value % divisor {
        0 => quotient,
        rest => quotient + rest.signum(),
    }
}

fn binary(mut value: i128) -> String {
    let mut suffix = 0;
    while value % 1024 == 0 && suffix + 1 < BINARY.len() {
        value /= 1024;
        suffix += 1;
    }
    format!("{value}{}", BINARY[suffix])
}

fn decimal(mut nanos: i128, exponent: bool) -> String {
    let mut suffix = 0;
    while nanos % 1000 == 0 && suffix + 1 < DECIMAL.len() {
        nanos /= 1000;
        suffix += 1;
    }
    match DECIMAL[suffix] {
        (_, 0) => nanos.to_string(),
        (_, power) if exponent => format!("{nanos}e{power}"),
        (suffix, _) => format!("{nanos}{suffix}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_as_the_server_writes_them() {
        for (given, written) in [
            ("0", "0"),
            ("0Mi", "0"),
            ("100m", "100m"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("0.5", "500m"),
            ("1.5Gi", "1536Mi"),
            ("1024Mi", "1Gi"),
            ("512Mi", "512Mi"),
            ("1Ki", "1Ki"),
            ("0.5Ki", "512"),
            ("1000", "1k"),
            ("1e3", "1e3"),
            ("-250m", "-250m"),
            ("much", "much"),
        ] {
            let mut value = Value::from(given);
            canonicalize(&mut value);
            assert_eq!(value, written, "{given}");
        }
        let mut value = Value::from(2);
        canonicalize(&mut value);
        assert_eq!(value, "2");
    }
}
