package redis

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/provender-dev/provender/online"
)

// claimLead begins the keys that say whose a prefix is; it is no prefix itself.
const claimLead = "provender"

const maxPrefix = 32

// validPrefix reports whether a prefix means itself in keys and patterns.
func validPrefix(prefix string) bool {
	if prefix == "" || len(prefix) > maxPrefix || prefix == claimLead {
		return false
	}
	for _, c := range []byte(prefix) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// owner is whose keys the store reads and writes.
type owner struct {
	registryID, prefix string
	slotLead           string // of the keys of slots' markers
}

func newOwner(registryID, prefix string) *owner {
	sum := sha256.Sum256([]byte(registryID))
	return &owner{registryID: registryID, prefix: prefix, slotLead: prefix + ":s:" + hex.EncodeToString(sum[:4]) + ":"}
}

// claimKey holds who owns the prefix.
func (o *owner) claimKey() string { return claimLead + ":" + o.prefix }

func (o *owner) claimValue(incarnation string) string { return o.registryID + "\n" + incarnation }

// marker is what a generation's marker holds.
func (o *owner) marker(run int64) string { return o.registryID + "\n" + strconv.FormatInt(run, 10) }

// parseMarker returns the run of a marker that is ours.
func (o *owner) parseMarker(value string) (run int64, ok bool) {
	owner, number, _ := strings.Cut(value, "\n")
	run, err := strconv.ParseInt(number, 10, 64)
	return run, err == nil && owner == o.registryID
}

// markerKey holds the owner of a generation that exists, and the last run whose writes it has in full. Keyspaces are digits, so it is no entity's key.
func (o *owner) markerKey(id online.GenerationID) string { return o.prefix + ":g:" + field(id) }

// slotKey holds, in a cluster, the generations that exist in one slot and the last runs whose writes they have in full.
// It lies in that slot. The registry is part of its name.
func (o *owner) slotKey(slot uint16) string { return o.slotLead + "{" + tagOf(slot) + "}" }

// keyspace is what the keys of a keyspace's entities begin with; the entity key follows.
func (o *owner) keyspace(space online.KeyspaceID) string {
	return o.prefix + ":" + strconv.FormatUint(uint64(space), 10) + ":"
}

// field names a generation in an entity's hash.
func field(id online.GenerationID) string { return strconv.FormatUint(uint64(id), 36) }
