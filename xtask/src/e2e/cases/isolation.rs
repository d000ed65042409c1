//! Two components, two databases, one PostgreSQL: each gets into its own and nowhere else, and nobody without a certificate.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::FutureExt as _;
use localcluster::peers::Product;
use serde_json::{Value, json};

use crate::e2e::case::{Case, Context};
use crate::e2e::objects::{self, DEPLOYMENT, POD, until};
use crate::e2e::stage::{Stage, ensure};
use crate::e2e::tasks::Task;

pub const CASE: Case = Case {
    name: "isolation",
    shows: "a neighbour's database role is refused, and so is a client without a certificate",
    is_quick: false,
    needs: &[Product::CloudNativePg],
    run: |context| run(context).boxed_local(),
};

const PATIENCE: Duration = Duration::from_secs(90);

/// What somebody tries with the certificate of `api`, whose role is `orders_app`.
struct Attempt {
    what: &'static str,
    /// What is different from what the operator gives to `api`.
    variables: &'static [(&'static str, &'static str)],
    query: &'static str,
    /// What PostgreSQL answers.
    answer: &'static str,
    is_let_in: bool,
}

const WHO: &str = "select current_user || ' in ' || current_database()";

const ATTEMPTS: [Attempt; 7] = [
    Attempt {
        what: "its own database",
        variables: &[],
        query: WHO,
        answer: "orders_app in orders",
        is_let_in: true,
    },
    Attempt {
        what: "the neighbour's database",
        variables: &[("PGDATABASE", "ledger")],
        query: WHO,
        answer: "pg_hba.conf rejects connection",
        is_let_in: false,
    },
    Attempt {
        what: "the neighbour's role, with its own certificate",
        variables: &[("PGDATABASE", "ledger"), ("PGUSER", "ledger_app")],
        query: WHO,
        answer: "certificate authentication failed for user \"ledger_app\"",
        is_let_in: false,
    },
    Attempt {
        what: "its own database, without a certificate",
        variables: &[("PGSSLCERT", "/nowhere"), ("PGSSLKEY", "/nowhere")],
        query: WHO,
        answer: "connection requires a valid client certificate",
        is_let_in: false,
    },
    Attempt {
        what: "its own database, without TLS",
        variables: &[("PGSSLMODE", "disable")],
        query: WHO,
        answer: "pg_hba.conf rejects connection",
        is_let_in: false,
    },
    Attempt {
        what: "the superuser",
        variables: &[("PGUSER", "postgres"), ("PGDATABASE", "postgres")],
        query: WHO,
        answer: "pg_hba.conf rejects connection",
        is_let_in: false,
    },
    Attempt {
        what: "to change the schema, which is the owner's",
        variables: &[],
        query: "create table mine (id int)",
        answer: "permission denied for schema public",
        is_let_in: false,
    },
];

async fn run(context: &Context) -> Result<()> {
    let service = |database: &str| {
        json!({
            "kind": "Service",
            "image": "api",
            "database": database,
            "migrate": {},
            "produces": null,
            "secretEnv": null,
        })
    };
    let app = json!({
        "components": {
            "web": null,
            "worker": null,
            "backup": null,
            "api": service("orders"),
            "books": service("ledger"),
        },
        "databases": {"items": {"orders": {}, "ledger": {}}},
        "messaging": null,
        "traffic": null,
    });
    let stage = Stage::create(context, &[app]).await?;
    let _watch = stage.watch();
    stage.apply(json!({})).await?;
    stage.ready(Duration::from_secs(300)).await?;
    let mut wrong = 0;
    for attempt in &ATTEMPTS {
        let ended = stage.try_out(attempt).await?;
        let answer = telling_line(&ended.log);
        let is_right = ended.is_good == attempt.is_let_in && ended.log.contains(attempt.answer);
        let how = if ended.is_good { "let in" } else { "refused" };
        context
            .record
            .mark("api", format!("tries {}: {how}: {answer}", attempt.what));
        wrong += u32::from(!is_right);
    }
    ensure(wrong == 0, || {
        format!("{wrong} attempts ended otherwise than they should")
    })?;
    stage.remove().await
}

/// psql quotes the query below what is wrong with it.
fn telling_line(log: &str) -> &str {
    let mut lines = log.trim().lines();
    let error = lines.clone().find(|line| line.contains("ERROR"));
    error.or_else(|| lines.next_back()).unwrap_or_default()
}

impl Stage<'_> {
    /// Runs a query as `api` would, but for what the attempt says.
    async fn try_out(&self, attempt: &Attempt) -> Result<crate::e2e::tasks::Ended> {
        let deployment = objects::get(&self.api(DEPLOYMENT), "demo-api").await?;
        let pod =
            deployment.context("there is no Deployment demo-api")?["spec"]["template"]["spec"]
                .clone();
        let mut variables = libpq_variables(&pod);
        for (name, value) in attempt.variables {
            variables.retain(|(known, _)| known != name);
            variables.push(((*name).to_owned(), (*value).to_owned()));
        }
        let task = Task {
            name: "psql",
            image: self.image_of_postgresql().await?,
            command: ["psql", "-tAc", attempt.query].map(str::to_owned).into(),
            arguments: Vec::new(),
            variables,
            volumes: certificate(&pod)?,
        };
        self.start(&task).await?;
        self.end(task.name, PATIENCE).await
    }

    async fn image_of_postgresql(&self) -> Result<String> {
        let pods = self.api(POD);
        until("PostgreSQL has a pod", PATIENCE, async || {
            let pod = objects::get(&pods, "demo-db-1").await?;
            let image = pod.map(|pod| pod["spec"]["containers"][0]["image"].clone());
            Ok(image.and_then(|image| image.as_str().map(str::to_owned)))
        })
        .await
    }
}

/// The variables that the operator gives to a pod for its database.
fn libpq_variables(pod: &Value) -> Vec<(String, String)> {
    let all = pod["containers"][0]["env"].as_array();
    let named = all.into_iter().flatten().filter_map(|variable| {
        let (name, value) = (variable["name"].as_str()?, variable["value"].as_str()?);
        name.starts_with("PG")
            .then(|| (name.to_owned(), value.to_owned()))
    });
    named.collect()
}

/// The volume of the certificate, and where it is mounted.
fn certificate(pod: &Value) -> Result<Vec<(Value, String)>> {
    let find = |list: &Value| {
        let found = list
            .as_array()?
            .iter()
            .find(|item| item["name"] == "postgres");
        found.cloned()
    };
    let (volume, mount) = (
        find(&pod["volumes"]),
        find(&pod["containers"][0]["volumeMounts"]),
    );
    let (volume, mount) = volume.zip(mount).context("api has no certificate")?;
    let path = mount["mountPath"]
        .as_str()
        .context("the certificate is mounted nowhere")?;
    Ok(vec![(volume, path.to_owned())])
}
