package rpc

import (
	_ "embed" // the document
	"net/http"
)

// openAPIPath is where the OpenAPI document is served.
const openAPIPath = "/openapi.json"

//go:embed openapi.json
var openAPIDocument []byte

func openAPI(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", contentJSON)
	_, _ = w.Write(openAPIDocument) // the client may have gone
	return nil
}
