//! The Secrets that config-repo refers to and does not hold: elsewhere people make them, or External Secrets does.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};

/// Named in `config-repo/base/demo/todoapp.yaml`.
const TOKEN: (&str, &str) = ("demo-token", "token");

/// Makes those that are missing in these namespaces. What is there stays: pods have it already.
pub async fn ensure(client: &Client, namespaces: &[String]) -> Result<()> {
    for namespace in namespaces {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let made = secrets.create(&PostParams::default(), &token()).await;
        match made {
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            other => {
                other.with_context(|| {
                    format!("cannot make the Secret {} in {namespace}", TOKEN.0)
                })?;
            }
        }
    }
    Ok(())
}

fn token() -> Secret {
    let (name, key) = TOKEN;
    let value = format!("{:032x}", rand::random::<u128>());
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        string_data: Some([(key.to_owned(), value)].into()),
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn it_is_the_secret_that_the_template_names() {
        let app = include_str!("../../../config-repo/base/demo/todoapp.yaml");
        let app: Value = serde_yaml::from_str(app).unwrap();
        for component in ["web", "api"] {
            let reference = &app["spec"]["components"][component]["secretEnv"]["DEMO_TOKEN"];
            assert_eq!(
                *reference,
                serde_json::json!({"secret": TOKEN.0, "key": TOKEN.1})
            );
        }
        let (one, other) = (token(), token());
        assert_ne!(one.string_data, other.string_data);
        assert_eq!(one.string_data.unwrap()[TOKEN.1].len(), 32);
    }
}
