package versions

import (
	"strings"
	"testing"
)

// TestTomorrow has a version of tomorrow bring the registry further, by steps that this one can live with: both go on side
// by side, and this one alone when tomorrow's is taken back.
func TestTomorrow(t *testing.T) {
	t.Parallel()
	program := tomorrow(t, "1")
	forRegistries(t, func(t *testing.T, s *site) {
		t.Parallel()
		today, next := s.side("today's", ""), s.side("tomorrow's", program)
		today.Must("apply", "--yes")
		today.Must("materialize")
		a := today.serve()
		b := next.serve()
		s.put("more", 0, 200)
		next.Must("materialize", "--full")
		a.follows()
		b.follows()
		next.define(1, true)
		next.Must("apply", "--yes")
		today.Must("materialize")
		today.define(2, false)
		today.Must("apply", "--yes")
		b.end()
		next.sound()
		today.sound()
		a.end()
		again := today.serve()
		s.put("all", 0, drivers)
		today.Must("materialize")
		again.follows()
		again.end()
		today.sound()
		next.sound()
	})
}

// TestTomorrowParts has a version of tomorrow that this one can't live with: it changes nothing until it is told to, and
// that is refused while a server of today's is there. Afterwards today's is refused, and told why.
func TestTomorrowParts(t *testing.T) {
	t.Parallel()
	program := tomorrow(t, "99")
	forRegistries(t, func(t *testing.T, s *site) {
		t.Parallel()
		today, next := s.side("today's", ""), s.side("tomorrow's", program)
		refused := func(x *side, args []string, texts ...string) {
			t.Helper()
			r := x.Run(args...)
			for _, text := range texts {
				if r.Code != 1 || !strings.Contains(r.Stderr, text) {
					t.Errorf("%s %v: exit code %d, want 1 and %q:\n%s%s", x.name, args, r.Code, text, r.Stdout, r.Stderr)
				}
			}
		}
		today.Must("apply", "--yes")
		today.Must("materialize")
		a := today.serve()
		for _, args := range [][]string{{"plan"}, {"apply", "--yes"}, {"materialize"}, {"serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"}} {
			refused(next, args, "the registry has schema version 2, this Provender needs 99, which Provenders of version 2 can't live with",
				"provender registry migrate")
		}
		refused(next, []string{"registry", "migrate"}, "older servers use the registry: ", "stop them")
		s.put("more", 0, 200)
		today.Must("materialize")
		a.follows()
		a.end()
		today.sound()

		next.Must("registry", "migrate")
		next.sound()
		for _, args := range [][]string{{"plan"}, {"apply", "--yes"}, {"materialize"}, {"history"}, {"registry", "check"}, {"registry", "export"}} {
			refused(today, args, "the registry has schema version 99, this Provender knows 2", "use the newer Provender that wrote it")
		}
		next.serve().end()
	})
}
