// Command embedded compares libraries for the embedded online store: loads of rows where the newest wins, lookups of 100
// entities with 5 views each, size on disk, and the time to open after a kill. Its module is its own, so that what was
// not chosen is no dependency of Provender.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	entities = 100_000
	views    = 5
	perBatch = 10_000
	perRead  = 100
)

// library is a candidate with one folder open.
type library interface {
	// write stores the rows that are greater than what is there, in one synced commit; keys are sorted.
	write(keys, rows [][]byte) error
	// read appends the rows of entities, all their views: keys begin with the entity.
	read(dst []byte, prefixes [][]byte) ([]byte, error)
	// settle does what the library would do in the background.
	settle() error
	close() error
}

var libraries = map[string]func(dir string) (library, error){"pebble": openPebble, "bbolt": openBolt}

func main() {
	log.SetFlags(0)
	rounds := flag.Int("rounds", 6, "how often each library is measured, by turns")
	reads := flag.Int("reads", 3000, "lookups per round")
	child := flag.String("child", "", "internal: load with this library into the folder in the first argument, and wait")
	flag.Parse()
	if *child != "" {
		if err := load(*child, flag.Arg(0)); err != nil {
			log.Fatal(err)
		}
		return
	}
	fmt.Printf("%-7s %12s %12s %12s %12s %12s %9s\n",
		"", "load", "overwrite", "lookup", "lookup CPU", "open", "size")
	for range *rounds {
		for _, name := range []string{"pebble", "bbolt"} {
			if err := measure(name, *reads); err != nil {
				log.Fatal(err)
			}
		}
	}
}

// measure prints one line: rows per second of a first load and of one over it, a lookup's time and CPU time, the time
// to open after a kill, and the size of the folder.
func measure(name string, reads int) error {
	dir, err := os.MkdirTemp("", "provender-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	rates, err := loadAndKill(name, dir)
	if err != nil {
		return err
	}
	start := time.Now()
	lib, err := libraries[name](dir)
	if err != nil {
		return err
	}
	opened := time.Since(start)
	if err := lib.settle(); err != nil {
		return err
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	prefixes := make([][]byte, perRead)
	var out []byte
	lookup := func() error {
		for i := range prefixes {
			prefixes[i] = appendEntity(prefixes[i][:0], rnd.IntN(entities))
		}
		slices.SortFunc(prefixes, bytes.Compare)
		out, err = lib.read(out[:0], prefixes)
		if err == nil && len(out) != perRead*views*len(row(0, 0)) {
			err = fmt.Errorf("%s: %d bytes", name, len(out))
		}
		return err
	}
	for range reads { // warm
		if err := lookup(); err != nil {
			return err
		}
	}
	start = time.Now()
	used := cpu()
	for range reads {
		if err := lookup(); err != nil {
			return err
		}
	}
	used, wall := cpu()-used, time.Since(start)
	if err := lib.close(); err != nil {
		return err
	}
	size, err := diskSize(dir)
	if err != nil {
		return err
	}
	fmt.Printf("%-7s %10s/s %10s/s %12v %12v %12v %6d MB\n", name, rates[0], rates[1],
		(wall / time.Duration(reads)).Round(time.Microsecond), (used / time.Duration(reads)).Round(time.Microsecond),
		opened.Round(time.Millisecond), size>>20)
	return nil
}

// loadAndKill loads in a process of its own, and kills it.
func loadAndKill(name, dir string) ([]string, error) {
	cmd := exec.Command(os.Args[0], "-child", name, dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe() // held open: the child waits for its end
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return strings.Fields(line), err
}

func load(name, dir string) error {
	lib, err := libraries[name](dir)
	if err != nil {
		return err
	}
	var rates []any
	for event := range 2 {
		start := time.Now()
		for view := range views {
			if err := loadView(lib, view, event); err != nil {
				return err
			}
		}
		rates = append(rates, int(entities*views/time.Since(start).Seconds()))
	}
	fmt.Println(rates...)
	_, err = os.Stdin.Read(make([]byte, 1))
	return err
}

func loadView(lib library, view, event int) error {
	order := rand.New(rand.NewPCG(uint64(view), 3)).Perm(entities)
	for part := range slices.Chunk(order, perBatch) {
		var keys, rows [][]byte
		slices.SortFunc(part, func(a, b int) int { return bytes.Compare(appendEntity(nil, a), appendEntity(nil, b)) })
		for _, k := range part {
			keys = append(keys, append(appendEntity(nil, k), byte(view)))
			rows = append(rows, row(k*views+view, event))
		}
		if err := lib.write(keys, rows); err != nil {
			return err
		}
	}
	return nil
}

// appendEntity appends what the keys of an entity's rows begin with.
func appendEntity(dst []byte, k int) []byte {
	key := binary.AppendVarint([]byte{1}, int64(k)*7919)
	return append(append(dst, 'r', 1, 1, byte(len(key))), key...)
}

// row returns 5 float64 and 5 int64 as Provender packs them, after their time.
func row(seed, event int) []byte {
	rnd := rand.New(rand.NewPCG(uint64(seed), uint64(event)))
	b := []byte{0x1e, 0x64, 0x60, 0x61, byte(event << 1), 0, 0x10}
	for range 5 {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(rnd.Float64()*1000))
	}
	for range 5 {
		b = append(b, byte(rnd.Uint32()), byte(rnd.Uint32()), byte(rnd.Uint32()))
	}
	return append(b, byte(rnd.Uint32()), byte(rnd.Uint32()))
}

func cpu() time.Duration {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func diskSize(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	return size, err
}
