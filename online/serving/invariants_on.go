//go:build invariants

package serving

// invariants: released answers are overwritten, and releasing one twice panics.
const invariants = true
