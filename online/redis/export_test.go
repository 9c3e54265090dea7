package redis

// For tests alone.
var (
	SlotOf = slotOf
	TagOf  = tagOf
)
