//! Other values for the fields of a TodoEnvironment, as merge patches of `spec` of the manifests.

use super::Change::{self, Changes, Silent};

/// For `traefik-environment.yaml`, under an application that leaves as much as it can to its environment.
pub const TRAEFIK: &[Change] = &[
    Changes("{stage: other}"),
    Changes("{defaults: {resources: {requests: {cpu: 6m}}}}"),
    Changes("{defaults: {resources: {limits: {memory: 65Mi}}}}"),
    Changes("{defaults: {scaling: {min: 2}}}"),
    Changes("{defaults: {scaling: {max: 3, cpu: 50}}}"),
    Changes("{defaults: {scaling: {max: 3, lag: 50}}}"),
    Changes("{defaults: {rollout: {strategy: Canary}}}"),
    Changes(
        "{defaults: {rollout: {strategy: Canary, steps: [50], stepPause: 2s, analysis: {success: '98', latency: 1s}}}}",
    ),
    Changes("{defaults: {rollout: {strategy: Canary, analysis: {disabled: true}}}}"),
    Changes("{defaults: {rollout: {progressDeadline: 6m}}}"),
    Changes("{defaults: {rollout: {minReadySeconds: 3}}}"),
    Changes("{defaults: {router: None}}"),
    Changes("{defaults: {databaseInstances: 2}}"),
    Changes("{variables: {'*': {LOG_LEVEL: info}}}"),
    Changes("{policy: {quota: {pods: '61'}}}"),
    Changes("{policy: {limitRange: {default: {memory: 129Mi}}}}"),
    Changes("{policy: {limitRange: {defaultRequest: {cpu: 11m}}}}"),
    Changes("{policy: {limitRange: {max: {memory: 5Gi}}}}"),
    Changes("{policy: {network: {disabled: true}}}"),
    Changes("{policy: {network: {ingressNamespace: other}}}"),
    Changes("{policy: {network: {monitoringNamespace: other}}}"),
    Changes("{policy: {network: {kafkaNamespace: other}}}"),
    Changes("{policy: {network: {kafkaCidrs: [192.0.2.0/25]}}}"),
    Changes("{policy: {network: {databaseOperatorNamespace: other}}}"),
    Changes("{policy: {network: {telemetryNamespace: other}}}"),
    Changes("{policy: {podSecurity: restricted}}"),
    Changes("{messaging: {bootstrapServers: 'other:9092'}}"),
    Changes("{messaging: {clientSecret: other}}"),
    Changes("{telemetry: {otlpEndpoint: 'http://other:4317'}}"),
    Changes("{traffic: {entryPoints: [web]}}"),
    // What decides about an application, but makes nothing.
    Silent("{policy: {allowedRegistries: [registry.example, ghcr.io, other.example]}}"),
    Silent("{policy: {allowFaults: false}}"),
    Silent("{defaults: {readyDeadline: 6m}}"),
    // What is for topics that are made anew.
    Silent("{messaging: {adminBootstrapServers: LOCALHOST}}"),
    // What comes later: promotion, delivery, previews.
    Silent(
        "{source: {repository: 'https://git.example/config', branch: trunk, path: environments/other, credential: git, argocd: {namespace: argocd, application: other}}}",
    ),
    Silent("{delivery: PullRequest}"),
    Silent("{sync: Manual}"),
    Silent(
        "{promotion: {from: elsewhere, deadline: 20m, onFailure: Hold, trigger: {type: Tag, pattern: 'v*'}}}",
    ),
    Silent(
        "{promotion: {gates: {soak: 5m, analysis: [{name: errors, query: up, condition: result > 0}], smokeTest: {image: server, args: [smoke], timeout: 1m}, approvals: {required: 1, groups: [leads], identities: {a@example.com: ann}}, windows: [{cron: '0 9 * * *', duration: 2h, timeZone: Europe/Berlin}]}}}",
    ),
    Silent("{preview: {branches: 'feature/*', ttl: 1d, max: 3}}"),
];

/// For `gateway-environment.yaml`.
pub const GATEWAY: &[Change] = &[
    Changes("{analysis: {prometheus: 'http://other:9090'}}"),
    Changes("{analysis: {delay: 2m}}"),
    Changes("{analysis: {interval: 40s}}"),
    Changes("{analysis: {window: 3m}}"),
    Changes("{traffic: {gateway: {name: other}}}"),
    Changes("{traffic: {gateway: {namespace: other}}}"),
    Changes("{traffic: {gateway: {sectionName: other}}}"),
    Changes("{messaging: {securityProtocol: SASL_SSL, saslMechanism: PLAIN}}"),
    Changes("{messaging: {strimzi: {cluster: other}}}"),
    Changes("{defaults: {topicReplicas: 2}}"),
    Silent("{messaging: {adminCredential: other}}"),
];

/// Changes that are refused at once.
pub const REFUSED: &[(&str, &str)] = &[(
    "{namespace: elsewhere}",
    "an environment's namespace cannot change",
)];

/// Fields whose other values leave something behind that the way back does not take, or need images by digest; tested
/// where that is the subject.
pub const ELSEWHERE: &[&str] = &[
    // KafkaTopics in another namespace, or a topic made by somebody else: retained, as everything that holds data.
    "spec.messaging.strimzi.namespace",
    "spec.messaging.provider",
    // `bad_input`.
    "spec.policy.requireDigests",
];
