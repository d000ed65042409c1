// The packages that the peers' custom resource definitions are read from. Nothing here is
// compiled: the modules are downloaded, checked against go.sum, and their YAML files are read.
module todo-operator.dev/localcluster/crds

go 1.26.0

require (
	github.com/argoproj/argo-cd/v3 v3.2.11
	github.com/cert-manager/cert-manager v1.21.1
	github.com/cloudnative-pg/cloudnative-pg v1.30.0
	github.com/cloudnative-pg/plugin-barman-cloud v0.14.0
	github.com/dapr/dapr v1.18.2
	github.com/kedacore/keda/v2 v2.20.2
	github.com/prometheus-operator/prometheus-operator v0.93.0
	github.com/traefik/traefik/v3 v3.7.13
	istio.io/api v1.30.3
	sigs.k8s.io/gateway-api v1.6.1
)
