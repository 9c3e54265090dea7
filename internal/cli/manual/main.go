// Command manual writes the manual pages of the commands into a folder: scripts/release-files runs it. SOURCE_DATE_EPOCH
// is their date.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra/doc"

	"github.com/provender-dev/provender/internal/cli"
)

func main() {
	if err := write(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "manual:", err)
		os.Exit(1)
	}
}

func write(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("want a folder, have %d arguments", len(args))
	}
	if err := os.MkdirAll(args[0], 0o755); err != nil {
		return err
	}
	root := cli.Command()
	root.DisableAutoGenTag = true
	return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "Provender", Manual: "Provender"}, args[0])
}
