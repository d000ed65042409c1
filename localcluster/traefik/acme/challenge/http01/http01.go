// Package http01 is the challenge by HTTP.
package http01

import "time"

// PathPrefix is where challenges are asked for (RFC 8555, 8.3).
const PathPrefix = "/.well-known/acme-challenge/"

// SetDelay is no option.
func SetDelay(time.Duration) func() { return nil }
