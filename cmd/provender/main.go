// Command provender is a feature store: it declares, materializes, serves and exports features.
package main

import (
	"os"

	"github.com/provender-dev/provender/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], cli.Process()))
}
