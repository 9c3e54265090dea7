package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/database"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/internal/testenv/postgres"
	"github.com/provender-dev/provender/registry"
)

// fill appends revisions up to a number, some with plans, some rolled back.
func fill(t testing.TB, s *Store, upTo int64) {
	t.Helper()
	rev, _, err := s.Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for base := rev.Number; base < upTo; base++ {
		defs := definitions("a", fmt.Sprintf("e%d", base%3))
		defs.Entities[0].Description = "a < b & c > d, \u2028 é \"quoted\"\n"
		rev := registry.Revision{
			Applied: time.UnixMicro(1_700_000_000_123_456 + base), By: "me@höst", Commit: "c0ffee", Tool: "v1", Summary: "<1> added",
		}
		if base > 0 {
			rev.Plan = fmt.Appendf(nil, `{"base_revision": %d, "target_digest": %q, "x": "<\u2028>"}`, base, defs.Digest())
		}
		if base >= 3 {
			rev.RollbackOf = base - 2
		}
		if _, err := s.Append(t.Context(), base, rev, defs); err != nil {
			t.Fatal(err)
		}
	}
}

func export(t testing.TB, s *Store) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := s.Export(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// body is an export without its header, which names the registry.
func body(t testing.TB, file []byte) []string {
	t.Helper()
	var out []string
	for line := range strings.Lines(string(file)) {
		var l exportLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		out = append(out, string(l.Revision)+string(l.End))
	}
	return out[1:]
}

func wantRevisions(t *testing.T, s *Store, n int64) {
	t.Helper()
	if rev, _, err := s.Current(t.Context()); err != nil || rev.Number != n {
		t.Fatalf("the registry is at revision %d, want %d: %v", rev.Number, n, err)
	}
}

// A registry moves from any kind of database to any, whole or by and by, and is the same there.
func TestMove(t *testing.T) {
	forDatabases(t, func(t *testing.T, from func(*testing.T) place) {
		forDatabases(t, func(t *testing.T, to func(*testing.T) place) {
			source, target := open(t, from(t)), open(t, to(t))
			for _, n := range []int64{0, 1, 5, 5, 8} {
				before, _, err := target.Current(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				fill(t, source, n)
				file := export(t, source)
				revisions, added, err := target.Import(t.Context(), bytes.NewReader(file))
				if err != nil || revisions != n || added != n-before.Number {
					t.Fatalf("%d of %d: %v", added, revisions, err)
				}
				if diff := cmp.Diff(body(t, file), body(t, export(t, target))); diff != "" {
					t.Fatal(diff)
				}
			}
			for number := range int64(8) {
				a, _, err := source.At(t.Context(), number+1)
				if err != nil {
					t.Fatal(err)
				}
				b, _, err := target.At(t.Context(), number+1)
				if diff := cmp.Diff(a, b); err != nil || diff != "" {
					t.Fatal(err, diff)
				}
			}
			if source.id == target.id {
				t.Error("two registries have one id")
			}
			if _, faults, err := target.Check(t.Context()); err != nil || len(faults) > 0 {
				t.Errorf("%v %v", faults, err)
			}

			// The target goes on, and needs nothing that an older export has.
			fill(t, target, 9)
			if revisions, added, err := target.Import(t.Context(), bytes.NewReader(export(t, source))); err != nil || revisions != 8 || added != 0 {
				t.Errorf("%d of %d: %v", added, revisions, err)
			}
			wantRevisions(t, target, 9)

			// Once the source has gone on otherwise, they are two.
			if _, err := source.Append(t.Context(), 8, registry.Revision{}, definitions("other")); err != nil {
				t.Fatal(err)
			}
			fill(t, source, 10)
			_, _, err := target.Import(t.Context(), bytes.NewReader(export(t, source)))
			if problem.CodeOf(err) != problem.Conflict || !strings.Contains(err.Error(), "line 10: the registry has another revision 9") {
				t.Errorf("%v", err)
			}
			wantRevisions(t, target, 9)
		})
	})
}

// No file that was cut short or changed is imported, not a part of it, and what is wrong is told with the line.
func TestImportDamaged(t *testing.T) {
	source := open(t, sqlite(t))
	fill(t, source, 3)
	file := export(t, source)
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		s := open(t, fresh(t))
		refuse := func(what string, damaged []byte, texts ...string) {
			t.Helper()
			_, _, err := s.Import(t.Context(), bytes.NewReader(damaged))
			if problem.CodeOf(err) != problem.Invalid {
				t.Fatalf("%s: %v", what, err)
			}
			for _, text := range append(texts, "line ", "nothing was imported") {
				if !strings.Contains(err.Error(), text) {
					t.Fatalf("%s: %q is not in %v", what, text, err)
				}
			}
		}
		rnd := testenv.Rand(t)
		step := 1
		if s.DB().Name() != "" && !strings.HasSuffix(s.DB().Name(), ".db") {
			step = 97 // over the network
		}
		for n := 0; n < len(file); n += step {
			refuse(fmt.Sprintf("cut to %d bytes", n), file[:n])
			changed := bytes.Clone(file)
			changed[n] ^= byte(1 + rnd.IntN(255))
			refuse(fmt.Sprintf("byte %d changed", n), changed)
		}
		wantRevisions(t, s, 0)

		lines := bytes.SplitAfter(file, []byte("\n"))
		join := func(order ...int) []byte {
			var out []byte
			for _, n := range order {
				out = append(out, lines[n]...)
			}
			return out
		}
		refuse("a line left out", join(0, 1, 3, 4), "line 3", "one before it is missing")
		refuse("lines exchanged", join(0, 2, 1, 3, 4), "line 2")
		refuse("a line twice", join(0, 1, 1, 2, 3, 4), "line 3")
		refuse("no end", join(0, 1, 2, 3), "line 5: the file is cut short")
		refuse("no header", join(1, 2, 3, 4), "line 1: an export of a registry begins with a header")
		refuse("two headers", join(0, 0, 1), "line 2")
		refuse("two exports", append(bytes.Clone(file), file...), "line 6: something follows the end")
		refuse("names in other case", bytes.Replace(file, []byte(`"sum"`), []byte(`"Sum"`), 1), "line 1: the line was changed")
		refuse("blanks", bytes.Replace(file, []byte(`,"sum"`), []byte(`, "sum"`), 1), "line 1: the line was changed")
		refuse("ends of lines", bytes.ReplaceAll(file, []byte("\n"), []byte("\r\n")), "line 1: the line was changed")
		refuse("empty", nil, "line 1: the file is empty")
		refuse("a plan", []byte("{\n  \"version\": 1\n}\n"), "line 1: this is no export of a registry")
		refuse("no text", bytes.Repeat([]byte{0, 1, 2, 255, '\n'}, 9), "line 1: this is no export of a registry")
		refuse("another version", []byte(`{"header":{"format":"provender registry","version":2,"registry":"x"},"sum":""}`+"\n"),
			"line 1: the export has format version 2, this Provender knows 1")
		refuse("another format", []byte(`{"header":{"format":"feast","version":1},"sum":""}`+"\n"), "no export of a registry")

		// Sums that fit do not make it right.
		for what, c := range map[string]struct{ old, now, text string }{
			"numbers with a gap":   {`"number":2`, `"number":3`, "line 3: revision 3 stands where 2 is due"},
			"other definitions":    {`"name":"e1"`, `"name":"e9"`, "line 3: revision 2: its definitions are not those of its digest"},
			"null definitions":     {`"definitions":{"entities":[`, `"definitions":{"entities":[null,`, "line 2: revision 1: a definition is null"},
			"no definitions":       {`"definitions"`, `"plan"`, "revision 1"},
			"definitions of types": {`"type":"int64"`, `"type":"int65"`, "line 2: revision 1"},
			"unknown fields":       {`"tool":"v1"`, `"tool":"v1","more":1`, "line 2: json: unknown field"},
			"another count":        {`{"revisions":3}`, `{"revisions":4}`, "line 5: 4 revisions were written, 3 are here"},
			"no time":              {`"applied":"20`, `"applied":"x20`, "line 2"},
		} {
			refuse(what, rewritten(t, file, c.old, c.now), c.text)
		}
		wantRevisions(t, s, 0)

		// After all that it takes the file as it was.
		if _, added, err := s.Import(t.Context(), bytes.NewReader(file)); err != nil || added != 3 {
			t.Fatal(added, err)
		}
	})
}

