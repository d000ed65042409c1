//! The verbs: what a request does, and what it answers.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};

use super::call::{Call, List, Subresource, Verb};
use super::failure::Failure;
use super::rules::Rules;
use super::scale;
use super::schema::Resource;
use super::store::{Key, ResourceId, Store};

/// What the API server answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// HTTP status code.
    pub code: u16,
    /// The body.
    pub body: Arc<Value>,
}

/// The API server in memory. Each call is carried out at once and as one.
pub struct ApiServer {
    state: Mutex<State>,
    rules: Arc<Rules>,
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

pub(super) struct State {
    pub store: Store,
    /// How many addresses Services were given.
    pub addresses: u16,
    /// Objects that are stored in another form than they are read in: the next write of them is a change.
    pub unclean: BTreeSet<Key>,
    random: StdRng,
}

impl ApiServer {
    /// A server of these resources that holds nothing but the namespaces that every cluster has.
    pub fn new(
        resources: impl IntoIterator<Item = Arc<Resource>>,
        rules: Arc<Rules>,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
        seed: u64,
    ) -> Self {
        let mut store = Store::default();
        for resource in resources {
            store.add(resource);
        }
        Self {
            state: Mutex::new(State {
                store,
                addresses: 0,
                unclean: BTreeSet::new(),
                random: StdRng::seed_from_u64(seed),
            }),
            rules,
            clock: Box::new(clock),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the store.
    pub fn read<T>(&self, read: impl FnOnce(&Store) -> T) -> T {
        read(&self.lock().store)
    }

    /// Changes the store beside the API: as a compaction or a peer's installation does.
    pub fn change<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        change(&mut self.lock().store)
    }

    /// Carries out a call. A watch is answered by [`super::http`].
    pub fn call(&self, call: &Call) -> Result<Answer, Failure> {
        let mut state = self.lock();
        let id = served(&state.store, call)?;
        let resource = state.store.resource(id);
        let key = Key {
            resource: id,
            namespace: call.namespace.as_str().into(),
            name: call.name.as_str().into(),
        };
        let now = (self.clock)().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let mut request = Request {
            state: &mut state,
            resource: &resource,
            rules: &self.rules,
            key,
            subresource: call.subresource,
            now: &now,
            has_empty_list: Cell::new(false),
        };
        match &call.verb {
            Verb::Get => request.get(),
            Verb::List(options) => request.list(options),
            Verb::Watch(_) => Err(Failure::bad_request("a watch is no single answer")),
            Verb::Create(write, object) => request.create(write, object.clone()),
            Verb::Replace(write, object) => request.replace(write, object.clone()),
            Verb::Apply(write, force, patch) => request.apply(write, *force, patch),
            Verb::Merge(write, patch) => request.patch(write, |object| {
                json_patch::merge(object, patch);
                Ok(())
            }),
            Verb::Json(write, patch) => request.patch(write, |object| {
                let patch: json_patch::Patch = serde_json::from_value(patch.clone())
                    .map_err(|error| Failure::bad_request(&error.to_string()))?;
                json_patch::patch(object, &patch).map_err(|_| Failure::unprocessable())
            }),
            Verb::Delete(options) => request.delete(options),
        }
    }

    /// Answers a list as a server does that has yet to hear of the newest `behind` changes.
    pub fn list_behind(&self, call: &Call, behind: u64) -> Result<Answer, Failure> {
        if behind == 0 {
            return self.call(call);
        }
        let mut call = call.clone();
        if let Verb::List(options) = &mut call.verb
            && options.continue_.is_empty()
        {
            let revision = self.read(Store::revision).saturating_sub(behind);
            options.continue_ = format!("{revision} ");
        }
        self.call(&call)
    }

    /// The resource of a watch, where it is served.
    pub fn watched(&self, call: &Call) -> Result<ResourceId, Failure> {
        served(&self.lock().store, call)
    }
}

fn served(store: &Store, call: &Call) -> Result<ResourceId, Failure> {
    store
        .find(&call.group, &call.plural)
        .filter(|id| store.resource(*id).version == call.version)
        .ok_or_else(Failure::not_served)
}

/// One call under way.
pub(super) struct Request<'a> {
    pub state: &'a mut State,
    pub resource: &'a Resource,
    pub rules: &'a Rules,
    pub key: Key,
    pub subresource: Subresource,
    pub now: &'a str,
    /// Whether what was decoded had a list that is empty, which is not the same as none until it is stored.
    pub has_empty_list: Cell<bool>,
}

impl Request<'_> {
    pub(super) fn live(&self) -> Result<Arc<Value>, Failure> {
        self.state
            .store
            .get(&self.key)
            .cloned()
            .ok_or_else(|| Failure::not_found(self.resource, &self.key.name))
    }

