// Package lego is the client.
package lego

import (
	"crypto/x509"
	"net/http"
	"time"

	"github.com/go-acme/lego/v5/acme"
	"github.com/go-acme/lego/v5/certificate"
	"github.com/go-acme/lego/v5/challenge"
	"github.com/go-acme/lego/v5/challenge/dns01"
	"github.com/go-acme/lego/v5/registration"
)

// DirectoryURLLetsEncrypt is the default authority: none.
const DirectoryURLLetsEncrypt = "https://acme.invalid/directory"

// Config is the client's.
type Config struct {
	CADirURL    string
	UserAgent   string
	HTTPClient  *http.Client
	Certificate struct{ Timeout time.Duration }
}

// Client asks an authority. There is none of it, for NewClient fails.
type Client struct {
	Certificate  *certificate.Certifier
	Challenge    Solvers
	Registration *registration.Registrar
}

// NewConfig is empty.
func NewConfig(any) *Config { return &Config{} }

// NewClient fails.
func NewClient(*Config) (*Client, error) { return nil, acme.ErrNoClient }

// CreateCertPool fails.
func CreateCertPool([]string, bool) (*x509.CertPool, error) { return nil, acme.ErrNoClient }

// Solvers are the ways to answer challenges.
type Solvers struct{}

// SetDNS01Provider fails.
func (Solvers) SetDNS01Provider(challenge.Provider, ...dns01.ChallengeOption) error {
	return acme.ErrNoClient
}

// SetHTTP01Provider fails.
func (Solvers) SetHTTP01Provider(challenge.Provider, func()) error { return acme.ErrNoClient }

// SetTLSALPN01Provider fails.
func (Solvers) SetTLSALPN01Provider(challenge.Provider, func()) error { return acme.ErrNoClient }
