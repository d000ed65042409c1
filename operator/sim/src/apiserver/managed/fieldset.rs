//! Sets of fields, as `metadata.managedFields` has them (`fieldpath/set.go` of structured-merge-diff).

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::apiserver::schema::{Schema, TypeId};

/// A JSON value with the total order of structured-merge-diff (`value/value.go`): numbers by size, then strings,
/// booleans, lists, maps and null.
#[derive(Clone, Debug)]
pub struct Scalar(pub Value);

impl Ord for Scalar {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

impl PartialOrd for Scalar {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for Scalar {}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    }
}

fn compare(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Number(l), Value::Number(r)) => match (l.as_i64(), r.as_i64()) {
            (Some(l), Some(r)) => l.cmp(&r),
            _ => l
                .as_f64()
                .unwrap_or(f64::NAN)
                .total_cmp(&r.as_f64().unwrap_or(f64::NAN)),
        },
        (Value::String(l), Value::String(r)) => l.cmp(r),
        (Value::Bool(l), Value::Bool(r)) => l.cmp(r),
        (Value::Array(l), Value::Array(r)) => l
            .iter()
            .zip(r)
            .map(|(l, r)| compare(l, r))
            .find(|o| o.is_ne())
            .unwrap_or_else(|| l.len().cmp(&r.len())),
        (Value::Object(l), Value::Object(r)) => l
            .iter()
            .zip(r)
            .map(|((lk, lv), (rk, rv))| lk.cmp(rk).then_with(|| compare(lv, rv)))
            .find(|o| o.is_ne())
            .unwrap_or_else(|| l.len().cmp(&r.len())),
        _ => rank(left).cmp(&rank(right)),
    }
}

/// Whether two values are equal, 1 and 1.0 being so (`Equals` of `value/value.go`).
#[must_use]
pub fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Array(l), Value::Array(r)) => {
            l.len() == r.len() && l.iter().zip(r).all(|(l, r)| equal(l, r))
        }
        (Value::Object(l), Value::Object(r)) => {
            l.len() == r.len()
                && l.iter()
                    .all(|(key, l)| r.get(key).is_some_and(|r| equal(l, r)))
        }
        (Value::Number(_), Value::Number(_)) => compare(left, right) == Ordering::Equal,
        _ => left == right,
    }
}

/// What names one item of a list (`PathElement` of `fieldpath/element.go`, but for field names).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// The item whose key fields have these values, sorted by name.
    Key(Vec<(Box<str>, Scalar)>),
    /// The item of a set.
    Value(Scalar),
    /// The item at this place. Only found in managed fields that a client wrote itself.
    Index(usize),
}

/// A path of a field, as conflicts and messages name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A named field of an object.
    Field(Box<str>),
    /// An item of a list.
    Item(Item),
}

/// Writes a path as the API server prints it: `.spec.ports[containerPort=80,protocol="TCP"].name`.
#[must_use]
pub fn display_path(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Field(name) => {
                text.push('.');
                text.push_str(name);
            }
            Step::Item(item) => text.push_str(&display_item(item)),
        }
    }
    text
}

/// Writes an item's path element as the API server prints it (`String` of `fieldpath/element.go`).
#[must_use]
pub fn display_item(item: &Item) -> String {
    match item {
        Item::Key(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{name}={}", display_value(&value.0)))
                .collect();
            format!("[{}]", fields.join(","))
        }
        Item::Value(value) => format!("[={}]", display_value(&value.0)),
        Item::Index(index) => format!("[{index}]"),
    }
}

/// `ToString` of `value/value.go`.
fn display_value(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(display_value).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| format!("{name}={}", display_value(value)))
            .collect(),
        _ => value.to_string(),
    }
}

/// Go's `%q` of a string.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            // Writing to a string does not fail.
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                let _ = write!(quoted, "\\x{:02x}", c as u32);
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A set of fields: a trie of named fields and list items, each of which may be a member of the set, and may have
/// members below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    fields: BTreeMap<Box<str>, Node>,
    items: BTreeMap<Item, Node>,
}

/// What a set says of one field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The field itself is in the set.
    pub member: bool,
    /// The fields below it that are.
    pub children: FieldSet,
}

impl Node {
    fn leaf() -> Self {
        Self {
            member: true,
            children: FieldSet::default(),
        }
    }

    fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }
}

/// Union, difference and intersection of one level, for either kind of key.
fn unite<K: Ord + Clone>(left: &mut BTreeMap<K, Node>, right: &BTreeMap<K, Node>) {
    for (key, r) in right {
        match left.get_mut(key) {
            Some(l) => {
                l.member |= r.member;
                l.children.unite(&r.children);
            }
            None => {
                left.insert(key.clone(), r.clone());
            }
        }
    }
}

fn subtract<K: Ord>(left: &mut BTreeMap<K, Node>, right: &BTreeMap<K, Node>, recursive: bool) {
    if left.is_empty() || right.is_empty() {
        return;
    }
    left.retain(|key, l| {
        let Some(r) = right.get(key) else { return true };
        if r.member && recursive {
            return false;
        }
        l.member &= !r.member;
        subtract(&mut l.children.fields, &r.children.fields, recursive);
        subtract(&mut l.children.items, &r.children.items, recursive);
        !l.is_empty()
    });
}

