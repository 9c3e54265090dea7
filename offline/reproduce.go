package offline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
)

// ReproduceRequest asks for an export to be made again from its manifest.
type ReproduceRequest struct {
	Manifest  string // path or URL
	Revisions Revisions
	Source    *source.Files
	Spine     string // in place of the manifest's, "" for that
	// Out is where to write; "" is beside the manifest, where a file that is there already is compared, never replaced.
	Out       string
	CheckOnly bool // look at the inputs, write nothing
	Memory    int64
	Limits    parquet.Limits
	SpineLimits
	Tool     string
	Commit   string
	Workers  int
	Progress func(Progress)
}

// Revisions is what a registry knows of the past. registry.Store has it.
type Revisions interface {
	At(ctx context.Context, number int64) (registry.Revision, *registry.Definitions, error)
	History(ctx context.Context, limit int) ([]registry.Revision, error)
}

// ReproduceReport says whether an export could be made again, and was.
type ReproduceReport struct {
	Manifest string
	Revision int64 // that holds the manifest's definitions here
	// Changes are the inputs that are not what they were. Where one of them is not Harmless, nothing was written.
	Changes []InputChange
	Moved   int // files that lie elsewhere or were copied: another identity, but the same size and footer
	Out     string
	// Present: Out was there already, with the bytes that the manifest describes, and was left alone.
	Present bool
	Export  *ExportReport // nil where nothing was written
	// Identical: what Out has are the bytes that the manifest describes.
	Identical bool
	// The versions of Provender that wrote the manifest and that runs now.
	Then, Now string
}

// Reproducible reports whether every input is what it was.
func (r *ReproduceReport) Reproducible() bool {
	return !slices.ContainsFunc(r.Changes, func(c InputChange) bool { return !c.Harmless() })
}

// ChangeKind is what became of an input.
type ChangeKind string

// The kinds.
const (
	SpineChanged    ChangeKind = "spine"    // another content, or none
	RevisionUnknown ChangeKind = "revision" // no revision here has these definitions
	FileChanged     ChangeKind = "changed"
	FileGone        ChangeKind = "gone"
	FileNew         ChangeKind = "new" // there is one more: it is left out
)

// InputChange is an input that is not what it was.
type InputChange struct {
	Kind ChangeKind
	View string // of a file
	Path string
	Text string
}

// Harmless reports whether the export can be made again nevertheless.
func (c InputChange) Harmless() bool { return c.Kind == FileNew }

// Reproduce makes an export again: by the definitions of the manifest's revision, from exactly the files that the
// manifest lists, into the same bytes. What changed is in the report, with nothing written. Where the bytes come out
// otherwise, Identical is false; they are written nevertheless, unless they would replace what the manifest describes.
func Reproduce(ctx context.Context, req ReproduceRequest) (*ReproduceReport, error) {
	m, err := readManifest(ctx, req.Manifest)
	if err != nil {
		return nil, err
	}
	if m.Output.Format == ArrowFlight && !req.CheckOnly {
		return nil, &problem.Error{
			Code: problem.Precondition, Field: "from-manifest",
			Message:    fmt.Sprintf("manifest %s: the training set was sent over Arrow Flight: neither its spine nor its rows are files", req.Manifest),
			Suggestion: "send its spine again, or export a file with --spine in place of --from-manifest; --check tells whether its other inputs are what they were",
		}
	}
	r := &reproduction{req: req, manifest: m, seen: map[InputChange]bool{}}
	r.report = ReproduceReport{Manifest: req.Manifest, Revision: m.Revision, Then: m.Provender, Now: req.Tool}
	if r.report.Out, err = r.out(); err != nil {
		return nil, err
	}
	if err := r.check(ctx); err != nil || req.CheckOnly || !r.report.Reproducible() {
		return &r.report, err
	}
	if req.Out == "" {
		if done, err := r.present(ctx); err != nil || done {
			return &r.report, err
		}
	}
	return &r.report, r.export(ctx)
}

