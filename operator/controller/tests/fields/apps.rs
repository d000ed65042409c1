//! Other values for the fields of a TodoApp, as merge patches of `spec` of the manifests.

use super::Change::{self, Changes, Silent};

/// For `traefik.yaml`.
pub const TRAEFIK: &[Change] = &[
    Changes("{components: {web: {port: 8082}}}"),
    Changes("{components: {web: {route: {host: other.NAME.example}}}}"),
    Changes("{components: {web: {route: {paths: [/other, /more]}}}}"),
    Changes("{components: {web: {probes: {port: 9092}}}}"),
    Changes("{components: {web: {probes: {startup: {path: /up}}}}}"),
    Changes("{components: {web: {probes: {startup: {periodSeconds: 4}}}}}"),
    Changes("{components: {web: {probes: {startup: {timeoutSeconds: 4}}}}}"),
    Changes("{components: {web: {probes: {startup: {failureThreshold: 41}}}}}"),
    Changes("{components: {web: {probes: {readiness: {path: /up}}}}}"),
    Changes("{components: {web: {probes: {readiness: {periodSeconds: 4}}}}}"),
    Changes("{components: {web: {probes: {readiness: {timeoutSeconds: 3}}}}}"),
    Changes("{components: {web: {probes: {readiness: {failureThreshold: 5}}}}}"),
    Changes("{components: {web: {probes: {liveness: {path: /up}}}}}"),
    Changes("{components: {web: {probes: {liveness: {periodSeconds: 21}}}}}"),
    Changes("{components: {web: {probes: {liveness: {timeoutSeconds: 5}}}}}"),
    Changes("{components: {web: {probes: {liveness: {failureThreshold: 6}}}}}"),
    Changes("{components: {web: {probes: null}}}"),
    Changes("{components: {web: {calls: null}}}"),
    Changes("{components: {web: {writable: [/tmp]}}}"),
    Changes("{components: {web: {resources: {limits: {memory: 65Mi}}}}}"),
    Changes("{components: {web: {resources: {requests: {cpu: 11m}}}}}"),
    Changes("{components: {web: {scaling: {min: 2}}}}"),
    Changes("{components: {web: {scaling: {max: 4}}}}"),
    Changes("{components: {web: {scaling: {cpu: 60}}}}"),
    Changes("{components: {web: {rollout: {strategy: Rolling}}}}"),
    Changes("{components: {web: {rollout: {steps: [20, 60]}}}}"),
    Changes("{components: {web: {rollout: {stepPause: 2s}}}}"),
    Changes("{components: {web: {rollout: {minReadySeconds: 2}}}}"),
    Changes("{components: {web: {rollout: {progressDeadline: 6m}}}}"),
    Changes("{components: {web: {rollout: {analysis: {success: '98'}}}}}"),
    Changes("{components: {web: {rollout: {analysis: {latency: 300ms}}}}}"),
    Changes("{components: {web: {rollout: {analysis: {disabled: true}}}}}"),
    Changes("{components: {worker: {kind: Service}}}"),
    Changes(
        "{components: {worker: {image: server}}, release: {images: [{component: web, image: 'registry.example/web:1.0.0'}, {component: server, image: 'registry.example/server:1.0.0'}]}}",
    ),
    Changes("{components: {worker: {environments: [elsewhere]}}}"),
    Changes("{components: {api: {args: [serve]}}}"),
    Changes("{components: {api: {protocol: http}}}"),
    Changes("{components: {api: {database: audit-log}}}"),
    Changes("{components: {api: {migrate: {args: [up]}}}}"),
    Changes("{components: {api: {produces: [updates]}}}"),
    Changes("{components: {api: {env: {GREETING: good day}}}}"),
    Changes("{components: {api: {secretEnv: {TOKEN: {secret: other}}}}}"),
    Changes("{components: {api: {secretEnv: {TOKEN: {key: other}}}}}"),
    Changes("{components: {api: {secretEnv: {TOKEN: {optional: false}}}}}"),
    Changes("{components: {api: {secretFiles: {target: {secret: other}}}}}"),
    Changes("{components: {api: {secretFiles: {target: {path: /etc/other}}}}}"),
    Changes("{components: {api: {secretFiles: {target: {keys: [key, other]}}}}}"),
    Changes(
        "{components: {worker: {consumes: {task-events: {broadcast: true}}, scaling: {lag: null, max: null}}}}",
    ),
    Changes(
        "{components: {worker: {egress: [{cidr: 10.1.0.0/16, ports: [443]}, {namespace: mail}]}}}",
    ),
    Changes(
        "{components: {worker: {egress: [{cidr: 10.0.0.0/8, ports: [444]}, {namespace: mail}]}}}",
    ),
    Changes(
        "{components: {worker: {egress: [{cidr: 10.0.0.0/8, ports: [443]}, {namespace: post}]}}}",
    ),
    Changes("{components: {worker: {scaling: {lag: 90}}}}"),
    Changes("{components: {backup: {schedule: {cron: '5 4 * * *'}}}}"),
    Changes("{components: {backup: {schedule: {timeZone: Europe/Paris}}}}"),
    Changes("{components: {backup: {schedule: {concurrency: Allow}}}}"),
    Changes("{components: {backup: {schedule: {suspend: false}}}}"),
    Changes("{components: {backup: {schedule: {timeout: 31m}}}}"),
    Changes("{messaging: {clientSecret: other}}"),
    Changes("{messaging: {topics: {task-events: {config: {retention.ms: '1000'}}}}}"),
    Changes("{databases: {cluster: {instances: 3}}}"),
    Changes("{databases: {cluster: {image: 'ghcr.io/cloudnative-pg/postgresql:18.5'}}}"),
    Changes("{databases: {cluster: {storageClass: slow}}}"),
    Changes("{databases: {cluster: {parameters: {max_connections: '201'}}}}"),
    Changes("{databases: {cluster: {resources: {requests: {cpu: 11m}}}}}"),
    Changes("{databases: {cluster: {resources: {limits: {memory: 129Mi}}}}}"),
    Changes("{deletionPolicy: Delete}"),
    Changes("{traffic: {host: next.NAME.example}}"),
    Changes("{traffic: {router: None}}"),
    Changes("{traffic: {tls: {secret: other}}}"),
    Changes("{traffic: {tls: {secret: null, issuer: authority}}}"),
    Changes("{traffic: {timeouts: {request: 11s}}}"),
    Changes("{traffic: {retries: {attempts: 4}}}"),
    Changes("{traffic: {retries: {initialInterval: 200ms}}}"),
    Changes("{traffic: {circuitBreaker: {errorPercent: 31}}}"),
    Changes("{traffic: {circuitBreaker: {openFor: 21s}}}"),
    Changes("{traffic: {headerRouting: {name: X-Next}}}"),
    Changes("{traffic: {headerRouting: {value: never}}}"),
    Changes("{release: {config: {api: {PAGE_SIZE: '51'}}}}"),
    Changes(
        "{release: {images: [{component: web, image: 'registry.example/web:1.0.1'}, {component: server, image: 'registry.example/server:1.0.0'}, {component: worker, image: 'registry.example/worker:1.0.0'}]}}",
    ),
    // The same images under another key are the same pods.
    Silent(
        "{components: {api: {image: backend}, backup: {image: backend}}, release: {images: [{component: web, image: 'registry.example/web:1.0.0'}, {component: backend, image: 'registry.example/server:1.0.0'}, {component: worker, image: 'registry.example/worker:1.0.0'}]}}",
    ),
    // A name for people.
    Silent("{release: {version: 1.0.0-again}}"),
    // What the next migration gets: one that ran is not run again for it.
    Silent("{components: {api: {migrate: {timeout: 6m}}}}"),
    Silent("{components: {api: {migrate: {retries: 3}}}}"),
    // What a promotion asks.
    Silent("{components: {api: {migrate: {irreversible: false}}}}"),
    // What is judged by the canary alone, and this component has none.
    Silent("{components: {worker: {consumes: {task-events: {lag: 400}}}}}"),
    // What the operator does itself.
    Silent("{readyDeadline: 6m}"),
    Silent("{messaging: {topics: {updates: {allowPartitionGrowth: false}}}}"),
    // For a router that has a time limit for each try, and one that injects faults.
    Silent("{traffic: {timeouts: {backend: 4s}}}"),
    Silent("{traffic: {faults: {delayPercent: 5, delay: 1s, abortPercent: 5, abortCode: 503}}}"),
];

