package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/provender-dev/provender/offline"
)

type exportReport struct {
	Version  formatVersion    `json:"version"`
	Out      string           `json:"out"`
	Manifest string           `json:"manifest,omitempty"`
	Revision int64            `json:"revision"`
	Rows     int64            `json:"rows"`
	Bytes    int64            `json:"bytes"`
	Seconds  float64          `json:"seconds"`
	Features []exportedColumn `json:"features"`
	Reads    []exportedRead   `json:"reads"`
	Warnings []exportWarning  `json:"warnings"`
}

type exportedColumn struct {
	Name     string `json:"name"`
	Present  int64  `json:"present"`
	Null     int64  `json:"null"`
	Expired  int64  `json:"expired"`
	NotFound int64  `json:"not_found"`
}

type exportedRead struct {
	Name     string `json:"name"`
	Present  int64  `json:"present"`
	Expired  int64  `json:"expired"`
	NotFound int64  `json:"not_found"`
	Ties     int64  `json:"ties"`
	// Ages of the rows found, absent where there is none.
	Newest *float64 `json:"newest_age_seconds,omitempty"`
	Oldest *float64 `json:"oldest_age_seconds,omitempty"`
}

type exportWarning struct {
	Code string `json:"code"`
	Read string `json:"read"`
	Text string `json:"text"`
	Fix  string `json:"fix,omitempty"`
}

func newExportReport(out string, revision int64, done *offline.ExportReport) *exportReport {
	r := &exportReport{
		Out: out, Manifest: done.Manifest, Revision: revision, Rows: done.Rows, Bytes: done.Bytes, Seconds: done.Took.Seconds(),
		Features: make([]exportedColumn, len(done.Features)), Reads: make([]exportedRead, len(done.Reads)),
		Warnings: make([]exportWarning, len(done.Warnings)),
	}
	for i, f := range done.Features {
		r.Features[i] = exportedColumn(f)
	}
	for i, read := range done.Reads {
		r.Reads[i] = exportedRead{
			Name: read.Name, Present: read.Present, Expired: read.Expired, NotFound: read.NotFound, Ties: read.Stats.Ties,
		}
		if read.Present > 0 {
			newest, oldest := float64(read.Newest)/1e6, float64(read.Oldest)/1e6
			r.Reads[i].Newest, r.Reads[i].Oldest = &newest, &oldest
		}
	}
	for i, w := range done.Warnings {
		r.Warnings[i] = exportWarning{Code: w.Code, Read: w.Read, Text: w.Text, Fix: w.Fix}
	}
	return r
}

func (r *exportReport) text(p *printer) {
	rows := make([][]string, len(r.Features))
	for i, f := range r.Features {
		rows[i] = []string{f.Name, share(f.Present, r.Rows), share(f.Null, r.Rows), share(f.Expired, r.Rows), share(f.NotFound, r.Rows)}
	}
	p.table([]string{"FEATURE", "PRESENT#", "NULL#", "EXPIRED#", "NOT_FOUND#"}, rows)
	p.printf("\n")
	rows = rows[:0]
	for _, read := range r.Reads {
		rows = append(rows, []string{read.Name, age(read.Newest), age(read.Oldest), count(read.Ties)})
	}
	p.table([]string{"READ", "NEWEST AGE#", "OLDEST AGE#", "TIES#"}, rows)
	for _, w := range r.Warnings {
		p.printf("\n")
		p.wrapped(p.warn("Warning:")+" ", fmt.Sprintf("%s: %s.", w.Read, w.Text))
		if w.Fix != "" {
			p.wrapped("  ", w.Fix)
		}
	}
	to, manifest := r.Out, " Manifest: "+r.Manifest
	if r.Out == "-" {
		to = "stdout"
	}
	if r.Manifest == "" {
		manifest = ""
	}
	p.printf("\nWrote %s into %s (%s) in %s, revision %d.%s\n",
		plural(r.Rows, "row", "rows"), to, humanize.Bytes(uint64(r.Bytes)), took(time.Duration(r.Seconds*float64(time.Second))), r.Revision, manifest)
}

// share writes a part in percent. Only none is "-" and only all is 100%.
func share(part, all int64) string {
	switch {
	case part == 0:
		return "-"
	case part == all:
		return "100%"
	}
	return fmt.Sprintf("%.1f%%", min(max(100*float64(part)/float64(all), 0.1), 99.9))
}

// age writes the age of a row in seconds, "-" for none.
func age(seconds *float64) string {
	if seconds == nil {
		return "-"
	}
	return since(time.Duration(*seconds * float64(time.Second)))
}

