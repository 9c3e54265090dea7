package columnar

// Status says why a cell has the value it has (SPEC R6).
type Status uint8

// The numbers are on the wire: never renumber.
const (
	// StatusInvalid is the zero value and never part of an answer.
	StatusInvalid Status = iota
	// Present: a row alive at the read time, its value not null.
	Present
	// Null: a row alive at the read time, its value null.
	Null
	// Expired: the newest row is older than ttl, not than 2 × ttl.
	Expired
	// NotFound: no row, a null key, or a row older than 2 × ttl.
	NotFound
	// Error: the stored bytes are damaged.
	Error
)

// Statuses is how many there are, StatusInvalid included.
const Statuses = int(Error) + 1

var statusNames = [...]string{"INVALID", "PRESENT", "NULL", "EXPIRED", "NOT_FOUND", "ERROR"}

// String returns the status as every output writes it: "NOT_FOUND".
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return statusNames[StatusInvalid]
}

// Judge returns Present, Expired or NotFound for a row of the given event time read at an instant at, both in
// microseconds (R3, R6; both ends of ttl inclusive). A ttl of 0 never expires. A row of the future is NotFound.
func Judge(event, at, ttl int64) Status {
	if event > at {
		return NotFound
	}
	if ttl == 0 {
		return Present
	}
	// Both are within years 0001–9999, so the difference cannot overflow; 2 × ttl might.
	age := at - event
	switch {
	case age <= ttl:
		return Present
	case age-ttl <= ttl:
		return Expired
	default:
		return NotFound
	}
}
