package parquet

import (
	"fmt"
	"io"
	"math"
	"sort"

	"github.com/parquet-go/parquet-go/format"
)

// Reread returns a reader of the rows of encoded chunks of a leaf, one after the other. Close gives back its memory.
func Reread(leaf *Leaf, chunks []*Encoded) *Cursor {
	source := &chunkSource{}
	f := &File{
		r: source, path: "encoded rows", footer: &footer{},
		limits: Limits{
			PageBytes: math.MaxInt32, ValueBytes: math.MaxInt32, GroupValues: math.MaxInt32, ChunkBytes: math.MaxInt64,
		},
	}
	at := int64(len(magic)) // an offset of 0 means that there is no dictionary
	for _, e := range chunks {
		meta := chunkMeta{
			present: true, physical: leaf.physical, codec: e.meta.Codec, values: e.meta.NumValues,
			compressed: e.size, data: at + e.dictionary,
		}
		if e.dictionary > 0 {
			meta.dict = at
		}
		f.footer.groups = append(f.footer.groups, rowGroup{rows: int64(e.rows), chunks: []chunkMeta{meta}})
		source.chunks, source.starts = append(source.chunks, e), append(source.starts, at)
		at += e.size
	}
	return &Cursor{file: f, leaf: leaf, source: leaf.reader()}
}

// reader returns the leaf as a file's reader has it.
func (l *Leaf) reader() *leaf {
	length := int32(0)
	if l.physical == format.FixedLenByteArray {
		length = int32(l.width)
	}
	return &leaf{
		ColumnInfo: ColumnInfo{Name: l.name()}, path: l.path,
		elem: element{leaf: true, physical: l.physical, length: length}, maxDef: l.maxDef, maxRep: l.maxRep,
	}
}

// chunkSource is the bytes of chunks as if they lay in one file.
type chunkSource struct {
	chunks []*Encoded
	starts []int64
}

// ReadAt reads within one chunk.
func (s *chunkSource) ReadAt(p []byte, at int64) (int, error) {
	i := sort.Search(len(s.starts), func(i int) bool { return s.starts[i] > at }) - 1
	if i < 0 {
		return 0, fmt.Errorf("offset %d: %w", at, io.ErrUnexpectedEOF)
	}
	return s.chunks[i].ReadAt(p, at-s.starts[i])
}
