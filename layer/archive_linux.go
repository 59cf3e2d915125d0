package layer

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// archive/tar writes no sparse files, so that a file of a terabyte of holes would become a terabyte of zeros. What is
// written here is POSIX.1-2001's interchange format (pax(1)) with GNU's sparse format 1.0, which archive/tar, GNU tar and
// bsdtar read: a record of each thing that ustar's fields cannot hold, then the ustar header.

const (
	blockSize  = 512
	sparseName = "GNUSparseFile.0"
	maxOctal7  = 1<<21 - 1 // of a field of seven octal digits
	maxOctal11 = 1<<33 - 1 // of eleven
)

// A tarEntry is what an entry's header says. Name and link end as they are to be read: a folder's name with a slash.
type tarEntry struct {
	name, link string
	typ        byte
	mode       uint32
	uid, gid   uint32
	size       int64
	mtime      unix.Timespec
	rdev       uint64
	xattrs     map[string]string

	holes []extent // the parts of a sparse file that hold data; nil for any other file
}

// An extent is a part of a file.
type extent struct{ at, size int64 }

// A tarWriter writes entries. Errors stay.
type tarWriter struct {
	w   io.Writer
	pad int64 // bytes that the current entry's last block lacks
	err error
}

func (t *tarWriter) write(p []byte) {
	if t.err == nil {
		_, t.err = t.w.Write(p)
	}
}

// Write implements io.Writer for an entry's content.
func (t *tarWriter) Write(p []byte) (int, error) {
	t.write(p)
	if t.err != nil {
		return 0, t.err
	}
	return len(p), nil
}

// begin writes an entry's header. The content must follow: of a sparse file its extents, one after the other; then end.
func (t *tarWriter) begin(e *tarEntry) error {
	records := map[string]string{}
	for name, value := range e.xattrs {
		records[paxXattr+name] = value
	}
	header, size := *e, e.size
	var sparse []byte
	if e.holes != nil {
		sparse, size = sparseMap(e.holes)
		records["GNU.sparse.major"], records["GNU.sparse.minor"] = "1", "0"
		records["GNU.sparse.name"], records["GNU.sparse.realsize"] = e.name, strconv.FormatInt(e.size, 10)
		dir, base := splitName(e.name)
		header.name = joinName(joinName(dir, sparseName), base)
	}
	header.size = size
	block := header.ustar(records)
	if len(records) > 0 {
		body := paxRecords(records)
		x := tarEntry{name: "PaxHeaders.0/" + short80(lastName(e.name)), typ: 'x', mode: 0o644, size: int64(len(body))}
		t.write(x.ustar(map[string]string{}))
		t.write(body)
		t.write(make([]byte, padding(int64(len(body)))))
	}
	t.write(block)
	t.write(sparse)
	t.pad = padding(size)
	return t.err
}

// end fills the entry's last block.
func (t *tarWriter) end() error {
	t.write(zeros[:t.pad])
	t.pad = 0
	return t.err
}

// close ends the archive.
func (t *tarWriter) close() error {
	t.write(zeros[:2*blockSize])
	return t.err
}

func padding(size int64) int64 { return (blockSize - size%blockSize) % blockSize }

func lastName(name string) string {
	_, base := splitName(strings.TrimSuffix(name, "/"))
	return base
}

func short80(s string) string { return s[:min(len(s), 80)] }

// ustar returns the header's block; what does not fit becomes a record.
func (e *tarEntry) ustar(records map[string]string) []byte {
	b := make([]byte, blockSize)
	text := func(at, size int, s, key string) {
		if len(s) > size && key != "" {
			records[key] = s
		}
		copy(b[at:at+size], s)
	}
	number := func(at, size int, v, most int64, key string) {
		if v < 0 || v > most {
			records[key] = strconv.FormatInt(v, 10)
			v = 0
		}
		copy(b[at:at+size], fmt.Sprintf("%0*o\x00", size-1, v))
	}
	if e.holes != nil {
		text(0, 100, e.name, "") // GNU.sparse.name has it
	} else {
		text(0, 100, e.name, "path")
	}
	number(100, 8, int64(e.mode), maxOctal7, "mode")
	number(108, 8, int64(e.uid), maxOctal7, "uid")
	number(116, 8, int64(e.gid), maxOctal7, "gid")
	number(124, 12, e.size, maxOctal11, "size")
	if e.mtime.Nsec != 0 || e.mtime.Sec < 0 || e.mtime.Sec > maxOctal11 {
		records["mtime"] = paxTime(e.mtime)
	}
	copy(b[136:148], fmt.Sprintf("%011o\x00", min(max(e.mtime.Sec, 0), maxOctal11)))
	b[156] = e.typ
	text(157, 100, e.link, "linkpath")
	copy(b[257:265], "ustar\x0000")
	if e.typ == '3' || e.typ == '4' {
		copy(b[329:337], fmt.Sprintf("%07o\x00", unix.Major(e.rdev)))
		copy(b[337:345], fmt.Sprintf("%07o\x00", unix.Minor(e.rdev)))
	}
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

// paxTime writes a time as a decimal fraction. Of a time before 1970 the fraction counts on from the second before, in
// unix.Timespec, and down from zero in what is written.
func paxTime(t unix.Timespec) string {
	sec, nsec, sign := t.Sec, t.Nsec, ""
	if sec < 0 && nsec > 0 {
		sec, nsec = sec+1, 1e9-nsec
	}
	if t.Sec < 0 {
		sign, sec = "-", -sec
	}
	s := sign + strconv.FormatInt(sec, 10)
	if nsec != 0 {
		s += strings.TrimRight(fmt.Sprintf(".%09d", nsec), "0")
	}
	return s
}

// paxRecords writes records as "length key=value\n", the length of all of it in decimal digits, sorted by key.
func paxRecords(records map[string]string) []byte {
	var b []byte
	for _, k := range slices.Sorted(maps.Keys(records)) {
		rest := len(k) + len(records[k]) + 3 // the blank, the equals sign and the newline
		size := rest + len(strconv.Itoa(rest))
		if n := rest + len(strconv.Itoa(size)); n != size {
			size = n
		}
		b = fmt.Appendf(b, "%d %s=%s\n", size, k, records[k])
	}
	return b
}

// sparseMap returns the map that a sparse file's content begins with, and the size of both together.
func sparseMap(parts []extent) (m []byte, size int64) {
	m = fmt.Appendf(m, "%d\n", len(parts))
	for _, p := range parts {
		m = fmt.Appendf(m, "%d\n%d\n", p.at, p.size)
		size += p.size
	}
	m = append(m, make([]byte, padding(int64(len(m))))...)
	return m, size + int64(len(m))
}
