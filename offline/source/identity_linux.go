package source

import (
	"fmt"
	"io/fs"
	"syscall"
)

// identity tells one content from another without reading it: size, modification and change time, inode. The change
// time tells a rewrite in place whose modification time was put back.
func identity(info fs.FileInfo) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Sprintf("%d-%d", info.Size(), info.ModTime().UnixNano())
	}
	return fmt.Sprintf("%d-%d-%d-%d", info.Size(), info.ModTime().UnixNano(), st.Ctim.Nano(), st.Ino)
}