/// For `gateway.yaml`.
pub const GATEWAY: &[Change] = &[
    Changes("{components: {worker: {consumes: {task-events: {lag: 101}}}}}"),
    Changes("{components: {web: {kind: Worker, route: null}}}"),
    Changes("{messaging: {topics: {task-events: {replicas: 2}}}}"),
    Changes("{messaging: {topics: {task-events: {config: {retention.ms: '1000'}}}}}"),
    Changes("{databases: {items: {tasks: {cluster: {instances: 3}}}}}"),
    Changes(
        "{databases: {items: {tasks: {cluster: {image: 'ghcr.io/cloudnative-pg/postgresql:18.5'}}}}}",
    ),
    Changes("{databases: {items: {tasks: {cluster: {storageClass: slow}}}}}"),
    Changes("{databases: {items: {tasks: {cluster: {parameters: {work_mem: 9MB}}}}}}"),
    Changes("{databases: {items: {tasks: {cluster: {resources: {requests: {cpu: 11m}}}}}}}"),
    Changes("{databases: {items: {tasks: {cluster: {resources: {limits: {memory: 129Mi}}}}}}}"),
    Changes("{databases: {cluster: {instances: 2}}}"),
    Changes("{traffic: {host: next.NAME.example}}"),
    Changes("{traffic: {timeouts: {request: 11s}}}"),
    Changes("{traffic: {timeouts: {backend: 4s}}}"),
];

