// Command provender is a feature store: it declares, materializes, serves and exports features.
package main

import (
	"os"

	_ "golang.org/x/crypto/x509roots/fallback" // an image of nothing but this program has no certificate authorities

	"github.com/provender-dev/provender/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], cli.Process()))
}
