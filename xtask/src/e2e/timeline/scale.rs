//! Where a value stands between two ends, and which round values to write beside it.

/// The range of values that an axis shows, from 0 or below up to a round number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    pub(super) low: f64,
    pub(super) high: f64,
    step: f64,
}

impl Scale {
    /// A scale for these values with about `ticks` round numbers on it. It holds 0, so that heights can be compared.
    pub fn new(values: impl IntoIterator<Item = f64>, ticks: u32) -> Self {
        let (low, high) = values
            .into_iter()
            .filter(|value| value.is_finite())
            .fold((0.0_f64, 0.0_f64), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        let range = if high > low { high - low } else { 1.0 };
        let step = round_step(range / f64::from(ticks.max(1)));
        Self {
            low: (low / step).floor() * step,
            high: (high / step).ceil().max((low / step).floor() + 1.0) * step,
            step,
        }
    }

    /// Where a value stands: 0 at the low end, 1 at the high one.
    pub fn share(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }

    /// The round numbers.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few ticks, by construction"
    )]
    pub fn ticks(&self) -> impl Iterator<Item = f64> + use<> {
        let Self { low, high, step } = *self;
        let count = ((high - low) / step).round() as u32;
        (0..=count).map(move |number| low + f64::from(number) * step)
    }

    /// A tick's text, with no more digits than the step needs.
    pub fn label(&self, value: f64) -> String {
        let digits = if self.step >= 1.0 {
            0
        } else if self.step >= 0.1 {
            1
        } else {
            2
        };
        format!("{value:.digits$}")
    }
}

/// The smallest of 1, 2, 5, 10, 20 … (and of their tenths) that is not below `least`.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0];
    let factor = factors
        .into_iter()
        .find(|factor| factor * power >= least * 0.999_999);
    factor.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: &[f64]) -> Vec<String> {
        let scale = Scale::new(values.iter().copied(), 5);
        scale.ticks().map(|tick| scale.label(tick)).collect()
    }

    #[test]
    fn ticks_are_round_and_hold_every_value() {
        assert_eq!(labels(&[3.0, 97.0]), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(labels(&[1.0, 6.0]), ["0", "2", "4", "6"]);
        assert_eq!(
            labels(&[0.1, 0.42]),
            ["0.0", "0.1", "0.2", "0.3", "0.4", "0.5"]
        );
        assert_eq!(labels(&[-5.0, 4.0]), ["-6", "-4", "-2", "0", "2", "4"]);
    }

    #[test]
    fn nothing_and_only_zeros_have_a_scale_too() {
        for values in [&[][..], &[0.0, 0.0], &[f64::NAN]] {
            let scale = Scale::new(values.iter().copied(), 5);
            assert!(scale.high > scale.low, "{scale:?}");
            assert_eq!(scale.share(0.0), 0.0);
        }
    }

    #[test]
    fn a_value_stands_at_its_share() {
        let scale = Scale::new([100.0], 5);
        assert_eq!(scale.share(25.0), 0.25);
    }
}
