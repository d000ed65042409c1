// Package dns01 is the challenge by DNS record.
package dns01

import (
	"strings"
	"time"
)

// Options are the client's.
type Options struct {
	RecursiveNameservers []string
}

// Client looks records up.
type Client struct{}

// NewClient looks nothing up.
func NewClient(*Options) *Client { return &Client{} }

// SetDefaultClient changes nothing.
func SetDefaultClient(*Client) {}

// ChallengeOption says how long to wait for a record, and whose answer counts.
type ChallengeOption func()

// CondOptions is none.
func CondOptions(bool, ...ChallengeOption) ChallengeOption { return nil }

// DisableAuthoritativeNssPropagationRequirement is none.
func DisableAuthoritativeNssPropagationRequirement() ChallengeOption { return nil }

// DisableRecursiveNSsPropagationRequirement is none.
func DisableRecursiveNSsPropagationRequirement() ChallengeOption { return nil }

// PropagationWait is none.
func PropagationWait(time.Duration, bool) ChallengeOption { return nil }

// UnFqdn removes the dot at the end. Traefik also needs it for certificates that are not from an authority.
func UnFqdn(name string) string { return strings.TrimSuffix(name, ".") }
