package testenv

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// Ports below those that Linux gives to connections and to listeners that name none (ip_local_port_range): who takes one,
// or takes it again after a restart, meets nobody there. The one 10,000 above, of a Redis Cluster's bus, is another such.
const (
	firstPort = 10_240
	blocks    = 50
	blockSize = 250
)

// ownPorts returns the first of this process's ports: a block that no other process of a test has, as long as this one runs.
var ownPorts = sync.OnceValues(func() (int, error) {
	for block := range blocks {
		path := filepath.Join(os.TempDir(), fmt.Sprintf("provender-test-ports-%d.lock", block))
		lock, err := syscall.Open(path, syscall.O_CREAT|syscall.O_RDWR|syscall.O_CLOEXEC, 0o666) // closed by the end of the process
		if err != nil {
			continue // another user's
		}
		if syscall.Flock(lock, syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			return firstPort + block*blockSize, nil
		}
		_ = syscall.Close(lock)
	}
	return 0, errors.New("other tests have all ports: remove provender-test-ports-*.lock, of another user, from " + os.TempDir())
})

var lastPort atomic.Uint32

// FreeAddress returns an address of this machine that nobody listens at.
func FreeAddress(t testing.TB) string {
	t.Helper()
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return address(port)
}

// FreePort returns the port of such an address.
func FreePort() (int, error) {
	first, err := ownPorts()
	if err != nil {
		return 0, err
	}
	for range blockSize {
		port := first + int(lastPort.Add(1)%blockSize)
		var l net.Listener
		if l, err = net.Listen("tcp", address(port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, err
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
