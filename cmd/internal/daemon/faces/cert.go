package faces

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share/registry/diskfile"
)

const (
	certName  = "webdav.pem"         // in the state folder: the key and the certificate
	certLife  = 800 * 24 * time.Hour // Apple's systems trust none that lasts longer than 825 days
	certRenew = 30 * 24 * time.Hour  // before its end
	maxNames  = 64                   // addresses in one
)

// certificate is what listeners that other computers reach show, and its SHA-256 in hex. It is made once and kept, so that who
// trusted it does so again. One that does not name where it is listened is made anew, with what it did name: a computer that goes
// between two networks soon has one for both.
func (t *Table) certificate(at net.Addr) (tls.Certificate, string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	path, names := filepath.Join(t.cfg.State, certName), addresses()
	text, err := os.ReadFile(path)
	if err == nil {
		if cert, err := tls.X509KeyPair(text, text); err == nil {
			if time.Until(cert.Leaf.NotAfter) > certRenew && cert.Leaf.NotAfter.Sub(cert.Leaf.NotBefore) <= certLife+time.Hour && covers(cert.Leaf, at) {
				return cert, fingerprint(cert), nil
			}
			names = together(names, cert.Leaf.IPAddresses)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return tls.Certificate{}, "", &peer.Error{Op: "read certificate", Path: path, Kind: peer.Other, Err: err}
	}
	if text, err = newCertificate(time.Now(), names); err != nil {
		return tls.Certificate{}, "", err
	}
	cert, err := tls.X509KeyPair(text, text)
	if err != nil {
		return cert, "", err
	}
	return cert, fingerprint(cert), diskfile.Write(path, text)
}

// together are the addresses of now, and as many of those of before as have room beside them.
func together(now, before []net.IP) []net.IP {
	for _, ip := range before {
		if len(now) < maxNames && !slices.ContainsFunc(now, ip.Equal) {
			now = append(now, ip)
		}
	}
	return now
}

func fingerprint(cert tls.Certificate) string {
	sum := sha256.Sum256(cert.Certificate[0])
	return hex.EncodeToString(sum[:])
}

// addresses are those of this computer.
func addresses() (ips []net.IP) {
	all, _ := net.InterfaceAddrs() // without them the certificate names none
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && (n.IP.IsGlobalUnicast() || n.IP.IsLoopback()) {
			ips = append(ips, n.IP)
		}
	}
	return ips
}

// covers reports whether a certificate names an address to listen at; where that stands for all of this computer's, every IPv4 one:
// those of IPv6 change daily.
func covers(cert *x509.Certificate, at net.Addr) bool {
	named := func(ip net.IP) bool { return slices.ContainsFunc(cert.IPAddresses, ip.Equal) }
	if tcp, ok := at.(*net.TCPAddr); ok && !tcp.IP.IsUnspecified() {
		return named(tcp.IP)
	}
	return !slices.ContainsFunc(addresses(), func(ip net.IP) bool { return ip.To4() != nil && !named(ip) })
}

// newCertificate makes a key and a certificate for it, as PEM.
func newCertificate(now time.Time, ips []net.IP) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	form := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "peerd on " + host}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IPAddresses: ips, DNSNames: []string{host, "localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return slices.Concat(
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
	), nil
}
