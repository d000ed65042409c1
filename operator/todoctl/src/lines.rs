//! Where in a YAML or JSON text a field stands.

use granit_parser::{Event, Parser};

/// Where the fields of one document stand.
#[derive(Clone, Debug)]
pub struct Lines {
    root: Field,
    duplicates: Vec<(String, usize)>,
}

#[derive(Clone, Debug)]
struct Field {
    line: usize,
    /// By key, or by position in a list.
    children: Vec<(String, Field)>,
    /// The text of a scalar.
    text: Option<String>,
}

/// The text is not YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Where the reader gave up, counted from 1.
    pub line: usize,
    /// What it expected.
    pub message: String,
}

impl Lines {
    /// The documents of a text that are maps or lists, in order.
    pub fn documents(text: &str) -> Result<Vec<Self>, SyntaxError> {
        let mut documents = Vec::new();
        let mut builder = Builder::default();
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| SyntaxError {
                line: error.marker().line(),
                message: error.info(),
            })?;
            documents.extend(builder.take_in(event, span.start.line()));
        }
        Ok(documents)
    }

    /// Line on which the document's content begins.
    pub fn start(&self) -> usize {
        self.root.line
    }

    /// Keys that stand twice in their map, as `(path, line of the second)`.
    pub fn duplicates(&self) -> &[(String, usize)] {
        &self.duplicates
    }

    /// Line of the field at `path` (`spec.release.images[0].image`), or of the nearest one above it that is there.
    ///
    /// A key may hold dots. An item of a list is found by position, or by a value of one of its fields (`images[web]`).
    pub fn find(&self, path: &str) -> usize {
        let mut field = &self.root;
        let mut rest = path;
        while let Some((child, below)) = field.step(rest) {
            field = child;
            rest = below;
        }
        field.line
    }
}

impl Field {
    /// The child that `path` begins with, and what of the path is left.
    fn step<'a, 'b>(&'a self, path: &'b str) -> Option<(&'a Field, &'b str)> {
        if let Some(path) = path.strip_prefix('[') {
            let (item, below) = path.split_once(']')?;
            let item = item.trim_matches('"');
            return self.item(item).map(|child| (child, below));
        }
        let path = path.strip_prefix('.').unwrap_or(path);
        self.children
            .iter()
            .filter_map(|(key, child)| {
                let below = path.strip_prefix(key.as_str())?;
                (below.is_empty() || below.starts_with(['.', '['])).then_some((
                    key.len(),
                    child,
                    below,
                ))
            })
            .max_by_key(|(length, ..)| *length)
            .map(|(_, child, below)| (child, below))
    }

    fn item(&self, item: &str) -> Option<&Field> {
        let by_key = self.children.iter().find(|(key, _)| key == item);
        let by_value = || {
            let names_it = |field: &Field| {
                field
                    .children
                    .iter()
                    .any(|(_, child)| child.text.as_deref() == Some(item))
            };
            self.children.iter().find(|(_, child)| names_it(child))
        };
        by_key.or_else(by_value).map(|(_, child)| child)
    }
}

/// Builds documents out of the parser's events.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    duplicates: Vec<(String, usize)>,
}

/// A map or list whose end has not come yet.
struct Open {
    field: Field,
    is_map: bool,
    /// The key whose value comes next, in a map.
    key: Option<(String, usize)>,
}

impl Builder {
    /// Takes in one event; returns a document when it is complete.
    fn take_in(&mut self, event: Event<'_>, line: usize) -> Option<Lines> {
        let scalar = |text| Field {
            line,
            children: Vec::new(),
            text,
        };
        match event {
            Event::MappingStart(..) => self.open.push(Open {
                field: scalar(None),
                is_map: true,
                key: None,
            }),
            Event::SequenceStart(..) => self.open.push(Open {
                field: scalar(None),
                is_map: false,
                key: None,
            }),
            Event::MappingEnd | Event::SequenceEnd => {
                let done = self.open.pop()?.field;
                return self.place(done);
            }
            Event::Scalar(text, ..) => return self.place(scalar(Some(text.into_owned()))),
            Event::Alias(..) => return self.place(scalar(None)),
            _ => {}
        }
        None
    }

    /// Puts a complete value where it belongs.
    fn place(&mut self, mut value: Field) -> Option<Lines> {
        let Some(parent) = self.open.last_mut() else {
            let duplicates = std::mem::take(&mut self.duplicates);
            let is_scalar = value.text.is_some();
            return (!is_scalar).then_some(Lines {
                root: value,
                duplicates,
            });
        };
        if !parent.is_map {
            let position = parent.field.children.len().to_string();
            parent.field.children.push((position, value));
            return None;
        }
        let Some((key, line)) = parent.key.take() else {
            parent.key = Some((value.text.unwrap_or_default(), value.line));
            return None;
        };
        // What a person looks for is the key, wherever its value begins.
        value.line = line;
        if parent.field.children.iter().any(|(known, _)| *known == key) {
            let duplicate = self.path(&key);
            self.duplicates.push((duplicate, line));
        } else {
            parent.field.children.push((key, value));
        }
        None
    }

    /// Path of `key` in the innermost open map.
    fn path(&self, key: &str) -> String {
        let mut path = String::new();
        for open in &self.open {
            match &open.key {
                Some((key, _)) => path.push_str(&format!("{key}.")),
                None if !open.is_map => path.push_str(&format!("{}.", open.field.children.len())),
                None => {}
            }
        }
        path + key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# A comment.
---
kind: A
spec:
  components:
    web: {kind: Site, scaling: {min: 1,
      max: 2}}
  topics:
    orders:
      config:
        retention.ms: \"1\"
  images:
  - component: web
    image: x
  - component: api
    image: y
---
# Nothing here.
---
{
  \"kind\": \"B\",
  \"spec\": [1, 2]
}
";

    #[test]
    fn every_field_is_found_in_block_and_flow_style() {
        let documents = Lines::documents(TEXT).unwrap();
        assert_eq!(documents.len(), 2, "an empty document does not count");
        for (path, line) in [
            ("kind", 3),
            ("spec.components", 5),
            ("spec.components.web.kind", 6),
            ("spec.components.web.scaling.max", 7),
            ("spec.topics.orders.config.retention.ms", 11),
            ("spec.images[1].image", 16),
            ("spec.images[api].image", 16),
            ("spec.images[\"web\"].image", 14),
            ("spec.images.0.image", 14),
        ] {
            assert_eq!(documents[0].find(path), line, "{path}");
        }
        assert_eq!(documents[1].start(), 20);
        assert_eq!(documents[1].find("spec"), 22);
    }

    #[test]
    fn what_is_not_there_is_shown_where_it_would_be() {
        let documents = Lines::documents(TEXT).unwrap();
        assert_eq!(documents[0].find("spec.components.web.route.paths"), 6);
        assert_eq!(documents[0].find("spec.comp"), 4, "half a key is no key");
        assert_eq!(documents[0].find("metadata.name"), 3);
        assert_eq!(documents[0].find("spec.images[7].image"), 12);
    }

    #[test]
    fn a_syntax_error_has_its_line() {
        let error = Lines::documents("a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
        assert!(error.line >= 2, "{error:?}");
        assert!(!error.message.is_empty());
    }

    #[test]
    fn a_key_that_stands_twice_is_noted() {
        let documents = Lines::documents("a:\n  b: 1\n  c:\n  - d: 1\n    d: 2\n  b: 3\n").unwrap();
        assert_eq!(
            documents[0].duplicates(),
            [("a.c.0.d".to_owned(), 5), ("a.b".to_owned(), 6)]
        );
    }
}
