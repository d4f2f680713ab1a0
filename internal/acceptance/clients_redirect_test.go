//go:build clients

package acceptance

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	randv2 "math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Names that clients of the AI Horde have built in, and one that SillyTavern reads a list from.
var hordeHosts = []string{"aihorde.net", "www.aihorde.net", "stablehorde.net"}

const listHost = "raw.githubusercontent.com"

// A redirection is what a client process needs to meet a handler in place of the AI Horde:
// a hosts file and a certificate authority.
type redirection struct{ hosts, ca string }

// redirect serves the horde's names with TLS on a loopback address of the test's own, on the
// port that clients use. That needs root, as do mount namespaces.
func redirect(t *testing.T, horde http.Handler) redirection {
	t.Helper()
	listener := listen443(t)
	ca, certificate := authority(t, append([]string{listHost}, hordeHosts...))
	mux := http.NewServeMux()
	mux.HandleFunc(listHost+"/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, "{}") // no text model is described
	})
	mux.Handle("/", horde)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}}))
	}()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	host, _, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	names := strings.Join(append([]string{listHost}, hordeHosts...), " ")
	return redirection{
		hosts: textFile(t, dir, "hosts", "127.0.0.1 localhost\n"+host+" "+names+"\n"),
		ca:    textFile(t, dir, "ca.pem", ca),
	}
}

// listen443 takes port 443 of some loopback address; others may be taken by other tests.
func listen443(t *testing.T) net.Listener {
	t.Helper()
	var failed error
	for range 20 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:443", 1+randv2.IntN(200), randv2.IntN(250), 1+randv2.IntN(250)))
		if err == nil {
			return l
		}
		failed = err
	}
	t.Fatalf("port 443 of a loopback address (needs root): %v", failed)
	return nil
}

// authority makes a certificate authority and a certificate of it for the names.
func authority(t *testing.T, names []string) (string, tls.Certificate) {
	t.Helper()
	caKey, leafKey := newKey(t), newKey(t)
	caTemplate := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hordenode acceptance"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, caTemplate, caTemplate, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	leafTemplate := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: caTemplate.NotBefore, NotAfter: caTemplate.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leafTemplate, caTemplate, leafKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
	return string(text), tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: leafKey}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