// reproduction is the state of one Reproduce.
type reproduction struct {
	req      ReproduceRequest
	manifest *manifest
	snapshot *registry.Snapshot // nil where it is not known
	service  *registry.Service
	inputs   [][]source.File // per read
	seen     map[InputChange]bool
	report   ReproduceReport
}

const manifestSuffix = ".manifest.json"

// out returns where to write.
func (r *reproduction) out() (string, error) {
	if r.req.Out != "" {
		return r.req.Out, nil
	}
	out, ok := strings.CutSuffix(r.req.Manifest, manifestSuffix)
	if !ok && !r.req.CheckOnly {
		err := problem.New(problem.Invalid, "%s is not named like a manifest, so it does not tell where to write", r.req.Manifest)
		err.Field, err.Suggestion = "out", "say it with --out"
		return "", err
	}
	return out, nil
}

// check holds every input against the manifest.
func (r *reproduction) check(ctx context.Context) error {
	if err := r.checkSpine(ctx); err != nil {
		return err
	}
	if err := r.definitions(ctx); err != nil || r.snapshot == nil {
		return err
	}
	moved := map[string]bool{}
	defer func() { r.report.Moved = len(moved) }()
	for i, read := range r.service.Reads {
		files, err := r.req.Source.List(ctx, read.View.Source.Parquet)
		if problem.CodeOf(err) == problem.Precondition && ctx.Err() == nil { // nothing is there, or can be read
			r.changed(InputChange{Kind: FileGone, View: read.View.Name, Path: list(read.View.Source.Parquet), Text: err.Error()})
			continue
		}
		if err != nil {
			return fmt.Errorf("view %s: %w", read.View.Name, err)
		}
		if err := r.checkFiles(ctx, i, files, moved); err != nil {
			return err
		}
	}
	return nil
}

// changed reports a change once, however many reads of the view there are.
func (r *reproduction) changed(c InputChange) {
	if r.seen[c] {
		return
	}
	r.seen[c] = true
	r.report.Changes = append(r.report.Changes, c)
}

// spinePath returns where the spine is now.
func (r *reproduction) spinePath() string {
	if r.req.Spine != "" {
		return r.req.Spine
	}
	return r.manifest.Spine.Path
}

// checkSpine passes over a spine that was sent, of which nothing is left.
func (r *reproduction) checkSpine(ctx context.Context) error {
	if r.manifest.Spine.Format == ArrowFlight {
		return nil
	}
	path := r.spinePath()
	digest, err := digestOf(ctx, path)
	switch {
	case problem.CodeOf(err) == problem.NotFound:
		r.changed(InputChange{Kind: SpineChanged, Path: path, Text: "the spine is gone; if it lies elsewhere now, say so with --spine"})
	case err != nil:
		return err
	case digest != r.manifest.Spine.SHA256:
		r.changed(InputChange{Kind: SpineChanged, Path: path, Text: "the spine has another content"})
	}
	return nil
}

