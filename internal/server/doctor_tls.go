package server

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"time"

	"github.com/provender-dev/provender/internal/checkup"
)

// expiryNotice is how long before its end a certificate is warned of.
const expiryNotice = 30 * 24 * time.Hour

// lookAtTLS looks at the certificates that a server would show, and at those that it would take clients by.
func (d *doctor) lookAtTLS(context.Context) []checkup.Check {
	files, err := openTLS(d.Dir, d.Config.Server.TLS, d.logger)
	switch {
	case err != nil:
		return []checkup.Check{checkup.Failed("certificate", err)}
	case files == nil:
		return nil
	}
	found := []checkup.Check{d.certificates("certificate", files.cert)}
	if files.clientCA != "" {
		found = append(found, d.certificates("authorities of clients", files.clientCA))
	}
	return found
}

// certificates tells of the one in a file that ends first.
func (d *doctor) certificates(name, path string) checkup.Check {
	c := checkup.Check{Name: name, State: checkup.OK}
	raw, err := os.ReadFile(path)
	if err != nil {
		return checkup.Failed(name, err)
	}
	var first *x509.Certificate
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		one, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return checkup.Failed(name, fmt.Errorf("%s: %w", path, err))
		}
		if first == nil || one.NotAfter.Before(first.NotAfter) {
			first = one
		}
		if d.now().Before(one.NotBefore) {
			return checkup.Check{
				Name: name, State: checkup.Error, Text: fmt.Sprintf("%s: %s is good from %s on", path, one.Subject, one.NotBefore.UTC().Format(time.RFC3339)),
				Fix: "check the clocks of this machine and of whoever signed it",
			}
		}
	}
	if first == nil {
		return checkup.Check{Name: name, State: checkup.Error, Text: path + " holds no certificate in PEM", Fix: "put one there"}
	}
	left := first.NotAfter.Sub(d.now())
	c.Text = fmt.Sprintf("%s: %s is good until %s", path, first.Subject, first.NotAfter.UTC().Format(time.RFC3339))
	switch {
	case left <= 0:
		c.State = checkup.Error
		c.Text = fmt.Sprintf("%s: %s was good until %s: connections fail", path, first.Subject, first.NotAfter.UTC().Format(time.RFC3339))
	case left < expiryNotice:
		c.State = checkup.Warning
		c.Text += fmt.Sprintf(", for %d days", int(left.Hours())/24)
	}
	if c.State != checkup.OK {
		c.Fix = "renew it, and put it in the place of this file: a server that runs sees it within a second"
	}
	return c
}
