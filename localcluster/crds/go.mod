// The packages that custom resource definitions are read from, of peers that are not built. Nothing here is
// compiled: the modules are downloaded, checked against go.sum, and their YAML files are read.
module todo-operator.dev/localcluster/crds

go 1.26.0

require (
	github.com/cert-manager/cert-manager v1.21.1
	github.com/cloudnative-pg/plugin-barman-cloud v0.14.0
	github.com/dapr/dapr v1.18.2
	github.com/prometheus-operator/prometheus-operator v0.93.0
	istio.io/api v1.30.3
	sigs.k8s.io/gateway-api v1.6.1
)
