# syntax=docker/dockerfile:1
# The images of releases, on Wolfi: https://github.com/wolfi-dev.
#   docker build --target operator -t todo-operator:v0.1.0 .
#   docker build --target demo -t todo-demo:v0.1.0 .
#
# Both images below are rebuilt each day under the same tag. A release names them by digest, so that it can be built again:
#   --build-arg BUILD_IMAGE=cgr.dev/chainguard/rust:latest-dev@sha256:…
#   --build-arg BASE_IMAGE=cgr.dev/chainguard/glibc-dynamic:latest@sha256:…
# with what `docker buildx imagetools inspect --format '{{.Manifest.Digest}}' IMAGE` says, both from one day: the libraries are
# copied from the first to the second, and must not ask for a newer glibc. The release workflow does that.
ARG BUILD_IMAGE=cgr.dev/chainguard/rust:latest-dev
ARG BASE_IMAGE=cgr.dev/chainguard/glibc-dynamic:latest

FROM ${BUILD_IMAGE} AS source
USER root
# What librdkafka is compiled with and linked to.
RUN apk add --no-cache bash build-base cmake openssl-dev perl pkgconf zlib-dev
ENV CARGO_HOME=/root/.cargo
# `program PACKAGE BINARY` puts a program and the libraries that it is linked with into /root-of-image.
COPY --chmod=755 <<'SCRIPT' /usr/local/bin/program
#!/bin/bash
set -euo pipefail
cargo build --release --locked --package "$1" --bin "$2"
mkdir -p /root-of-image/usr/lib
cp "target/release/$2" /root-of-image/
ldd "target/release/$2" | awk '$1 ~ /^lib(ssl|crypto|z)\.so/ {print $3}' | xargs -I {} cp -L {} /root-of-image/usr/lib/
SCRIPT
WORKDIR /source
COPY . .

FROM source AS build-operator
RUN --mount=type=cache,target=/root/.cargo/registry --mount=type=cache,target=/source/target \
    program todo-operator-controller todo-operator

FROM source AS build-demo
RUN --mount=type=cache,target=/root/.cargo/registry --mount=type=cache,target=/source/target \
    program todo-demo demo

FROM ${BASE_IMAGE} AS image
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.source="https://todo-operator.dev" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
EXPOSE 8080
# By number, so that Kubernetes can see that it is not root.
USER 65532:65532

FROM image AS demo
LABEL org.opencontainers.image.title="todo-demo" \
      org.opencontainers.image.description="A service to demonstrate the operator with: it can err, be slow, and never be ready"
COPY --from=build-demo /root-of-image/ /
# Fails if a library is missing.
RUN ["/demo", "--version"]
ENTRYPOINT ["/demo"]

# The last is what is built where no target is named.
FROM image AS operator
LABEL org.opencontainers.image.title="todo-operator" \
      org.opencontainers.image.description="A Kubernetes operator for event-driven applications"
COPY --from=build-operator /root-of-image/ /
RUN ["/todo-operator", "--version"]
ENTRYPOINT ["/todo-operator"]
