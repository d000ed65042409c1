//! Names, labels and annotations: the contract between operator, components and people.

/// Field manager of every server-side apply.
pub const FIELD_MANAGER: &str = "todo-operator";
/// `app.kubernetes.io/name`: the component.
pub const LABEL_NAME: &str = "app.kubernetes.io/name";
/// `app.kubernetes.io/part-of`: the TodoApp.
pub const LABEL_PART_OF: &str = "app.kubernetes.io/part-of";
/// `app.kubernetes.io/managed-by`: always [`FIELD_MANAGER`]; what the operator's watches select.
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The TodoApp; with [`LABEL_COMPONENT`] the only label that selectors use.
pub const LABEL_APP: &str = "todo-operator.dev/app";
/// The component.
pub const LABEL_COMPONENT: &str = "todo-operator.dev/component";
/// The TodoEnvironment, on what it owns and on children outside the application's namespace.
pub const LABEL_ENVIRONMENT: &str = "todo-operator.dev/environment";
/// The application's namespace, on children outside of it.
pub const LABEL_NAMESPACE: &str = "todo-operator.dev/namespace";
/// What a pod or Job is for where it is not a component's own: `migrate`.
pub const LABEL_ROLE: &str = "todo-operator.dev/role";
/// Hash of the pod inputs that a workload was last rendered from.
pub const ANNOTATION_INPUTS: &str = "todo-operator.dev/inputs";
/// Generation of a Rollout that Argo Rollouts had overlooked: any event makes it look again.
pub const ANNOTATION_OVERLOOKED: &str = "todo-operator.dev/overlooked";
/// Says that a namespace without this environment's label may be taken over.
pub const ANNOTATION_ADOPT: &str = "todo-operator.dev/adopt";
/// Finalizer of a TodoApp that has something to clean up which garbage collection cannot reach.
pub const FINALIZER: &str = "todo-operator.dev/cleanup";
/// Label that Argo Rollouts adds to pods and to the selectors of stable and canary Services.
pub const ROLLOUTS_POD_TEMPLATE_HASH: &str = "rollouts-pod-template-hash";
/// Port name of a component's own port.
pub const PORT_HTTP: &str = "http";
/// Admin port of every component: probes and metrics.
pub const ADMIN_PORT: i32 = 9090;
/// Default port of a Service or Site.
pub const DEFAULT_PORT: i32 = 8080;
/// Port of Services in front of a component.
pub const SERVICE_PORT: i32 = 80;

/// `<app>-<component>`: the name of a component's workload, Service and ServiceAccount.
pub fn component(app: &str, component: &str) -> String {
    format!("{app}-{component}")
}

/// Service of the stable version of a routed canary.
pub fn stable(app: &str, component: &str) -> String {
    format!("{app}-{component}-stable")
}

/// Service of the canary of a routed canary.
pub fn canary(app: &str, component: &str) -> String {
    format!("{app}-{component}-canary")
}

/// A topic's name in Kafka: three stages can share one Kafka.
pub fn physical_topic(namespace: &str, topic: &str) -> String {
    format!("{namespace}.{topic}")
}

/// The consumer group of a component.
pub fn consumer_group(namespace: &str, component: &str) -> String {
    format!("{namespace}.{component}")
}

/// The dead-letter topic of a consumer group.
pub fn dead_letter_topic(namespace: &str, component: &str) -> String {
    format!("{namespace}.{component}.dlq")
}

/// The CloudNativePG cluster of an application's shared databases.
pub fn shared_cluster(app: &str) -> String {
    format!("{app}-db")
}

/// The CloudNativePG cluster of one dedicated database.
pub fn dedicated_cluster(app: &str, database: &str) -> String {
    format!("{app}-{database}")
}

/// PostgreSQL identifier of a database: dashes are not allowed unquoted.
pub fn sql_name(database: &str) -> String {
    database.replace('-', "_")
}

/// PostgreSQL role that owns a database and runs its migrations.
pub fn owner_role(database: &str) -> String {
    format!("{}_owner", sql_name(database))
}

/// PostgreSQL role of the pods.
pub fn app_role(database: &str) -> String {
    format!("{}_app", sql_name(database))
}

/// Environment-variable form of a name: `task-events` is `TASK_EVENTS`.
pub fn variable(name: &str) -> String {
    name.to_ascii_uppercase().replace(['-', '.'], "_")
}
