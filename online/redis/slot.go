package redis

import (
	"strconv"
	"strings"
	"sync"
)

// slots is how many slots a cluster has.
const slots = 16384

// slotOf returns the slot of a key, as a cluster does: of what stands between its first { and the next }, unless that is
// nothing or there is no such pair.
func slotOf(key string) uint16 {
	if open := strings.IndexByte(key, '{'); open >= 0 {
		if n := strings.IndexByte(key[open+1:], '}'); n > 0 {
			key = key[open+1:][:n]
		}
	}
	return crc16(key) % slots
}

// crc16 is the checksum that slots are made of (XMODEM: polynomial 0x1021, from 0).
func crc16(s string) uint16 {
	var crc uint16
	for i := range len(s) {
		crc = crc<<8 ^ crcTable[byte(crc>>8)^s[i]]
	}
	return crc
}

var crcTable = func() (table [256]uint16) {
	for i := range table {
		crc := uint16(i) << 8
		for range 8 {
			carry := crc & 0x8000
			crc <<= 1
			if carry != 0 {
				crc ^= 0x1021
			}
		}
		table[i] = crc
	}
	return table
}()

// tagOf returns a short text of the given slot: the least number, in base 36, that has it.
func tagOf(slot uint16) string { return strconv.FormatUint(uint64(tags()[slot]), 36) }

var tags = sync.OnceValue(func() *[slots]uint32 {
	var table [slots]uint32
	var known [slots]bool
	var text [8]byte
	for n, left := uint64(0), slots; left > 0; n++ {
		slot := crc16(string(strconv.AppendUint(text[:0], n, 36))) % slots
		if !known[slot] {
			known[slot] = true
			table[slot] = uint32(n)
			left--
		}
	}
	return &table
})
