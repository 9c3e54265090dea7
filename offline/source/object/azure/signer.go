package azure

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/provender-dev/provender/offline/source/object"
)

// signer adds what proves who asks.
type signer interface {
	sign(ctx context.Context, r *http.Request) error
}

// settings are what the environment says.
type settings struct {
	account, key, sas          string
	endpoint, suffix, protocol string
}

// The account of Azurite and of the emulator before it, which everybody knows.
const (
	emulatorAccount = "devstoreaccount1"
	emulatorKey     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==" //nolint:gosec // public
)

func readSettings(getenv func(string) string) (settings, error) {
	s := settings{
		account:  getenv("AZURE_STORAGE_ACCOUNT"),
		key:      cmp.Or(getenv("AZURE_STORAGE_KEY"), getenv("AZURE_STORAGE_ACCOUNT_KEY")),
		sas:      getenv("AZURE_STORAGE_SAS_TOKEN"),
		endpoint: getenv("AZURE_STORAGE_BLOB_ENDPOINT"),
	}
	text := getenv("AZURE_STORAGE_CONNECTION_STRING")
	if text == "" {
		return s, nil
	}
	s = settings{}
	for part := range strings.SplitSeq(text, ";") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			return s, &object.ConfigError{Message: "AZURE_STORAGE_CONNECTION_STRING: a part is not name=value"}
		}
		switch strings.ToLower(name) {
		case "accountname":
			s.account = value
		case "accountkey":
			s.key = value
		case "sharedaccesssignature":
			s.sas = value
		case "blobendpoint":
			s.endpoint = value
		case "endpointsuffix":
			s.suffix = value
		case "defaultendpointsprotocol":
			s.protocol = value
		case "usedevelopmentstorage":
			s.account, s.key = emulatorAccount, emulatorKey
			s.endpoint = "http://127.0.0.1:10000/" + emulatorAccount
		}
	}
	return s, nil
}

// signer returns the first of what the settings allow: the account's key, a shared access signature, an identity.
func (s *settings) signer(endpoint *url.URL) (signer, error) {
	switch {
	case s.key != "":
		key, err := base64.StdEncoding.DecodeString(s.key)
		if err != nil || s.account == "" {
			return nil, &object.ConfigError{Message: "the storage account's key is not base64, or the account has no name"}
		}
		return &sharedKey{s.account, key}, nil
	case s.sas != "":
		query, err := url.ParseQuery(strings.TrimPrefix(s.sas, "?"))
		if err != nil {
			return nil, &object.ConfigError{Message: "the shared access signature is not a query"}
		}
		return signature(query), nil
	case endpoint.Scheme != "https":
		return nil, &object.ConfigError{Message: "a token is not sent over http: set AZURE_STORAGE_CONNECTION_STRING, or use https"}
	}
	identity, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, noIdentity
	}
	return &token{identity}, nil
}

// noIdentity leaves the cause's text out, which may hold what was sent.
var noIdentity = &object.ConfigError{Message: "no Azure identity: set AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_KEY or " +
	"AZURE_STORAGE_SAS_TOKEN, or sign in; `az account get-access-token --resource https://storage.azure.com` shows what is wrong"}

// token is an identity of Entra ID.
type token struct{ credential azcore.TokenCredential }

func (t *token) sign(ctx context.Context, r *http.Request) error {
	// The credential keeps tokens and renews them.
	got, err := t.credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{"https://storage.azure.com/.default"}})
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return noIdentity
	}
	r.Header.Set("Authorization", "Bearer "+got.Token)
	return nil
}

// signature is a shared access signature.
type signature url.Values

func (s signature) sign(_ context.Context, r *http.Request) error {
	query := r.URL.Query()
	for name, values := range s {
		query[name] = values
	}
	r.URL.RawQuery = query.Encode()
	return nil
}

// sharedKey is the key of an account.
type sharedKey struct {
	account string
	key     []byte
}

func (k *sharedKey) sign(_ context.Context, r *http.Request) error {
	r.Header.Set("X-Ms-Date", time.Now().UTC().Format(http.TimeFormat))
	mac := hmac.New(sha256.New, k.key)
	mac.Write([]byte(k.stringToSign(r)))
	r.Header.Set("Authorization", "SharedKey "+k.account+":"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return nil
}

// stringToSign is what the service signs too: the standard headers, those of its own, the resource and its parameters.
func (k *sharedKey) stringToSign(r *http.Request) string {
	length := ""
	if r.ContentLength > 0 {
		length = strconv.FormatInt(r.ContentLength, 10)
	}
	h := r.Header
	var b strings.Builder
	for _, s := range []string{
		r.Method, h.Get("Content-Encoding"), h.Get("Content-Language"), length, h.Get("Content-MD5"), h.Get("Content-Type"), "",
		h.Get("If-Modified-Since"), h.Get("If-Match"), h.Get("If-None-Match"), h.Get("If-Unmodified-Since"), h.Get("Range"),
	} {
		b.WriteString(s + "\n")
	}
	var own []string
	for name := range h {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-ms-") {
			own = append(own, name+":"+strings.TrimSpace(h.Get(name))+"\n")
		}
	}
	slices.Sort(own)
	b.WriteString(strings.Join(own, ""))
	b.WriteString("/" + k.account + r.URL.EscapedPath())
	var parameters []string
	for name, values := range r.URL.Query() {
		slices.Sort(values)
		parameters = append(parameters, "\n"+strings.ToLower(name)+":"+strings.Join(values, ","))
	}
	slices.Sort(parameters)
	b.WriteString(strings.Join(parameters, ""))
	return b.String()
}
