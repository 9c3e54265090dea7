package embedded

import (
	"bytes"
	"encoding/binary"

	"github.com/provender-dev/provender/online"
)

// Every key begins with what it is for.
const (
	spaceFormat = 'f' // the store's format
	spaceClaim  = 'c' // whose store this is
	spaceMarker = 'g' // a generation exists
	spaceRow    = 'r' // a row

	formatVersion = 1
)

func appendClaim(dst []byte, registryID, incarnation string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(registryID)))
	return append(append(dst, registryID...), incarnation...)
}

func appendMarker(dst []byte, id online.GenerationID) []byte {
	return appendOrdered(append(dst, spaceMarker), uint64(id))
}

// appendKeyspace appends what the keys of all rows of a keyspace begin with.
func appendKeyspace(dst []byte, space online.KeyspaceID) []byte {
	return appendOrdered(append(dst, spaceRow), uint64(space))
}

// appendEntity appends what the keys of all rows of an entity begin with, after its keyspace: rows of one entity lie
// side by side, so that a lookup of several views is one seek.
func appendEntity(dst, key []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(key))), key...)
}

// appendOrdered appends x so that greater numbers are greater bytes: a length, then as few bytes as hold it, most
// significant first.
func appendOrdered(dst []byte, x uint64) []byte {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], x)
	short := bytes.TrimLeft(b[:], "\x00")
	return append(append(dst, byte(len(short))), short...)
}

// entityAndGeneration splits a row's key less its keyspace.
func entityAndGeneration(b []byte) (entity []byte, id online.GenerationID, ok bool) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return nil, 0, false
	}
	x, rest, ok := cutOrdered(b[w+int(n):])
	return b[w : w+int(n)], online.GenerationID(x), ok && len(rest) == 0
}

// cutOrdered is the reverse of appendOrdered; rest is what follows.
func cutOrdered(b []byte) (x uint64, rest []byte, ok bool) {
	if len(b) == 0 || b[0] > 8 || len(b) <= int(b[0]) {
		return 0, nil, false
	}
	n := int(b[0])
	for _, c := range b[1 : 1+n] {
		x = x<<8 | uint64(c)
	}
	return x, b[1+n:], true
}

// successor returns the least key above all keys that begin with prefix, which begins with a space.
func successor(prefix []byte) []byte {
	s := bytes.TrimRight(prefix, "\xff")
	s = bytes.Clone(s)
	s[len(s)-1]++
	return s
}
