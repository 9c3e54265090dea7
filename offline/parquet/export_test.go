package parquet

// PageBodies returns where in a file the pages of columns that are read lie, headers left out: from and to.
func PageBodies(f *File, file []byte) (bodies [][2]int) {
	for _, g := range f.footer.groups {
		for i, c := range g.chunks {
			if c.values == 0 || f.leaves[i].form <= formNull {
				continue
			}
			for at, end := int(c.start()), int(c.start()+c.compressed); at < end; {
				t := thrift{buf: file[at:end]}
				h := t.pageHeader()
				from := at + t.pos
				at = from + int(h.compressed)
				if h.compressed > 0 {
					bodies = append(bodies, [2]int{from, at})
				}
			}
		}
	}
	return bodies
}
