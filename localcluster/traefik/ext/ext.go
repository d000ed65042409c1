// Package ext holds the options that Traefik's vendor adds to HTTP settings. Here, as upstream, there are none.
package ext

// HTTP adds to a router's and service's common settings.
type HTTP struct{}

// Router adds to a router's settings.
type Router struct{}
