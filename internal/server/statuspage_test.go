package server

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Every section that the page sends people to is there.
func TestStatusPageLinks(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "how-to", "operate.md"))
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^##+ (.+)$`).FindAllStringSubmatch(string(page), -1) {
		sections[strings.ReplaceAll(strings.ToLower(m[1]), " ", "-")] = true
	}
	source, err := os.ReadFile("statusview.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`"(provender[a-z]{5,}|states)"`).FindAllStringSubmatch(string(source), -1)
	if len(found) < 15 {
		t.Errorf("only %d links were found", len(found))
	}
	for _, m := range found {
		if !sections[m[1]] {
			t.Errorf("operate.md has no section %s", m[1])
		}
	}
}

// Who asks waits no longer than it likes, then gets what was known; what hangs is asked once.
func TestQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker()
		var q question[int]
		var asked atomic.Int32
		ask := func(answer func(context.Context) (int, error)) reply[int] {
			ctx, cancel := context.WithTimeout(t.Context(), askPatience)
			defer cancel()
			return q.ask(ctx, a, func(ctx context.Context) (int, error) {
				asked.Add(1)
				return answer(ctx)
			})
		}
		hangs := func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		}
		begun := time.Now()
		if r := ask(hangs); r.err == nil || !r.at.IsZero() || time.Since(begun) != askPatience {
			t.Errorf("after %v: %+v", time.Since(begun), r)
		}
		if r := ask(hangs); r.err == nil || asked.Load() != 1 {
			t.Errorf("asked %d times: %+v", asked.Load(), r)
		}
		time.Sleep(askTimeout) // of the fake clock: the first gives up
		if r := ask(func(context.Context) (int, error) { return 7, nil }); r.err != nil || r.value != 7 || r.at.IsZero() || asked.Load() != 2 {
			t.Errorf("asked %d times: %+v", asked.Load(), r)
		}
		if r := ask(func(context.Context) (int, error) { return 0, errors.New("no") }); r.err == nil || r.value != 7 {
			t.Errorf("%+v", r)
		}
		late := func(context.Context) (int, error) {
			time.Sleep(askPatience + time.Second)
			return 8, nil
		}
		if r := ask(late); r.err == nil || r.value != 7 {
			t.Errorf("%+v", r)
		}
		if r := ask(late); r.err != nil || r.value != 8 || asked.Load() != 4 { // of the one before
			t.Errorf("asked %d times: %+v", asked.Load(), r)
		}
		if r := ask(hangs); r.err == nil || r.value != 8 {
			t.Errorf("%+v", r)
		}
		begun = time.Now()
		a.close()
		if time.Since(begun) != 0 {
			t.Errorf("the end took %v", time.Since(begun))
		}
		if r := ask(late); r.value != 8 || asked.Load() != 5 {
			t.Errorf("after the end, asked %d times: %+v", asked.Load(), r)
		}
	})
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 193 * time.Microsecond: "193 µs", 2500 * time.Microsecond: "2.5 ms", 42 * time.Millisecond: "42 ms", 59 * time.Second: "59 s",
		61 * time.Second: "1 min 1 s", 3*time.Hour + 5*time.Minute: "3 h 5 min", 50 * time.Hour: "2 d 2 h", -2 * time.Second: "-2 s",
	} {
		if got := span(d); got != want {
			t.Errorf("%d: %q, want %q", d, got, want)
		}
	}
}