    fn get(&self) -> Result<Answer, Failure> {
        let live = self.live()?;
        let body = match self.subresource {
            Subresource::Scale => {
                if !scale::has_replicas(self.resource, &live) {
                    let path = scale::replicas_path(self.resource);
                    let why = format!("the spec replicas field {path:?} does not exist");
                    return Err(Failure::internal_because(&why));
                }
                Arc::new(scale::of(self.resource, &live))
            }
            _ => live,
        };
        Ok(Answer { code: 200, body })
    }

    fn list(&self, options: &List) -> Result<Answer, Failure> {
        let store = &self.state.store;
        let id = self.key.resource;
        let newest = store.revision();
        let (revision, after) = match options.continue_.split_once(' ') {
            Some((revision, after)) => (revision.parse().unwrap_or(newest), after),
            None => (newest, ""),
        };
        // What has one name is read at its key, without pages.
        let is_single = !(self.resource.namespaced && self.key.namespace.is_empty())
            && options.selector.is_by_name();
        let limit = if is_single { 0 } else { options.limit };
        let page = if store.changes_after(id, revision).is_empty() {
            self.page(options, limit, after, store.objects(id))
        } else {
            self.page(options, limit, after, store.at(id, revision).iter())
        };
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if self.resource.is_custom {
            metadata["continue"] = json!("");
        }
        if page.remaining > 0 {
            metadata["continue"] = json!(format!("{revision} {}", page.last));
            if options.selector.is_everything() {
                metadata["remainingItemCount"] = json!(page.remaining);
            }
        }
        let body = json!({
            "kind": self.resource.list_kind,
            "apiVersion": self.resource.api_version(),
            "metadata": metadata,
            "items": page.items,
        });
        Ok(Answer {
            code: 200,
            body: Arc::new(body),
        })
    }

    /// Takes a page out of objects in order. Where the page is full, there is another one if there are more objects,
    /// selected or not (`pkg/storage/cacher/cacher.go`).
    fn page<'b>(
        &self,
        options: &List,
        limit: usize,
        after: &str,
        objects: impl Iterator<Item = (&'b Key, &'b Arc<Value>)>,
    ) -> Page {
        let token = |key: &Key| format!("{}/{}", key.namespace, key.name);
        let mut page = Page::default();
        for (key, object) in objects {
            let is_here = self.key.namespace.is_empty() || key.namespace == self.key.namespace;
            let is_before = !after.is_empty() && token(key).as_str() <= after;
            if !is_here || is_before {
                continue;
            }
            if limit > 0 && page.items.len() == limit {
                page.remaining += 1;
                continue;
            }
            if !options.selector.selects(object) {
                continue;
            }
            if limit > 0 {
                page.last = token(key);
            }
            let mut object = Value::clone(object);
            // The items of a list do not repeat what kind they are, but for custom resources.
            if !self.resource.is_custom
                && let Some(object) = object.as_object_mut()
            {
                object.remove("kind");
                object.remove("apiVersion");
            }
            page.items.push(object);
        }
        page
    }

    /// The namespace that the call is about.
    pub(super) fn namespace(&self) -> Option<&Arc<Value>> {
        let store = &self.state.store;
        store.get(&Key {
            resource: store.find("", "namespaces")?,
            namespace: "".into(),
            name: self.key.namespace.clone(),
        })
    }

    /// Where etcd would have the object.
    pub(super) fn registry_key(&self) -> String {
        let parts = [
            &*self.resource.group,
            &self.resource.plural,
            &self.key.namespace,
            &self.key.name,
        ];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        format!("/registry/{}", parts.join("/"))
    }

    pub(super) fn uid(&mut self) -> String {
        let bits: u128 = self.state.random.random();
        // Version 4, variant 1, as RFC 9562 has them.
        let bits = (bits & !(0xf << 76) | (0x4 << 76)) & !(0b11 << 62) | (0b10 << 62);
        let hex = format!("{bits:032x}");
        let parts = [
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..],
        ];
        parts.join("-")
    }

    /// What `generateName` is made whole with (`k8s.io/apiserver`, `storage/names`).
    pub(super) fn suffix(&mut self) -> String {
        const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        (0..5)
            .map(|_| char::from(ALPHABET[self.state.random.random_range(0..ALPHABET.len())]))
            .collect()
    }
}

/// A page of a list.
#[derive(Default)]
struct Page {
    items: Vec<Value>,
    /// The key of the last item.
    last: String,
    /// How many objects come after it.
    remaining: usize,
}

/// The metadata of an object, made where there is none.
pub fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    if !object.is_object() {
        *object = json!({});
    }
    let metadata = &mut object["metadata"];
    if !metadata.is_object() {
        *metadata = json!({});
    }
    match metadata {
        Value::Object(metadata) => metadata,
        _ => unreachable!("it was made an object just now"),
    }
}