// definitions finds the manifest's definitions: under its number, or, in a registry that was made anew, under another.
func (r *reproduction) definitions(ctx context.Context) error {
	m := r.manifest
	rev, defs, err := r.req.Revisions.At(ctx, m.Revision)
	if err != nil && problem.CodeOf(err) != problem.NotFound {
		return err
	}
	if known := err == nil; !known || rev.Digest != m.Definitions {
		history, err := r.req.Revisions.History(ctx, 0)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(history, func(rev registry.Revision) bool { return rev.Digest == m.Definitions })
		if at < 0 {
			text := fmt.Sprintf("this registry has no revision %d, nor one with the same definitions", m.Revision)
			if known {
				text = fmt.Sprintf("revision %d has other definitions in this registry, and none has the manifest's", m.Revision)
			}
			if m.Commit != "" {
				text += "; apply those of Git commit " + m.Commit
			}
			r.changed(InputChange{Kind: RevisionUnknown, Text: text})
			return nil
		}
		if rev, defs, err = r.req.Revisions.At(ctx, history[at].Number); err != nil {
			return err
		}
	}
	r.report.Revision = rev.Number
	if r.snapshot, err = registry.Compile(rev.Number, defs); err != nil {
		return err
	}
	if m.Service != "" {
		r.service, err = r.snapshot.FeatureService(m.Service)
	} else {
		asked := make([]string, len(m.Features))
		for i, f := range m.Features {
			asked[i] = f.Feature
		}
		r.service, err = r.snapshot.AdHoc(asked)
	}
	if err != nil {
		return fmt.Errorf("manifest %s: %w", r.req.Manifest, err)
	}
	views := func(v manifestView) string { return v.View }
	reads := func(read registry.Read) string { return read.View.Name }
	if !slices.Equal(mapped(m.Views, views), mapped(r.service.Reads, reads)) {
		return manifestProblem(r.req.Manifest, errors.New("its views are not those of its service"))
	}
	r.inputs = make([][]source.File, len(r.service.Reads))
	return nil
}

func mapped[T any](list []T, name func(T) string) []string {
	names := make([]string, len(list))
	for i, x := range list {
		names[i] = name(x)
	}
	return names
}

// checkFiles compares the files of one read with what is there now, and adds to moved.
func (r *reproduction) checkFiles(ctx context.Context, read int, list []source.File, moved map[string]bool) error {
	view := r.manifest.Views[read]
	now := make(map[string]source.File, len(list))
	for _, f := range list {
		now[f.Path] = f
	}
	for _, then := range view.Files {
		f, there := now[then.Path]
		delete(now, then.Path)
		change := InputChange{View: view.View, Path: then.Path}
		switch {
		case !there:
			change.Kind, change.Text = FileGone, "is gone"
		case f.Identity == then.Identity:
		case f.Size != then.Bytes:
			change.Kind, change.Text = FileChanged, fmt.Sprintf("has %d bytes and had %d", f.Size, then.Bytes)
		case then.Footer == "":
			change.Kind, change.Text = FileChanged, "has been written since"
		default:
			footer, err := r.footer(ctx, f)
			if err != nil {
				return err
			}
			if footer != then.Footer {
				change.Kind, change.Text = FileChanged, "has another content"
			} else {
				moved[f.Path] = true
			}
		}
		if change.Kind != "" {
			r.changed(change)
			continue
		}
		r.inputs[read] = append(r.inputs[read], f)
	}
	for _, f := range list {
		if _, left := now[f.Path]; left {
			r.changed(InputChange{Kind: FileNew, View: view.View, Path: f.Path, Text: "is new and left out"})
		}
	}
	return nil
}

// footer returns the digest of a file's footer, "" where the file is none of Parquet any more.
func (r *reproduction) footer(ctx context.Context, f source.File) (string, error) {
	handle, err := r.req.Source.Open(ctx, f)
	if err != nil {
		return "", err
	}
	defer handle.Close()
	file, err := parquet.Open(ctx, handle, f, r.req.Limits)
	if err != nil {
		return "", ctx.Err()
	}
	return footerText(file.Digest()), nil
}

// present reports whether the output is there already, as the manifest describes it. Another file in its place is an
// error.
func (r *reproduction) present(ctx context.Context) (bool, error) {
	files := r.manifest.Output.files()
	for i, f := range files {
		path := r.report.Out
		if r.manifest.Output.Parts != nil {
			path = strings.TrimSuffix(path, "/") + "/" + f.Path
		}
		digest, err := digestOf(ctx, path)
		if problem.CodeOf(err) == problem.NotFound && i == 0 {
			return false, nil
		}
		if err != nil && problem.CodeOf(err) != problem.NotFound {
			return false, err
		}
		if digest != f.SHA256 {
			e := problem.New(problem.Conflict, "%s is there, and is not what the manifest describes", path)
			e.Field, e.Suggestion = "out", "remove it, or name another with --out"
			return false, e
		}
	}
	r.report.Present, r.report.Identical = true, true
	return true, nil
}