fn is_subset<K: Ord>(left: &BTreeMap<K, Node>, right: &BTreeMap<K, Node>) -> bool {
    left.iter().all(|(key, l)| {
        right
            .get(key)
            .is_some_and(|r| (!l.member || r.member) && l.children.is_subset(&r.children))
    })
}

fn intersect<K: Ord + Clone>(
    left: &BTreeMap<K, Node>,
    right: &BTreeMap<K, Node>,
) -> BTreeMap<K, Node> {
    left.iter()
        .filter_map(|(key, l)| {
            let r = right.get(key)?;
            let node = Node {
                member: l.member && r.member,
                children: l.children.intersection(&r.children),
            };
            (!node.is_empty()).then(|| (key.clone(), node))
        })
        .collect()
}

impl FieldSet {
    /// A set of paths of named fields.
    #[must_use]
    pub fn of(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let mut at = &mut set;
            for (index, name) in path.iter().enumerate() {
                let node = at.fields.entry((*name).into()).or_default();
                node.member |= index + 1 == path.len();
                at = &mut node.children;
            }
        }
        set
    }

    /// Whether the set has no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.items.is_empty()
    }

    /// What the set says of a named field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Node> {
        self.fields.get(name)
    }

    /// What the set says of a list item.
    #[must_use]
    pub fn item(&self, item: &Item) -> Option<&Node> {
        self.items.get(item)
    }

    /// Its nodes of named fields, in order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.fields.iter().map(|(name, node)| (&**name, node))
    }

    /// Its nodes of list items, in order.
    pub fn items(&self) -> impl Iterator<Item = (&Item, &Node)> {
        self.items.iter()
    }

    /// Sets what the set says of a named field, unless that is nothing.
    pub fn put_field(&mut self, name: &str, node: Node) {
        if !node.is_empty() {
            self.fields.insert(name.into(), node);
        }
    }

    /// Sets what the set says of a list item, unless that is nothing.
    pub fn put_item(&mut self, item: Item, node: Node) {
        if !node.is_empty() {
            self.items.insert(item, node);
        }
    }

    /// The node of a named field, made when there is none. The caller makes it a member, or puts one below it.
    pub(super) fn field_mut(&mut self, name: &str) -> &mut Node {
        self.fields.entry(name.into()).or_default()
    }

    /// The node of a list item, likewise.
    pub(super) fn item_mut(&mut self, item: &Item) -> &mut Node {
        self.items.entry(item.clone()).or_default()
    }

    /// Adds every member of another set.
    pub fn unite(&mut self, other: &Self) {
        unite(&mut self.fields, &other.fields);
        unite(&mut self.items, &other.items);
    }

    /// Removes every member of another set. A member whose parent is in the other set stays.
    pub fn subtract(&mut self, other: &Self) {
        subtract(&mut self.fields, &other.fields, false);
        subtract(&mut self.items, &other.items, false);
    }

    /// Removes every member of another set, and all that is below it.
    pub fn subtract_recursively(&mut self, other: &Self) {
        subtract(&mut self.fields, &other.fields, true);
        subtract(&mut self.items, &other.items, true);
    }

    /// Whether every member is one of another set too.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        is_subset(&self.fields, &other.fields) && is_subset(&self.items, &other.items)
    }

    /// The members of both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self {
            fields: intersect(&self.fields, &other.fields),
            items: intersect(&self.items, &other.items),
        }
    }

    /// The set with every declared field that has members below it being a member too
    /// (`EnsureNamedFieldsAreMembers` of `fieldpath/set.go`).
    #[must_use]
    pub fn with_declared_fields(mut self, schema: &Schema, ty: Option<TypeId>) -> Self {
        let atom = ty.map(|ty| schema.at(ty));
        let map = atom.and_then(|atom| atom.map.as_ref());
        let list = atom.and_then(|atom| atom.list.as_ref());
        for (name, node) in &mut self.fields {
            if node.children.is_empty() {
                continue;
            }
            let declared = map.and_then(|map| map.fields.get(name));
            node.member |= declared.is_some();
            let below = declared
                .map(|field| field.ty)
                .or_else(|| map.and_then(|map| map.element));
            node.children = std::mem::take(&mut node.children).with_declared_fields(schema, below);
        }
        for (item, node) in &mut self.items {
            if node.children.is_empty() {
                continue;
            }
            let below = match item {
                Item::Key(_) => list.map(|list| list.element),
                Item::Value(_) | Item::Index(_) => None,
            };
            node.children = std::mem::take(&mut node.children).with_declared_fields(schema, below);
        }
        self
    }

    /// Its members' paths, in the API server's order: all of one level, then what is below each.
    #[must_use]
    pub fn paths(&self) -> Vec<Vec<Step>> {
        let mut paths = Vec::new();
        self.collect(&mut Vec::new(), &mut paths);
        paths
    }

    fn collect(&self, prefix: &mut Vec<Step>, paths: &mut Vec<Vec<Step>>) {
        let fields = self
            .fields
            .iter()
            .map(|(name, node)| (Step::Field(name.clone()), node));
        let items = self
            .items
            .iter()
            .map(|(item, node)| (Step::Item(item.clone()), node));
        let nodes: Vec<(Step, &Node)> = fields.chain(items).collect();
        for (step, _) in nodes.iter().filter(|(_, node)| node.member) {
            let mut path = prefix.clone();
            path.push(step.clone());
            paths.push(path);
        }
        for (step, node) in nodes {
            prefix.push(step);
            node.children.collect(prefix, paths);
            prefix.pop();
        }
    }

    /// Whether a path is a member.
    #[must_use]
    pub fn has(&self, path: &[Step]) -> bool {
        let Some((first, rest)) = path.split_first() else {
            return false;
        };
        let node = match first {
            Step::Field(name) => self.fields.get(name),
            Step::Item(item) => self.items.get(item),
        };
        node.is_some_and(|node| {
            if rest.is_empty() {
                node.member
            } else {
                node.children.has(rest)
            }
        })
    }

    /// Reads `fieldsV1` (`fieldpath/serialize.go`).
    ///
    /// # Errors
    ///
    /// When it is not of that form.
    pub fn from_json(json: &Value) -> Result<Self, InvalidFields> {
        let mut set = Self::default();
        let Value::Object(object) = json else {
            return Err(InvalidFields);
        };
        for (key, below) in object {
            if key == "." {
                continue;
            }
            let node = read_node(below)?;
            match key.split_at_checked(2).ok_or(InvalidFields)? {
                ("f:", name) => {
                    set.fields.insert(name.into(), node);
                }
                ("v:", value) => {
                    let value = serde_json::from_str(value).map_err(|_| InvalidFields)?;
                    set.items.insert(Item::Value(Scalar(value)), node);
                }
                ("k:", fields) => {
                    let fields: BTreeMap<Box<str>, Value> =
                        serde_json::from_str(fields).map_err(|_| InvalidFields)?;
                    let key = fields.into_iter().map(|(k, v)| (k, Scalar(v))).collect();
                    set.items.insert(Item::Key(key), node);
                }
                ("i:", index) => {
                    let index = index.parse().map_err(|_| InvalidFields)?;
                    set.items.insert(Item::Index(index), node);
                }
                // Kinds of path elements that this version does not know are dropped.
                (kind, _) if kind.ends_with(':') => {}
                _ => return Err(InvalidFields),
            }
        }
        Ok(set)
    }

    /// Writes `fieldsV1` (`fieldpath/serialize.go`).
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        self.write(&mut object);
        Value::Object(object)
    }

    fn write(&self, object: &mut Map<String, Value>) {
        for (name, node) in &self.fields {
            object.insert(format!("f:{name}"), node.to_json());
        }
        for (item, node) in &self.items {
            let key = match item {
                Item::Key(fields) => {
                    let mut key = String::from("k:{");
                    for (index, (name, value)) in fields.iter().enumerate() {
                        if index > 0 {
                            key.push(',');
                        }
                        key.push_str(&go_json(&Value::from(&**name)));
                        key.push(':');
                        key.push_str(&go_json(&value.0));
                    }
                    key.push('}');
                    key
                }
                Item::Value(value) => format!("v:{}", go_json(&value.0)),
                Item::Index(index) => format!("i:{index}"),
            };
            object.insert(key, node.to_json());
        }
    }
}

