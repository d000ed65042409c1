use super::*;

#[test]
fn refuses_an_image_that_no_component_uses() {
    refuses(
        |app, _| {
            let images = app["spec"]["release"]["images"].as_array_mut().unwrap();
            images.push(json!({"component": "ghost", "image": "ghcr.io/acme/ghost:1"}));
        },
        "spec.release.images[ghost]",
        "no component uses this image key",
    );
}

#[test]
fn refuses_one_image_key_twice() {
    refuses(
        |app, _| {
            let images = app["spec"]["release"]["images"].as_array_mut().unwrap();
            images.push(json!({"component": "web", "image": "ghcr.io/acme/web:2"}));
        },
        "spec.release.images[web]",
        "stands once",
    );
}

#[test]
fn refuses_a_component_without_an_image() {
    refuses(
        |app, _| {
            app["spec"]["release"]["images"]
                .as_array_mut()
                .unwrap()
                .remove(0);
        },
        "spec.release.images[web]",
        "component web runs in this stage and needs an image",
    );
}

#[test]
fn a_component_of_another_stage_needs_no_image_yet() {
    accepts(|app, _| {
        app["spec"]["components"]["backup"] = json!({"kind": "CronJob", "schedule": {"cron": "@daily"}, "environments": ["production"]});
    });
}

#[test]
fn refuses_config_of_an_unknown_component() {
    refuses(
        |app, _| app["spec"]["release"]["config"]["ghost"] = json!({"A": "b"}),
        "spec.release.config.ghost",
        "no component has this name",
    );
}

#[test]
fn refuses_config_that_no_config_map_holds() {
    refuses(
        |app, _| app["spec"]["release"]["config"]["web"]["A"] = json!("x".repeat(1_048_576)),
        "spec.release.config.web",
        "at most 1048576 bytes",
    );
}

#[test]
fn refuses_a_malformed_image() {
    refuses(
        |app, _| app["spec"]["release"]["images"][0]["image"] = json!("ghcr.io/acme/web@sha256:12"),
        "spec.release.images[web].image",
        "64 hexadecimal digits",
    );
}

#[test]
fn refuses_an_image_without_digest_where_one_is_demanded() {
    let found = problems_after(|app, stage| {
        stage["spec"]["policy"] = json!({"requireDigests": true});
        let worker = format!("ghcr.io/acme/worker:1.0.0@{DIGEST}");
        app["spec"]["release"]["images"][2]["image"] = json!(worker);
    });
    assert_only(
        &found,
        "spec.release.images[web].image",
        "write ghcr.io/acme/web@sha256:",
    );
}

#[test]
fn refuses_a_registry_that_is_not_allowed() {
    refuses(
        |app, stage| {
            stage["spec"]["policy"] = json!({"allowedRegistries": ["ghcr.io/acme"]});
            app["spec"]["release"]["images"][0]["image"] = json!("ghcr.io/acmeevil/web:1");
        },
        "spec.release.images[web].image",
        "from ghcr.io/acme only",
    );
}
