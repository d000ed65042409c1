//! Random objects from a seed.

use serde_json::{Map, Value, json};

/// A generator of numbers (SplitMix64), so that a seed means the same objects forever.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below a limit.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        usize::try_from(z % u64::try_from(limit).unwrap()).unwrap()
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// One of these values, in the form of JSON text.
    pub fn json(&mut self, of: &[&str]) -> Value {
        serde_json::from_str(of[self.below(of.len())]).unwrap()
    }
}

/// A shape of random values.
pub enum Shape {
    /// One of these JSON texts.
    OneOf(&'static [&'static str]),
    /// An object with each field in so many of ten cases.
    Object(Vec<(&'static str, usize, Shape)>),
    /// Some of these items, in any order. Each may be there once, but for a few in a thousand.
    List(Vec<Shape>),
}

impl Shape {
    pub fn make(&self, random: &mut Random) -> Value {
        match self {
            Self::OneOf(texts) => random.json(texts),
            Self::Object(fields) => {
                let mut object = Map::new();
                for (name, tenths, shape) in fields {
                    if random.below(10) < *tenths {
                        object.insert((*name).to_owned(), shape.make(random));
                    }
                }
                Value::Object(object)
            }
            Self::List(items) => {
                let mut list = Vec::new();
                for item in items {
                    if random.once_in(2) {
                        let place = random.below(list.len() + 1);
                        list.insert(place, item.make(random));
                    }
                    if random.once_in(150) {
                        list.push(item.make(random));
                    }
                }
                json!(list)
            }
        }
    }
}

/// An object with these fields.
pub fn object<const N: usize>(fields: [(&'static str, usize, Shape); N]) -> Shape {
    Shape::Object(Vec::from(fields))
}
