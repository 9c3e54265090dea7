package gitops

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
)

// maxHook bounds the body of a call; GitHub sends at most so much.
const maxHook = 25 << 20

// Hook has the origin looked at when it is called by somebody who knows secret: as GitHub (X-Hub-Signature-256, an HMAC
// of the body) and GitLab (X-Gitlab-Token) show it, or as a bearer token. What the call says does not matter.
func (r *Reconciler) Hook(secret string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !authentic(w, req, secret) {
			http.Error(w, "the call does not show the webhook's secret", http.StatusUnauthorized)
			return
		}
		r.Ask()
		w.WriteHeader(http.StatusAccepted)
	})
}

// authentic reports whether a call shows that its caller knows the secret. One proof is enough; a wrong one is not made
// good by another.
func authentic(w http.ResponseWriter, req *http.Request, secret string) bool {
	if signature := req.Header.Get("X-Hub-Signature-256"); signature != "" {
		given, err := hex.DecodeString(strings.TrimPrefix(signature, "sha256="))
		if err != nil {
			return false
		}
		mac := hmac.New(sha256.New, []byte(secret))
		if _, err := io.Copy(mac, http.MaxBytesReader(w, req.Body, maxHook)); err != nil {
			return false
		}
		return hmac.Equal(given, mac.Sum(nil))
	}
	if token := req.Header.Get("X-Gitlab-Token"); token != "" {
		return same(token, secret)
	}
	token, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	return ok && same(token, secret)
}

// same compares in a time that tells nothing of either, their lengths included.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
