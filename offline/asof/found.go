package asof

// Found returns how many source rows are Present somewhere: a gathered feature has a value, or a null, for each.
func (r *Result) Found() int { return r.present }

// Summary returns a copy of what a result tells of the source, without the spine's rows: Status and Event are nil, and there
// is nothing to Gather.
func (r *Result) Summary() *Result {
	return &Result{Stats: r.Stats, Least: r.Least, Greatest: r.Greatest, Footers: r.Footers}
}
