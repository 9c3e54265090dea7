package parquet

// Stored returns the bytes that a column of a row group takes in the file.
func (r *Reader) Stored(group, column int) int64 {
	b := &r.columns[column]
	if b.leaf == nil {
		return 0
	}
	return r.file.footer.groups[group].chunks[b.leaf.index].compressed
}
