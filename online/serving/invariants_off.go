//go:build !invariants

package serving

const invariants = false
