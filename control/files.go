package control

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry/definition"
	"github.com/provender-dev/provender/registry/plan"
)

// filesDigest is the SHA-256 of what definition files say, whatever their names and order: a project has others where it
// is read from another folder.
func filesDigest(files []definition.File) string {
	sums := make([][]byte, len(files))
	for i, f := range files {
		sum := sha256.Sum256(f.Content)
		sums[i] = sum[:]
	}
	slices.SortFunc(sums, bytes.Compare)
	all := sha256.Sum256(bytes.Join(sums, nil))
	return hex.EncodeToString(all[:])
}

// CheckFiles is for whoever applies a saved plan beside a project's definition files: Precondition where they are not
// those that it was made from. Where there are none, or the plan is a rollback, there is nothing to compare.
func CheckFiles(saved *plan.Plan, files []definition.File) error {
	if len(files) == 0 || saved.FilesDigest == "" || saved.FilesDigest == filesDigest(files) {
		return nil
	}
	return &problem.Error{
		Code:       problem.Precondition,
		Message:    "the definition files have changed since the plan was made; nothing was applied",
		Suggestion: "plan and review them again: provender plan --out FILE; or bring back the files of the plan",
	}
}
