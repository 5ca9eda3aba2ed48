package listen

import (
	"crypto/tls"
	"slices"

	"github.com/gatehouse-sec/gatehouse/listen/devca"
)

// development shows the development CA's certificate, for the names of this machine only.
type development struct{ ca *devca.CA }

func (d development) covers(name string) bool {
	return name == "" || slices.Contains(devca.Names(), name)
}

func (d development) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return d.ca.Certificate()
}

func (d development) inventory() []CertInfo {
	c, err := d.ca.Certificate()
	if err != nil {
		return nil
	}
	return []CertInfo{describe(c.Leaf, "development")}
}