// errOtherBytes ends an export whose bytes must not replace those that the manifest describes.
var errOtherBytes = errors.New("other bytes than the manifest describes")

func (r *reproduction) export(ctx context.Context) error {
	m := r.manifest
	location, err := time.LoadLocation(m.Spine.Timezone)
	if err != nil {
		return manifestProblem(r.req.Manifest, err)
	}
	beside := manifestPath(r.report.Out)
	replaces := beside == r.req.Manifest || sameFile(beside, r.req.Manifest)
	r.report.Export, err = Export(ctx, ExportRequest{
		Service: r.service, Snapshot: r.snapshot, Source: r.req.Source, Inputs: r.inputs,
		Spine: r.spinePath(), SpineFormat: m.Spine.Format,
		SpineOptions: SpineOptions{Time: m.Spine.Time, Unit: m.Spine.Unit, Location: location, At: registry.DayEnd(m.Spine.At)},
		Out:          r.report.Out, OutFormat: m.Output.format(), Compression: m.Output.Compression,
		GroupRows: m.Output.GroupRows, PartRows: m.Output.PartRows,
		Memory: r.req.Memory, Limits: r.req.Limits, SpineLimits: r.req.SpineLimits, Tool: r.req.Tool, Commit: r.req.Commit, Workers: r.req.Workers,
		Progress: r.req.Progress,
		accept: func(files []written) error {
			r.report.Identical = slices.EqualFunc(files, m.Output.files(), func(a, b written) bool { return a.SHA256 == b.SHA256 })
			if !r.report.Identical && replaces {
				return errOtherBytes
			}
			return nil
		},
	})
	if errors.Is(err, errOtherBytes) {
		return nil
	}
	return err
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// format returns the output's format; the first manifests, all of Parquet, do not say it.
func (o *manifestOutput) format() Format {
	if o.Format == "" {
		return Parquet
	}
	return o.Format
}

// files returns the output's files: its parts, or itself.
func (o *manifestOutput) files() []written {
	if o.PartRows > 0 {
		return o.Parts
	}
	return []written{o.written}
}

// maxManifest bounds a manifest: a hundred thousand files take some 30 MB.
const maxManifest = 256 << 20

// readManifest reads a manifest and checks what a reproduction relies on.
func readManifest(ctx context.Context, path string) (*manifest, error) {
	raw, err := readAll(ctx, path, maxManifest)
	if err != nil {
		return nil, err
	}
	var m manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, manifestProblem(path, fmt.Errorf("not a manifest: %w", err))
	}
	switch {
	case m.Version == 0 || m.Definitions == "" || m.Spine.SHA256 == "" || len(m.Features) == 0:
		return nil, manifestProblem(path, errors.New("not a manifest: it lacks a version, definitions, features or the spine"))
	case m.Output.PartRows > 0 && len(m.Output.Parts) == 0:
		return nil, manifestProblem(path, errors.New("not a manifest: its output has no parts"))
	case m.Version != manifestVersion:
		return nil, manifestProblem(path, fmt.Errorf("its version is %d, and this Provender reads %d", m.Version, manifestVersion))
	}
	return &m, nil
}

func manifestProblem(path string, err error) error {
	return &problem.Error{Code: problem.Invalid, Field: "from-manifest", Message: fmt.Sprintf("manifest %s: %v", path, err), Err: err}
}

// fileProblem is the failure to read a file that the user named.
func fileProblem(path string, err error) error {
	code := problem.Invalid
	if errors.Is(err, fs.ErrNotExist) {
		code = problem.NotFound
	}
	return &problem.Error{Code: code, Message: fmt.Sprintf("read %s: %v", path, err), Err: err}
}
