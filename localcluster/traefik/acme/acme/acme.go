// Package acme and the packages beside it have the names of the ACME client that Traefik compiles against. Every request
// for a certificate fails: a cluster on one machine has no authority to ask.
package acme

import "errors"

// ErrNoClient is what every request ends with.
var ErrNoClient = errors.New("this build of Traefik has no ACME client: give it certificates in Secrets")

// Account is what an authority knows of a client.
type Account struct{}

// ExtendedAccount is an account and where it is.
type ExtendedAccount struct {
	Account

	Location string
}
