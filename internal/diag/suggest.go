package diag

import (
	"strconv"
	"strings"
)

// suggestWidth bounds the names that are compared, so that a hostile request cannot buy time.
const suggestWidth = 128

// Suggest returns `did you mean "x"?` for the candidate nearest to name, "" if none is near.
func Suggest(name string, candidates []string) string {
	if best := Closest(name, candidates); best != "" {
		return "did you mean " + strconv.Quote(best) + "?"
	}
	return ""
}

// Closest returns the candidate that name was most likely meant to be, the first of equals, or "". Case, and up to a
// third of the characters, may differ; swapped neighbours count once.
func Closest(name string, candidates []string) string {
	if len(name) > suggestWidth {
		return ""
	}
	lower := []rune(strings.ToLower(name))
	best, bestDistance := "", max(1, len(lower)/3)+1
	for _, c := range candidates {
		if c == "" || c == name || len(c) > suggestWidth {
			continue
		}
		other := []rune(strings.ToLower(c))
		if len(other)-len(lower) >= bestDistance || len(lower)-len(other) >= bestDistance {
			continue
		}
		// Nothing in common is no suggestion, however short the names.
		if d := distance(lower, other); d < bestDistance && d < max(len(lower), len(other)) {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance is the number of insertions, deletions, substitutions and swaps of neighbours between a and b (optimal
// string alignment).
func distance(a, b []rune) int {
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
