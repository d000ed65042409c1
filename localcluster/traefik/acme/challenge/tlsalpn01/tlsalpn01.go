// Package tlsalpn01 is the challenge by TLS handshake.
package tlsalpn01

import (
	"time"

	"github.com/go-acme/lego/v5/acme"
)

// ACMETLS1Protocol is the protocol by which Traefik's routers tell challenges from other connections (RFC 8737, 3).
const ACMETLS1Protocol = "acme-tls/1"

// ChallengeBlocks makes the challenge's certificate and key.
func ChallengeBlocks(_, _ string) ([]byte, []byte, error) { return nil, nil, acme.ErrNoClient }

// SetDelay is no option.
func SetDelay(time.Duration) func() { return nil }
