// Package link is a way to a server over which harm comes: for tests, and for the soak.
package link

import (
	"net"
	"sync"
	"time"
)

// Link is a way to a server that can be cut, hang, be slow, and lead elsewhere. Its address stays. Safe for concurrent use.
type Link struct {
	Addr string

	listener net.Listener
	carriers sync.WaitGroup

	mu     sync.Mutex
	target string
	cut    bool
	delay  time.Duration // of what is sent, each way
	rate   int           // bytes per second, each way of each connection; 0: no bound
	budget int           // bytes to the server until the link is cut by itself; negative: never
	open   chan struct{} // closed while bytes pass; not so while the link hangs
	eased  chan struct{} // closed by Restore: delays end
	conns  map[net.Conn]struct{}
	dead   map[net.Conn]struct{} // those of conns that nothing passes any more
}

// New opens a link to a server, until Close.
func New(target string) (*Link, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &Link{
		Addr: listener.Addr().String(), listener: listener, target: target, budget: -1, open: make(chan struct{}), eased: make(chan struct{}),
		conns: map[net.Conn]struct{}{}, dead: map[net.Conn]struct{}{},
	}
	close(l.open)
	l.carriers.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			l.carriers.Go(func() { l.carry(conn) })
		}
	})
	return l, nil
}

// Close ends the link and all connections.
func (l *Link) Close() {
	_ = l.listener.Close()
	l.Restore()
	l.Lose()
	l.carriers.Wait()
}

// carry joins a connection with one to the target.
func (l *Link) carry(in net.Conn) {
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
	delete(l.dead, in)
	delete(l.dead, out)
	l.mu.Unlock()
}

// copy passes on what one end sends, and ends both when that ends.
func (l *Link) copy(to, from net.Conn, server bool) {
	defer reset(to)
	defer reset(from)
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		l.mu.Lock()
		open, eased, delay := l.open, l.eased, l.delay
		if l.rate > 0 {
			delay += time.Duration(n) * time.Second / time.Duration(l.rate)
		}
		_, dead := l.dead[from]
		spent := false
		if server && l.budget >= 0 {
			if spent = n > l.budget; spent {
				n, l.cut = l.budget, true
			}
			l.budget -= n
		}
		l.mu.Unlock()
		if dead {
			continue
		}
		<-open
		if delay > 0 {
			select {
			case <-time.After(delay):
			case <-eased:
			}
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
		if spent {
			l.Lose()
			return
		}
	}
}

// reset ends a connection as a machine does that has gone.
func reset(conn net.Conn) {
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

// Lose resets every connection; new ones are taken, unless the link is cut.
func (l *Link) Lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.conns {
		reset(conn)
	}
}

// Sever resets every connection and refuses new ones.
func (l *Link) Sever() {
	l.mu.Lock()
	l.cut = true
	l.mu.Unlock()
	l.Lose()
}

// SeverAfter severs the link in the middle of what is sent to the server, after n bytes.
func (l *Link) SeverAfter(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.budget = n
}

// Hang lets nothing pass any more, without a word.
func (l *Link) Hang() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = make(chan struct{})
}

// Forget lets nothing pass on the connections that there are, for ever and without a word, as a firewall does that was
// started again; new ones pass.
func (l *Link) Forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.conns {
		l.dead[conn] = struct{}{}
	}
}

// Narrow lets so many bytes pass per second, each way of each connection.
func (l *Link) Narrow(rate int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rate = rate
}

// Slow delays what passes from now on.
func (l *Link) Slow(by time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delay = by
}

// Restore undoes all harm: what hangs passes, new connections are taken.
func (l *Link) Restore() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut, l.delay, l.rate, l.budget = false, 0, 0, -1
	close(l.eased)
	l.eased = make(chan struct{})
	select {
	case <-l.open:
	default:
		close(l.open)
	}
}

// Lead makes new connections go elsewhere, and resets those there are.
func (l *Link) Lead(target string) {
	l.mu.Lock()
	l.target = target
	l.mu.Unlock()
	l.Lose()
}
