package asof

// rounds cuts a scan into rounds whose entities and winners fit a budget. It lets jobs begin in the order of their rows,
// so that where a round ends depends on the rows alone, but where ranges of row groups have text: what they need is an
// estimate. Guarded by the pass's mutex.
type rounds struct {
	entities *entities
	memory   int64 // bytes
	most     int64 // rows, at the next end of a file

	rows     int64 // of this round's jobs
	file     int   // of the last of those
	from, to int64 // positions, between which they are
	reserved int64 // bytes, for those whose keys have no numbers yet
	over     bool
}

// admission is when a job begins.
type admission uint8

const (
	begins    admission = iota
	waits               // until another one has its numbers
	nextRound           // of which it is the first
)

// winnerBytes is what an entity takes beside its key: a candidate, its created time and ties on the board, hits on their
// way there, and the winner among those to be delivered.
const winnerBytes = 64

// load returns what a job may need: every row may have a new entity. Its text is, of that of the whole row group, what the
// footer says; of a range, its share by rows.
func (r *rounds) load(j *job) int64 {
	if len(r.entities.columns) == 0 {
		return 0 // there is but one
	}
	rows, text := int64(j.to-j.from), int64(0)
	for c, t := range r.entities.columns {
		if _, ok := t.(*stringTable); ok {
			text += j.file.reader.Bytes(j.group, c)
		}
	}
	if !j.whole() {
		text = int64(float64(text) / float64(j.file.reader.Rows(j.group)) * float64(rows))
	}
	return rows*(r.entities.keyBytes()+winnerBytes) + textBytes(text)
}

// takes is the memory for the entities that are known.
func (r *rounds) takes() int64 { return r.entities.bytes() + int64(r.entities.size())*winnerBytes }

// cut appends a row group's job, in ranges of its rows where all of them may need much of the budget: jobs whose needs
// don't fit together wait for each other.
func (r *rounds) cut(jobs []job, j job) []job {
	most := max(1, r.memory/2)
	parts := max(1, (r.load(&j)-1)/most+1)
	step := int(max(1, (int64(j.to)-1)/parts+1))
	for from := 0; from < j.to; from += step {
		jobs = append(jobs, job{file: j.file, group: j.group, from: from, to: min(from+step, j.to)})
	}
	return jobs
}

// admit tells when the next job begins, and reserves memory for it if now. Were it to depend on what is reserved whether
// the job is of this round, it would depend on the number of workers: so it waits until nothing is.
func (r *rounds) admit(j *job) admission {
	need := r.load(j)
	switch full := r.takes()+r.reserved+need > r.memory; {
	case r.over:
		return nextRound
	case r.rows == 0: // a round has one job at least
	case j.file.index != r.file && r.rows >= r.most, full && r.reserved == 0:
		r.over = true
		return nextRound
	case full:
		return waits
	}
	first := position(j.file.index, j.file.first[j.group])
	if r.rows == 0 {
		r.from = first + int64(j.from)
	}
	r.to = first + int64(j.to)
	r.rows += int64(j.to - j.from)
	r.file = j.file.index
	r.reserved += need
	return begins
}

// numbered gives back what was reserved for a job.
func (r *rounds) numbered(j *job) { r.reserved -= r.load(j) }

// next begins another round.
func (r *rounds) next() {
	r.rows, r.over = 0, false
	r.entities.reset()
}
