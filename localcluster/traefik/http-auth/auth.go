// Package auth has the names of the HTTP authentication library that Traefik's middlewares call. Nobody is let in:
// a cluster for tests has no passwords to check, and a mistake must not open a door.
package auth

import "net/http"

// SecretProvider looks a user's secret up.
type SecretProvider func(user, realm string) string

// CheckSecret compares a password with a secret.
func CheckSecret(_, _ string) bool { return false }

// BasicAuth is the basic scheme.
type BasicAuth struct {
	Realm   string
	Secrets SecretProvider
}

// RequireAuth turns a request away.
func (*BasicAuth) RequireAuth(w http.ResponseWriter, _ *http.Request) { refuse(w) }

// DigestAuth is the digest scheme.
type DigestAuth struct{}

// NewDigestAuthenticator is for the middleware's constructor.
func NewDigestAuthenticator(string, SecretProvider) *DigestAuth { return &DigestAuth{} }

// CheckAuth names no user.
func (*DigestAuth) CheckAuth(*http.Request) (string, *string) { return "", nil }

// RequireAuth turns a request away.
func (*DigestAuth) RequireAuth(w http.ResponseWriter, _ *http.Request) { refuse(w) }

// RequireAuthStale turns a request with an old nonce away.
func (*DigestAuth) RequireAuthStale(w http.ResponseWriter, _ *http.Request) { refuse(w) }

// DigestAuthParams reads a header.
func DigestAuthParams(string) map[string]string { return nil }

func refuse(w http.ResponseWriter) {
	http.Error(w, "this build of Traefik has no authentication library", http.StatusUnauthorized)
}