/// For `external.yaml`.
pub const EXTERNAL: &[Change] = &[
    Changes("{databases: {items: {tasks: {external: {host: other.NAME.example}}}}}"),
    Changes("{databases: {items: {tasks: {external: {port: 5434}}}}}"),
    Changes("{databases: {items: {tasks: {external: {database: other}}}}}"),
    Changes("{databases: {items: {tasks: {external: {sslMode: require}}}}}"),
    Changes("{databases: {items: {tasks: {external: {caSecret: other}}}}}"),
    Changes("{databases: {items: {tasks: {external: {cidr: 192.0.2.11/32}}}}}"),
    Changes("{databases: {items: {tasks: {external: {app: {user: other}}}}}}"),
    // What the next migration gets: one that ran is not run again for it.
    Silent("{databases: {items: {tasks: {external: {owner: {user: other}}}}}}"),
    Silent("{databases: {items: {tasks: {external: {owner: {password: {secret: other}}}}}}}"),
    Silent("{databases: {items: {tasks: {external: {owner: {password: {key: other}}}}}}}"),
    Silent("{databases: {items: {tasks: {external: {owner: {password: {optional: true}}}}}}}"),
    Changes("{databases: {items: {tasks: {external: {app: {password: {secret: other}}}}}}}"),
    Changes("{databases: {items: {tasks: {external: {app: {password: {key: other}}}}}}}"),
    Changes("{databases: {items: {tasks: {external: {app: {password: {optional: false}}}}}}}"),
];

/// Changes that cannot be taken back, with the refusal of the way back. Each is made at the end, once.
pub const ONE_WAY: &[(&str, &str)] = &[
    (
        "{messaging: {topics: {task-events: {partitions: 7, allowPartitionGrowth: true}}}}",
        "partitions never shrink",
    ),
    (
        "{databases: {items: {tasks: {cluster: {storage: 3Gi}}}}}",
        "storage never shrinks",
    ),
    (
        "{databases: {items: {tasks: {cluster: {walStorage: 2Gi}}}}}",
        "walStorage never shrinks",
    ),
    (
        "{databases: {cluster: {storage: 3Gi}}}",
        "storage never shrinks",
    ),
    (
        "{databases: {cluster: {walStorage: 2Gi}}}",
        "walStorage never shrinks",
    ),
];

/// Changes that are refused at once.
pub const REFUSED: &[(&str, &str)] =
    &[("{databases: {topology: Shared}}", "topology cannot change")];