// shown is how many changes of a kind are listed by name.
const shown = 20

// reproduceReport is what export --from-manifest found and did.
type reproduceReport struct {
	Version      formatVersion `json:"version"`
	FromManifest string        `json:"from_manifest"`
	Revision     int64         `json:"revision"`
	Then         string        `json:"provender_then"`
	Now          string        `json:"provender_now"`
	Reproducible bool          `json:"reproducible"`
	Identical    *bool         `json:"identical,omitempty"` // absent where nothing was compared
	Changed      int           `json:"changed"`             // files changed or gone
	New          int           `json:"new"`
	Moved        int           `json:"moved"`
	Changes      []inputChange `json:"changes"`
	Out          string        `json:"out,omitempty"`
	Export       *exportReport `json:"export,omitempty"`

	present bool
}

type inputChange struct {
	Kind string `json:"kind"`
	View string `json:"view,omitempty"`
	Path string `json:"path,omitempty"`
	Text string `json:"text"`
}

func newReproduceReport(done *offline.ReproduceReport, checkOnly bool) *reproduceReport {
	r := &reproduceReport{
		FromManifest: done.Manifest, Revision: done.Revision, Then: done.Then, Now: done.Now, Reproducible: done.Reproducible(),
		Moved: done.Moved, Changes: []inputChange{}, present: done.Present,
	}
	listed := map[offline.ChangeKind]int{}
	for _, c := range done.Changes {
		switch c.Kind {
		case offline.FileChanged, offline.FileGone:
			r.Changed++
		case offline.FileNew:
			r.New++
		}
		if listed[c.Kind]++; listed[c.Kind] <= shown {
			r.Changes = append(r.Changes, inputChange{Kind: string(c.Kind), View: c.View, Path: c.Path, Text: c.Text})
		}
	}
	if checkOnly || !r.Reproducible {
		return r
	}
	r.Out, r.Identical = done.Out, &done.Identical
	if done.Export != nil {
		r.Export = newExportReport(done.Out, done.Revision, done.Export)
	}
	return r
}

func (r *reproduceReport) text(p *printer) {
	if len(r.Changes) > 0 {
		rows := make([][]string, len(r.Changes))
		for i, c := range r.Changes {
			rows[i] = []string{c.Kind, c.View, c.Path, c.Text}
		}
		p.table([]string{"INPUT", "VIEW", "PATH", "WHAT"}, rows)
		p.printf("\n")
	}
	var counts []string
	for _, c := range []struct {
		n    int
		text string
	}{
		{r.Changed, "changed or gone"}, {r.New, "new and left out"}, {r.Moved, "copied, with the same size and footer"},
	} {
		if c.n > 0 {
			counts = append(counts, plural(c.n, "file", "files")+" "+c.text)
		}
	}
	if len(counts) > 0 {
		p.printf("%s.\n", strings.Join(counts, ", "))
	}
	switch {
	case !r.Reproducible:
		p.printf("%s\n", p.bad("The inputs are not those of the manifest. Nothing was written."))
	case r.Identical == nil:
		p.printf("%s\n", p.good("Every input of the manifest is what it was."))
	case *r.Identical && r.present:
		p.printf("%s\n", p.good(r.Out+" is there, and is what the manifest describes."))
	case *r.Identical:
		p.printf("%s\n", p.good(fmt.Sprintf("Wrote %s: the same bytes as then, %s in %s.",
			r.Out, plural(r.Export.Rows, "row", "rows"), took(time.Duration(r.Export.Seconds*float64(time.Second))))))
	default:
		r.differs(p)
	}
}

// differs tells of equal inputs and other bytes.
func (r *reproduceReport) differs(p *printer) {
	if r.Export == nil {
		p.printf("%s\n", p.bad("The bytes came out otherwise than the manifest describes. Nothing was written."))
	} else {
		p.printf("%s\n", p.bad("The bytes in "+r.Out+" are not those that the manifest describes."))
	}
	switch {
	case r.Then != r.Now:
		p.printf("Provender %s wrote the manifest and this is %s: the values are the same, their encoding may differ.\n", r.Then, r.Now)
	case r.Moved > 0:
		p.printf("A file that was copied has the same size and footer as then, but other values.\n")
	default:
		p.printf("The inputs look the same, and so does Provender's version: please report this with both manifests.\n")
	}
	if r.Export == nil {
		p.printf("To have the file nevertheless, name another with --out.\n")
	}
}
