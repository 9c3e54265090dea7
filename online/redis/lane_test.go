package redis

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestReplies(t *testing.T) {
	for _, tt := range []struct {
		in, values string
		sizes      []int
		refused    string
		err        error
	}{
		{in: "*2\r\n$3\r\na\r\n\r\n$-1\r\n", values: "a\r\n", sizes: []int{3, absent}},
		{in: "*2\r\n$0\r\n\r\n$1\r\nx\r\n", values: "x", sizes: []int{0, 1}},
		{in: "-WRONGTYPE no hash\r\n", sizes: []int{foreign, foreign}},
		{in: "-LOADING wait\r\n", sizes: []int{absent, absent}, refused: "LOADING wait"},
		{in: "", err: io.EOF},
		{in: "*2\r\n$3\r\nab", err: io.EOF},
		{in: "*2\r\n$1\r\nab\r\n$-1\r\n", err: errProtocol},
		{in: "*1\r\n$-1\r\n", err: errProtocol},
		{in: "*-1\r\n", err: errProtocol},
		{in: "$2\r\nab\r\n", err: errProtocol},
		{in: "*2\n$-1\r\n$-1\r\n", err: errProtocol},
		{in: "*2\r\n:1\r\n:2\r\n", err: errProtocol},
		{in: "*2\r\n$\r\n\r\n", err: errProtocol},
		{in: "*2\r\n$-2\r\n", err: errProtocol},
		{in: "*2\r\n$+1\r\na\r\n", err: errProtocol},
		{in: "*2\r\n$999999999\r\n", err: errProtocol},
		{in: "*2\r\n$99999999999999999999\r\n", err: errProtocol},
		{in: "*2\r\n$536870912\r\nabc", err: io.EOF},
		{in: strings.Repeat("x", 100), err: bufio.ErrBufferFull},
	} {
		c, to := &lane{in: bufio.NewReaderSize(strings.NewReader(tt.in), 32)}, new(call)
		err := c.reply(to, 2)
		if !errors.Is(err, tt.err) {
			t.Errorf("%q: got %v, want %v", tt.in, err, tt.err)
		}
		if err != nil {
			continue
		}
		refused := ""
		if to.refused != nil {
			refused = to.refused.Error()
		}
		if string(to.values) != tt.values || len(to.sizes) != 2 || to.sizes[0] != tt.sizes[0] || to.sizes[1] != tt.sizes[1] ||
			refused != tt.refused {
			t.Errorf("%q: got %q %v %q", tt.in, to.values, to.sizes, refused)
		}
	}
}

// FuzzReplies: whatever a server sends, no panic, no memory for what was only announced, and sizes that add up.
func FuzzReplies(f *testing.F) {
	f.Add([]byte("*2\r\n$3\r\nabc\r\n$-1\r\n*2\r\n$0\r\n\r\n$1\r\nx\r\n"))
	f.Add([]byte("-WRONGTYPE x\r\n-ERR y\r\n*2\r\n$536870912\r\nx"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, to := &lane{in: bufio.NewReaderSize(bytes.NewReader(b), 64)}, new(call)
		whole := 0
		for range 4 {
			if c.reply(to, 2) != nil {
				break
			}
			whole += 2
		}
		total := 0
		for _, n := range to.sizes {
			total += max(n, 0)
		}
		if len(to.sizes) < whole || len(to.values) > len(b) || whole == len(to.sizes) && total != len(to.values) {
			t.Fatalf("%d cells of %d, %d bytes of %d", whole, len(to.sizes), len(to.values), total)
		}
	})
}
