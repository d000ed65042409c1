use super::*;

fn load_text(text: &str) -> Result<Manifests, String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("app.yaml");
    std::fs::write(&file, text).unwrap();
    let shown = |text: String| text.replace(&format!("{}/", directory.path().display()), "");
    load(&[file]).map_err(|error| shown(error.to_string()))
}

fn app(spec: &str) -> String {
    format!(
        "apiVersion: todo-operator.dev/v1alpha1\nkind: TodoApp\nmetadata:\n  name: demo\n  namespace: todo-test\nspec:\n{spec}"
    )
}

const GOOD: &str = "  components:
    web:
      kind: Service
  release:
    images:
    - component: web
      image: web:1
";

#[test]
fn a_good_manifest_is_read_and_everything_else_is_left_out() {
    let text = format!("kind: ConfigMap\napiVersion: v1\n---\n{}", app(GOOD));
    let manifests = load_text(&text).unwrap();
    assert_eq!(manifests.apps.len(), 1);
    assert_eq!(
        manifests.apps[0].object.spec.release.images[0].image,
        "web:1"
    );
    assert!(manifests.environments.is_empty());
}

#[test]
fn unknown_fields_are_refused_wherever_they_stand() {
    let spec = "  components:
    web:
      kind: Service
      scaling:
        minimum: 1
  traffic: {hots: a}
  release:
    images:
    - component: web
      image: web:1
      tag: x
";
    assert_eq!(
        load_text(&app(spec)).unwrap_err(),
        "app.yaml:11: spec.components.web.scaling.minimum: there is no such field\n\
         app.yaml:12: spec.traffic.hots: there is no such field\n\
         app.yaml:17: spec.release.images.0.tag: there is no such field"
    );
}

#[test]
fn unknown_fields_of_metadata_are_refused() {
    let text = app(GOOD).replace("  name: demo", "  name: demo\n  nmespace: x");
    assert_eq!(
        load_text(&text).unwrap_err(),
        "app.yaml:5: metadata.nmespace: there is no such field"
    );
}

#[test]
fn a_value_of_the_wrong_type_names_its_field() {
    let error = load_text(&app(
        &GOOD.replace("kind: Service", "kind: Service\n      port: high")
    ))
    .unwrap_err();
    assert!(
        error.starts_with("app.yaml:10: spec.components.web.port: invalid type: string \"high\""),
        "{error}"
    );
    let error = load_text(&app(&GOOD.replace("kind: Service", "kind: Sevice"))).unwrap_err();
    assert!(
        error.starts_with("app.yaml:9: spec.components.web.kind: unknown variant `Sevice`"),
        "{error}"
    );
}

#[test]
fn a_missing_field_names_the_object_that_lacks_it() {
    let error = load_text(&app("  components: {}\n")).unwrap_err();
    assert_eq!(error, "app.yaml:6: spec: missing field `release`");
}

#[test]
fn a_key_that_stands_twice_is_refused() {
    let error = load_text(&app(
        &GOOD.replace("kind: Service", "kind: Service\n      kind: Site")
    ))
    .unwrap_err();
    assert_eq!(
        error,
        "app.yaml:10: spec.components.web.kind stands twice: remove one"
    );
}

#[test]
fn another_version_is_refused() {
    let error = load_text(&app(GOOD).replace("v1alpha1", "v1")).unwrap_err();
    assert_eq!(
        error,
        "app.yaml:1: todo-operator.dev/v1 is not known: use todo-operator.dev/v1alpha1"
    );
}

fn rules(spec: &str, old: Option<&str>) -> Vec<String> {
    let new = load_text(&app(spec)).unwrap().apps.remove(0);
    let old = old.map(|old| load_text(&app(old)).unwrap().apps.remove(0).object);
    broken_rules(&new, old.as_ref())
        .into_iter()
        .map(|finding| {
            let place = finding.place.to_string();
            let line = place.rsplit(':').next().unwrap_or_default();
            format!("{line}: {}", finding.message)
        })
        .collect()
}

#[test]
fn the_rules_of_the_api_server_are_applied_without_one() {
    assert_eq!(rules(GOOD, None), Vec::<String>::new());
    let spec = GOOD.replace("kind: Service", "kind: Service\n      migrate: {}");
    assert_eq!(
        rules(&spec, None),
        ["10: spec.components.web.migrate: migrate needs a database to migrate: set database"]
    );
}

#[test]
fn what_must_not_change_is_compared_with_what_is_there() {
    let topics = |partitions: u8| {
        format!(
            "{GOOD}  messaging:\n    topics:\n      orders:\n        partitions: {partitions}\n"
        )
    };
    let broken = rules(&topics(3), Some(&topics(6)));
    assert_eq!(broken.len(), 1, "{broken:?}");
    assert!(broken[0].contains("partitions never shrink"), "{broken:?}");
    assert_eq!(rules(&topics(6), Some(&topics(6))), Vec::<String>::new());
}
