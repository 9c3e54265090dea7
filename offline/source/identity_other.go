//go:build !linux

package source

import (
	"fmt"
	"io/fs"
)

// identity tells one content from another without reading it: size and modification time.
func identity(info fs.FileInfo) string {
	return fmt.Sprintf("%d-%d", info.Size(), info.ModTime().UnixNano())
}
