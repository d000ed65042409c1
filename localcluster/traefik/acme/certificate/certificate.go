// Package certificate asks for certificates.
package certificate

import (
	"context"

	"github.com/go-acme/lego/v5/acme"
	"github.com/go-acme/lego/v5/certcrypto"
)

// Resource is a certificate with its key.
type Resource struct {
	ID          string
	Domains     []string
	Certificate []byte
	PrivateKey  []byte
}

// ObtainRequest is what a first certificate shall be.
type ObtainRequest struct {
	Domains          []string
	EmailAddresses   []string
	KeyType          certcrypto.KeyType
	Bundle           bool
	MustStaple       bool
	EnableCommonName bool
	Profile          string
	PreferredChain   string
}

// RenewOptions is what a next certificate shall be.
type RenewOptions struct {
	EmailAddresses   []string
	Bundle           bool
	MustStaple       bool
	EnableCommonName bool
	Profile          string
	PreferredChain   string
}

// Certifier asks.
type Certifier struct{}

// Obtain asks for a first certificate.
func (*Certifier) Obtain(context.Context, ObtainRequest) (*Resource, error) {
	return nil, acme.ErrNoClient
}

// Renew asks for a next certificate.
func (*Certifier) Renew(context.Context, Resource, *RenewOptions) (*Resource, error) {
	return nil, acme.ErrNoClient
}
