package redis_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/online/redis"
)

// proxy passes connections on to a Redis, and calls before once, ahead of the first request that has a word.
func proxy(t *testing.T, server *onlinetest.Redis, word string, before func()) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "redis://"))
			if err != nil {
				_ = in.Close()
				continue
			}
			wg.Go(func() {
				defer in.Close()
				_, _ = io.Copy(in, out)
			})
			wg.Go(func() {
				defer out.Close()
				buf := make([]byte, 1<<20)
				for {
					n, err := in.Read(buf)
					if err != nil {
						return
					}
					if bytes.Contains(buf[:n], []byte(word)) {
						once.Do(before)
					}
					if _, err := out.Write(buf[:n]); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return "redis://" + l.Addr().String()
}

// TestLostDuringWrite: a server that loses everything after a write has begun acknowledges the rows all the same; the
// write does not.
func TestLostDuringWrite(t *testing.T) {
	server := onlinetest.StartRedisServer(t)
	client := server.Client(t)
	lost := false
	url := proxy(t, server, "evalsha", func() { lost = client.FlushAll(t.Context()).Err() == nil })
	s, err := redis.Open(url, redis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if _, err := s.Claim(t.Context(), "registry", "p1"); err != nil {
		t.Fatal(err)
	}
	create(t, s, gen)
	e := online.Entry{Key: onlinetest.Key(1), Row: onlinetest.At(1, 1).Row()}
	if _, err := s.Write(t.Context(), gen, []online.Entry{e}, online.WinNewest); !errors.Is(err, online.ErrGenerationLost) {
		t.Errorf("got %v", err)
	}
	if !lost {
		t.Error("nothing was lost")
	}
}

// TestNewConnectionBreaks: a read whose new connection is reset is made once more.
func TestNewConnectionBreaks(t *testing.T) {
	server := onlinetest.StartRedisServer(t)
	client := server.Client(t)
	stored := onlinetest.At(1, 1).Row()
	patient := claimed(t, server)
	create(t, patient, gen)
	write(t, patient, gen, online.Entry{Key: onlinetest.Key(1), Row: stored})
	broken := false
	url := proxy(t, server, "HMGET", func() { broken = client.Do(t.Context(), "client", "kill", "type", "normal").Err() == nil })
	s := claimedURL(t, url)
	if cells, err := read(t.Context(), s, gen, onlinetest.Key(1)); err != nil || !bytes.Equal(cells[0], stored) {
		t.Errorf("%x, %v", cells, err)
	}
	if !broken {
		t.Error("no connection broke")
	}
}