// rewritten replaces the first of a text in an export, and writes the sums anew.
func rewritten(t *testing.T, file []byte, old, now string) []byte {
	t.Helper()
	if !bytes.Contains(file, []byte(old)) {
		t.Fatalf("%q is not there", old)
	}
	var out bytes.Buffer
	var sum chain
	for line := range bytes.Lines(bytes.Replace(file, []byte(old), []byte(now), 1)) {
		var l exportLine
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatal(err)
		}
		content := append(append(bytes.Clone(l.Header), l.Revision...), l.End...)
		l.Sum = sum.next(content)
		raw, err := encode(l)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(raw, '\n'))
	}
	return out.Bytes()
}

// While one imports, another that applies waits, and then finds that the registry has moved.
func TestImportAndApply(t *testing.T) {
	source := open(t, sqlite(t))
	fill(t, source, 2)
	file := export(t, source)
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		at := fresh(t)
		s, other := open(t, at), open(t, at)
		applied := make(chan error, 1)
		in := &slow{Reader: bytes.NewReader(file), meanwhile: func() {
			go func() {
				_, err := other.Append(t.Context(), 0, registry.Revision{}, definitions("late"))
				applied <- err
			}()
		}}
		if _, added, err := s.Import(t.Context(), in); err != nil || added != 2 {
			t.Fatal(added, err)
		}
		if err := <-applied; problem.CodeOf(err) != problem.Conflict {
			t.Error(err)
		}
		wantRevisions(t, s, 2)
	})
}

