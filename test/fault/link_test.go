package fault

import (
	"net"
	"sync"
	"testing"
	"time"
)

// link is a way to a server that can be cut, hang, be slow, and lead elsewhere. Its address stays.
type link struct {
	addr string

	mu     sync.Mutex
	target string
	cut    bool
	delay  time.Duration // of what is sent, each way
	budget int           // bytes to the server until the link is cut by itself; negative: never
	open   chan struct{} // closed while bytes pass; not so while the link hangs
	conns  map[net.Conn]struct{}
}

func newLink(t *testing.T, target string) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{addr: listener.Addr().String(), target: target, budget: -1, open: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	close(l.open)
	var carriers sync.WaitGroup
	carriers.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			carriers.Go(func() { l.carry(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		l.restore()
		l.lose()
		carriers.Wait()
	})
	return l
}

// carry joins a connection with one to the target.
func (l *link) carry(in net.Conn) {
	l.mu.Lock()
	target, cut := l.target, l.cut
	l.mu.Unlock()
	if cut {
		reset(in)
		return
	}
	out, err := net.Dial("tcp", target)
	if err != nil {
		reset(in)
		return
	}
	l.mu.Lock()
	l.conns[in], l.conns[out] = struct{}{}, struct{}{}
	l.mu.Unlock()
	var ways sync.WaitGroup
	ways.Go(func() { l.copy(out, in, true) })
	ways.Go(func() { l.copy(in, out, false) })
	ways.Wait()
	l.mu.Lock()
	delete(l.conns, in)
	delete(l.conns, out)
	l.mu.Unlock()
}

// copy passes on what one end sends, and ends both when that ends.
func (l *link) copy(to, from net.Conn, server bool) {
	defer reset(to)
	defer reset(from)
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		l.mu.Lock()
		open, delay := l.open, l.delay
		spent := false
		if server && l.budget >= 0 {
			if spent = n > l.budget; spent {
				n, l.cut = l.budget, true
			}
			l.budget -= n
		}
		l.mu.Unlock()
		<-open
		if delay > 0 {
			<-time.After(delay)
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
		if spent {
			l.lose()
			return
		}
	}
}

// reset ends a connection as a machine does that has gone.
func reset(conn net.Conn) {
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

// lose resets every connection; new ones are taken, unless the link is cut.
func (l *link) lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.conns {
		reset(conn)
	}
}

// sever resets every connection and refuses new ones.
func (l *link) sever() {
	l.mu.Lock()
	l.cut = true
	l.mu.Unlock()
	l.lose()
}

// severAfter severs the link in the middle of what is sent to the server, after n bytes.
func (l *link) severAfter(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.budget = n
}

// hang lets nothing pass any more, without a word.
func (l *link) hang() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = make(chan struct{})
}

// slow delays what passes from now on.
func (l *link) slow(by time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delay = by
}

// restore undoes all harm: what hangs passes, new connections are taken.
func (l *link) restore() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut, l.delay, l.budget = false, 0, -1
	select {
	case <-l.open:
	default:
		close(l.open)
	}
}

// lead makes new connections go elsewhere, and resets those there are.
func (l *link) lead(target string) {
	l.mu.Lock()
	l.target = target
	l.mu.Unlock()
	l.lose()
}
