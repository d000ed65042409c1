// Package challenge is how a client shows that a name is its own.
package challenge

import "context"

// Provider answers a challenge and clears up behind it.
type Provider interface {
	Present(ctx context.Context, domain, token, keyAuth string) error
	CleanUp(ctx context.Context, domain, token, keyAuth string) error
}