// slow does something before it is read.
type slow struct {
	*bytes.Reader
	meanwhile func()
}

func (s *slow) Read(p []byte) (int, error) {
	if s.meanwhile != nil {
		s.meanwhile()
		s.meanwhile = nil
	}
	return s.Reader.Read(p)
}

// What is damaged is not exported as if it were whole.
func TestExportDamaged(t *testing.T) {
	for what, statement := range map[string]string{
		"altered": `UPDATE revision SET definitions = plan WHERE number = 2`,
		"gone":    `DELETE FROM revision WHERE number = 2`,
	} {
		s := open(t, sqlite(t))
		fill(t, s, 3)
		execute(t, s, statement)
		_, err := s.Export(t.Context(), new(bytes.Buffer))
		if problem.CodeOf(err) != problem.Precondition || !strings.Contains(err.Error(), "revision 2 is damaged or missing") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func execute(t testing.TB, s *Store, statement string) {
	t.Helper()
	if err := s.DB().Try(t.Context(), func(ctx context.Context, tx *database.Tx) error {
		_, err := tx.Exec(ctx, statement)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// Check finds everything in one pass.
func TestCheck(t *testing.T) {
	forDatabases(t, func(t *testing.T, fresh func(*testing.T) place) {
		s := open(t, fresh(t))
		fill(t, s, 12)
		numbers, faults, err := s.Check(t.Context())
		if err != nil || len(numbers) != 12 || len(faults) > 0 {
			t.Fatal(numbers, faults, err)
		}
		for _, statement := range []string{
			`DELETE FROM revision WHERE number = 1 OR number = 8 OR number = 9`,
			`UPDATE revision SET definitions = plan WHERE number = 2`,
			`UPDATE revision SET plan = definitions WHERE number = 3`,
			`UPDATE revision SET digest = 'other' WHERE number = 5`,
			`UPDATE revision SET rollback_of = 11 WHERE number = 12`,
		} {
			execute(t, s, statement)
		}
		dangling := &registry.Definitions{Services: []*registry.FeatureService{{Name: "s", Features: []registry.ServiceView{{View: "none"}}}}}
		if _, err := s.Append(t.Context(), 12, registry.Revision{Plan: []byte(`{"base_revision":11}`)}, dangling); err != nil {
			t.Fatal(err)
		}
		numbers, faults, err = s.Check(t.Context())
		if err != nil || len(numbers) != 10 {
			t.Fatal(numbers, err)
		}
		var got []string
		for _, f := range faults {
			got = append(got, fmt.Sprintf("%d: %s", f.Revision, f.Text))
		}
		want := []string{
			"0: revision 1 is missing",
			"2: its definitions have another checksum than was written",
			"2: its definitions cannot be read: json: unknown field",
			"3: its record or its plan is not what was written",
			"3: its plan is not the one that made it",
			"4: it is said to equal revision 1, and does not",
			"5: its record or its plan is not what was written",
			"5: its definitions are not those of its digest",
			"5: its plan is not the one that made it",
			"5: it is said to equal revision 2, and does not",
			"0: revisions 8 to 9 are missing",
			"11: it is said to equal revision 8, and does not",
			"12: its record or its plan is not what was written",
			"12: it is said to equal revision 11, and does not",
			"13: it does not compile",
			"13: its plan is not the one that made it",
		}
		same := len(got) == len(want)
		for i := range want {
			same = same && strings.HasPrefix(got[i], want[i])
		}
		if !same {
			t.Error(cmp.Diff(want, got))
		}
	})
}

// A database that does not answer is no fault of the registry.
func TestCheckOutage(t *testing.T) {
	server := postgres.Start(t)
	s := open(t, place{url: server.Database(t)})
	server.Kill(t)
	if _, faults, err := s.Check(t.Context()); problem.CodeOf(err) != problem.Unavailable {
		t.Errorf("%v %v", faults, err)
	}
}

func FuzzImport(f *testing.F) {
	source, err := Open(f.Context(), "sqlite://source.db", f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	defer source.Close()
	fill(f, source, 4)
	file := export(f, source)
	f.Add(file)
	f.Add(file[:len(file)/2])
	f.Add([]byte(`{"header":null,"sum":""}` + "\n"))
	f.Add([]byte(`{"header":{"format":"provender registry","version":1},"end":{},"sum":""}` + "\n"))
	target, err := Open(f.Context(), "sqlite://target.db", f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	defer target.Close()
	f.Fuzz(func(t *testing.T, b []byte) {
		revisions, _, err := target.Import(t.Context(), bytes.NewReader(b))
		if code := problem.CodeOf(err); err != nil && code != problem.Invalid && code != problem.Conflict {
			t.Fatal(err)
		}
		if err == nil && revisions > 0 && !bytes.Equal(b, file) {
			t.Fatalf("%d revisions were imported from what is not the export", revisions)
		}
	})
}
