package row

import "hash/crc32"

// checksumLen is the length of the checksum that ends a stored row; the order of rows ignores it.
const checksumLen = 2

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum folds the CRC-32C of b to 16 bits, upper half on lower. It catches every odd number of flipped bits at any
// length: the polynomial is divisible by x+1, so their syndrome has an odd number of ones, and what the fold maps to 0
// has an even number. Other damage it misses once in 65,536.
func checksum(b []byte) uint16 {
	c := crc32.Checksum(b, castagnoli)
	return uint16(c ^ c>>16)
}

func appendChecksum(dst, b []byte) []byte {
	c := checksum(b)
	return append(dst, byte(c), byte(c>>8))
}

// unseal returns a stored row less its checksum, and whether the checksum agrees.
func unseal(stored []byte) ([]byte, bool) {
	n := len(stored) - checksumLen
	if n < minTimesLen {
		return nil, false
	}
	b := stored[:n]
	return b, checksum(b) == uint16(stored[n])|uint16(stored[n+1])<<8
}
