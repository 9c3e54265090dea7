package feast

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

const maxNameLength = 63

var nameExpression = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// reserved are the columns that a row's own times have in answers.
var reserved = []string{"event_time", "created_time"}

// names gives each name of Feast's one of ours: the same where it can be, and never one for two.
type names struct {
	otherwise string // what a name begins with that would begin with no letter
	column    bool   // names are columns of answers
	given     map[string]string
	taken     map[string]bool
}

// newNames keeps the names that are ours already, so that no other takes them.
func newNames(otherwise string, column bool, all []string) *names {
	n := &names{otherwise: otherwise, column: column, given: map[string]string{}, taken: map[string]bool{}}
	for _, name := range all {
		if n.fits(name) {
			n.given[name], n.taken[name] = name, true
		}
	}
	return n
}

func (n *names) fits(name string) bool {
	return nameExpression.MatchString(name) && (!n.column || !slices.Contains(reserved, name))
}

// of returns the name of ours; the same for the same name.
func (n *names) of(name string) string {
	if ours, ok := n.given[name]; ok {
		return ours
	}
	ours := n.free(snake(name, n.otherwise))
	n.given[name], n.taken[ours] = ours, true
	return ours
}

// free returns name, or the first of name_2, name_3, … that is not taken.
func (n *names) free(name string) string {
	if n.column && slices.Contains(reserved, name) {
		name += "_value"
	}
	free := name
	for i := 2; n.taken[free]; i++ {
		free = withSuffix(name, "_"+strconv.Itoa(i))
	}
	return free
}

func withSuffix(name, suffix string) string {
	return name[:min(len(name), maxNameLength-len(suffix))] + suffix
}

// snake writes a name in lower-case letters, digits and _: CustomerID becomes customer_id.
func snake(name, otherwise string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		switch {
		case r < unicode.MaxASCII && (unicode.IsLower(r) || unicode.IsDigit(r)):
			b.WriteRune(r)
		case r < unicode.MaxASCII && unicode.IsUpper(r):
			before := i > 0 && (unicode.IsLower(runes[i-1]) || unicode.IsDigit(runes[i-1]))
			after := i > 0 && i+1 < len(runes) && unicode.IsUpper(runes[i-1]) && unicode.IsLower(runes[i+1])
			if before || after {
				b.WriteByte('_')
			}
			b.WriteRune(unicode.ToLower(r))
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "_"):
			b.WriteByte('_')
		}
		if b.Len() > maxNameLength {
			break
		}
	}
	s := strings.Trim(b.String(), "_")
	if s == "" || s[0] < 'a' {
		s = strings.TrimRight(otherwise+"_"+s, "_")
	}
	return strings.TrimRight(s[:min(len(s), maxNameLength)], "_")
}
