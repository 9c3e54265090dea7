package materialize

// hashes is a set of hashes, in 11 to 22 bytes for each. The zero value is empty.
type hashes struct {
	slots []uint64 // open addressing, of a power of two; 0: free
	n     int
	zero  bool // 0 is in it
}

// add adds a hash, and reports whether it is new.
func (s *hashes) add(h uint64) bool {
	if h == 0 {
		added := !s.zero
		s.zero = true
		return added
	}
	if s.n >= len(s.slots)/4*3 {
		s.grow()
	}
	if !s.put(h) {
		return false
	}
	s.n++
	return true
}

func (s *hashes) grow() {
	old := s.slots
	s.slots = make([]uint64, max(1024, 2*len(old)))
	for _, h := range old {
		if h != 0 {
			s.put(h)
		}
	}
}

func (s *hashes) put(h uint64) bool {
	mask := uint64(len(s.slots) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		switch s.slots[i] {
		case 0:
			s.slots[i] = h
			return true
		case h:
			return false
		}
	}
}
