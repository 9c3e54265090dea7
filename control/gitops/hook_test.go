package gitops

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHook(t *testing.T) {
	const secret, body = "It's a Secret to Everybody", "Hello, World!"
	// The example of GitHub's documentation.
	const signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
	mac := hmac.New(sha256.New, []byte("another secret"))
	mac.Write([]byte(body))
	for _, c := range []struct {
		name   string
		header map[string]string
		body   string
		want   int
	}{
		{"GitHub", map[string]string{"X-Hub-Signature-256": signature}, body, http.StatusAccepted},
		{"another body", map[string]string{"X-Hub-Signature-256": signature}, body + " ", http.StatusUnauthorized},
		{"another secret", map[string]string{"X-Hub-Signature-256": "sha256=" + hex.EncodeToString(mac.Sum(nil))}, body, http.StatusUnauthorized},
		{"cut short", map[string]string{"X-Hub-Signature-256": signature[:40]}, body, http.StatusUnauthorized},
		{"no signature", map[string]string{"X-Hub-Signature-256": "sha256="}, body, http.StatusUnauthorized},
		{"no hex", map[string]string{"X-Hub-Signature-256": "sha256=x"}, body, http.StatusUnauthorized},
		{"a wrong one beside a right one", map[string]string{"X-Hub-Signature-256": "sha256=00", "X-Gitlab-Token": secret}, body, http.StatusUnauthorized},
		{"GitLab", map[string]string{"X-Gitlab-Token": secret}, "", http.StatusAccepted},
		{"GitLab, wrong", map[string]string{"X-Gitlab-Token": secret + "x"}, "", http.StatusUnauthorized},
		{"bearer", map[string]string{"Authorization": "Bearer " + secret}, "", http.StatusAccepted},
		{"bearer, wrong", map[string]string{"Authorization": "Bearer " + secret[1:]}, "", http.StatusUnauthorized},
		{"not bearer", map[string]string{"Authorization": secret}, "", http.StatusUnauthorized},
		{"nothing", nil, "", http.StatusUnauthorized},
		{"too long", map[string]string{"X-Hub-Signature-256": signature}, strings.Repeat(" ", maxHook+1), http.StatusUnauthorized},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &Reconciler{asked: make(chan struct{}, 1)}
			for range 2 { // the second finds one pending
				req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(c.body))
				for name, value := range c.header {
					req.Header.Set(name, value)
				}
				w := httptest.NewRecorder()
				r.Hook(secret).ServeHTTP(w, req)
				if w.Code != c.want || strings.Contains(w.Body.String(), secret) {
					t.Errorf("%d %s, want %d", w.Code, w.Body, c.want)
				}
			}
			if asked := len(r.asked); asked != 1 && c.want == http.StatusAccepted || asked != 0 && c.want != http.StatusAccepted {
				t.Errorf("asked %d times", asked)
			}
		})
	}
}