impl Node {
    fn to_json(&self) -> Value {
        let mut object = Map::new();
        if self.member && !self.children.is_empty() {
            object.insert(".".to_owned(), Value::Object(Map::new()));
        }
        self.children.write(&mut object);
        Value::Object(object)
    }
}

fn read_node(json: &Value) -> Result<Node, InvalidFields> {
    let children = FieldSet::from_json(json)?;
    Ok(if children.is_empty() {
        Node::leaf()
    } else {
        Node {
            member: json.get(".").is_some(),
            children,
        }
    })
}

/// `fieldsV1` that is not one.
#[derive(Debug, thiserror::Error)]
#[error("invalid fieldsV1")]
pub struct InvalidFields;

/// JSON as Go writes it: a number without a fraction as an integer, and `<`, `>` and `&` escaped.
#[must_use]
pub fn go_json(value: &Value) -> String {
    let text = match value {
        Value::Number(number) => match number.as_f64() {
            // Beyond 1e15 an f64 does not tell all integers apart, and nobody has such keys.
            Some(float) if !number.is_i64() && float.fract() == 0.0 && float.abs() < 1e15 => {
                format!("{float:.0}")
            }
            _ => number.to_string(),
        },
        _ => value.to_string(),
    };
    if text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        text.replace('<', "\\u003c")
            .replace('>', "\\u003e")
            .replace('&', "\\u0026")
            .replace('\u{2028}', "\\u2028")
            .replace('\u{2029}', "\\u2029")
    } else {
        text
    }
}
