//! The words of a text.

use std::ops::Range;

/// A word: what stands between spaces.
#[derive(Clone, Debug)]
pub(crate) struct Word<'a> {
    /// Where it is.
    pub(crate) range: Range<usize>,
    /// As it was typed.
    pub(crate) text: &'a str,
    /// In small letters, and without what ends a sentence.
    pub(crate) low: String,
}

impl Word<'_> {
    /// As it was typed, without what ends a sentence.
    pub(crate) fn plain(&self) -> &str {
        plain(self.text)
    }
}

fn plain(text: &str) -> &str {
    text.trim_end_matches([',', '.', ';', ':', '?'])
}

/// The words of a text, in their order.
pub(crate) fn of(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut from = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (from, c.is_whitespace()) {
            (None, false) => from = Some(at),
            (Some(start), true) => {
                let word = &text[start..at];
                words.push(Word {
                    range: start..at,
                    text: word,
                    low: plain(word).to_lowercase(),
                });
                from = None;
            }
            _ => {}
        }
    }
    words
}

/// The words behind the first, if that is `word`.
pub(crate) fn behind<'w, 'a>(words: &'w [Word<'a>], word: &str) -> Option<&'w [Word<'a>]> {
    let (first, rest) = words.split_first()?;
    (first.low == word).then_some(rest)
}

/// The first word, in small letters.
pub(crate) fn first<'w>(words: &'w [Word<'_>]) -> Option<&'w str> {
    words.first().map(|word| word.low.as_str())
}

/// A number of at most four digits.
pub(crate) fn number(word: &str) -> Option<i32> {
    let is_number = (1..=4).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| word.parse().ok()).flatten()
}

/// `1st`, `22nd`, `3rd`, `15th`.
pub(crate) fn ordinal(word: &str) -> Option<i8> {
    let digits = word
        .strip_suffix("st")
        .or_else(|| word.strip_suffix("nd"))
        .or_else(|| word.strip_suffix("rd"))
        .or_else(|| word.strip_suffix("th"))?;
    day_of_month(digits)
}

/// A day of a month: 1 to 31.
pub(crate) fn day_of_month(digits: &str) -> Option<i8> {
    let day = number(digits).filter(|_| digits.len() <= 2)?;
    i8::try_from(day).ok().filter(|day| (1..=31).contains(day))
}
