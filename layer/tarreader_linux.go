package layer

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"time"
)

const (
	tarBlock   = 512
	maxRecords = 64 << 10 // bytes of an entry's PAX records that are read here
)

// A tarReader reads an archive as archive/tar does, which takes ten times as long for a header. What most archives consist of it
// reads itself: headers of ustar and GNU with octal numbers, and PAX records. At the first thing beyond that, be it
// damaged or rare, it leaves the rest of the archive to archive/tar. FuzzTarReader holds the two side by side.
type tarReader struct {
	in   *stage
	rest *tar.Reader // reads from where something was left to it; nil before
	err  error       // what every further next returns

	header tar.Header
	seen   []byte // of headers, since the end of the entry before
	left   int64  // bytes of the entry's content
	pad    int64  // bytes that follow it
	buf    []byte // for content that rest reads
}

// next goes to the next entry. The header is valid until it is called again. Of its PAXRecords those alone are sure to
// be there that this package looks at.
func (r *tarReader) next() (h *tar.Header, err error) {
	switch {
	case r.err != nil:
		return nil, r.err
	case r.rest == nil:
		if err = r.skip(); err != nil {
			break
		}
		if r.read() {
			return &r.header, nil
		}
		r.rest = tar.NewReader(io.MultiReader(bytes.NewReader(r.seen), r.in))
		fallthrough
	default:
		h, err = r.rest.Next()
	}
	r.err = err
	return h, err
}

// take returns the next bytes of the entry's content, at most n and, unless they are the last, at least one. They are
// valid until the next call of a method.
func (r *tarReader) take(n int64) ([]byte, error) {
	if r.rest != nil {
		if r.buf == nil {
			r.buf = make([]byte, chunkSize)
		}
		m, err := io.ReadFull(r.rest, r.buf[:min(n, int64(len(r.buf)))])
		return r.buf[:m], err
	}
	if r.left == 0 {
		return nil, io.EOF
	}
	p, err := r.in.take(min(n, r.left))
	r.left -= int64(len(p))
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return p, err
}

// skip goes to the end of the entry.
func (r *tarReader) skip() error {
	for r.left > 0 {
		if _, err := r.take(r.left); err != nil {
			return err
		}
	}
	for r.pad > 0 {
		p, err := r.in.take(r.pad)
		if err != nil {
			return err // the last entry's padding may be missing
		}
		r.pad -= int64(len(p))
	}
	return nil
}

// read reads the headers of the next entry, and says whether it took them.
func (r *tarReader) read() bool {
	r.seen, r.header = r.seen[:0], tar.Header{}
	b, ok := r.more(tarBlock)
	if !ok {
		return false
	}
	var x records
	if b[156] == tar.TypeXHeader {
		var p tar.Header
		if !ustarNumbers(&p, b) || p.Size > maxRecords {
			return false
		}
		text, ok := r.more(int(p.Size + -p.Size&(tarBlock-1)))
		if !ok || !x.parse(text[:p.Size]) {
			return false
		}
		if b, ok = r.more(tarBlock); !ok {
			return false
		}
	}
	h := &r.header
	h.Typeflag = b[156]
	if h.Typeflag < tar.TypeReg || h.Typeflag > tar.TypeFifo || !ustarNumbers(h, b) {
		return false
	}
	ustarNames(h, b, &x)
	x.amend(h)
	r.left = 0
	if h.Typeflag == tar.TypeReg {
		r.left = h.Size
	}
	r.pad = -r.left & (tarBlock - 1)
	return true
}

// more reads n further bytes of headers.
func (r *tarReader) more(n int) ([]byte, bool) {
	from := len(r.seen)
	r.seen = slices.Grow(r.seen, n)[:from+n]
	m, err := io.ReadFull(r.in, r.seen[from:])
	r.seen = r.seen[:from+m]
	return r.seen[from:], err == nil
}

// ustarNumbers reads the numbers of a header, and says whether the header is one.
func ustarNumbers(h *tar.Header, b []byte) bool {
	switch string(b[257:265]) {
	case "ustar\x0000":
		if string(b[508:512]) == "tar\x00" { // star's
			return false
		}
	case "ustar  \x00": // GNU's, without what it has beyond ustar
		if !isZero(b[345:512]) {
			return false
		}
	default:
		return false
	}
	var uid, gid, mtime, sum int64
	for _, f := range [...]struct {
		n        *int64
		from, to int
	}{
		{&h.Mode, 100, 108},
		{&uid, 108, 116},
		{&gid, 116, 124},
		{&h.Size, 124, 136},
		{&mtime, 136, 148},
		{&sum, 148, 156},
		{&h.Devmajor, 329, 337},
		{&h.Devminor, 337, 345},
	} {
		var ok bool
		if *f.n, ok = octal(b[f.from:f.to]); !ok {
			return false
		}
	}
	h.Uid, h.Gid, h.ModTime = int(uid), int(gid), time.Unix(mtime, 0)
	return sum == checksum(b)
}

// octal reads digits that spaces or NUL bytes follow.
func octal(b []byte) (n int64, ok bool) {
	i := 0
	for ; i < len(b) && '0' <= b[i] && b[i] <= '7'; i++ {
		n = n<<3 | int64(b[i]-'0')
	}
	for ; i < len(b); i++ {
		if b[i] != 0 && b[i] != ' ' {
			return 0, false
		}
	}
	return n, true
}

// checksum is the sum of a header's bytes, with spaces in the place of the sum itself.
func checksum(b []byte) int64 {
	const even = 0x00ff00ff00ff00ff
	var sum uint64 // four sums of 16 bits: 128 bytes each
	for i := 0; i < tarBlock; i += 8 {
		v := binary.LittleEndian.Uint64(b[i:])
		sum += v&even + v>>8&even
	}
	n := int64(8 * ' ')
	for ; sum > 0; sum >>= 16 {
		n += int64(sum & 0xffff)
	}
	for _, c := range b[148:156] {
		n -= int64(c)
	}
	return n
}

// ustarNames reads the names of a header, unless there are records of them.
func ustarNames(h *tar.Header, b []byte, x *records) {
	if len(x.path) == 0 {
		h.Name = cString(b[:100])
		if b[263] == '0' && b[345] != 0 { // not GNU's
			h.Name = cString(b[345:500]) + "/" + h.Name
		}
	}
	if len(x.linkpath) == 0 {
		h.Linkname = cString(b[157:257])
	}
}

// cString reads what stands before the first NUL byte.
func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// records are the PAX records of an entry. An empty value stands for that of the header.
type records struct {
	path, linkpath, size, uid, gid, mtime, atime, ctime []byte
	xattrs                                              map[string]string // with their whole keys
}

// parse reads "length key=value\n" again and again, and says whether it took them all.
func (x *records) parse(b []byte) bool {
	for len(b) > 0 {
		digits := 0
		for digits < len(b) && digits < 7 && '0' <= b[digits] && b[digits] <= '9' {
			digits++
		}
		n, ok := decimal(b[:digits])
		if !ok || n < 5 || n > int64(len(b)) || n < int64(digits)+2 || b[digits] != ' ' || b[n-1] != '\n' {
			return false
		}
		key, value, ok := bytes.Cut(b[digits+1:n-1], []byte("="))
		if !ok || !x.note(string(key), value) {
			return false
		}
		b = b[n:]
	}
	return true
}

// note keeps one record. A later one takes the place of an earlier.
func (x *records) note(key string, value []byte) bool {
	if strings.HasPrefix(key, paxXattr) && !strings.Contains(key, "\x00") {
		if x.xattrs == nil {
			x.xattrs = map[string]string{}
		}
		x.xattrs[key] = string(value)
		return true
	}
	ok := key != "" && !strings.HasPrefix(key, "GNU.") && !strings.Contains(key, "\x00") && bytes.IndexByte(value, 0) < 0
	number := func(field *[]byte) {
		*field = value
		if len(value) > 0 {
			_, digits := decimal(value)
			ok = ok && digits
		}
	}
	instant := func(field *[]byte) {
		*field = value
		if len(value) > 0 {
			_, valid := moment(value)
			ok = ok && valid
		}
	}
	switch key {
	case "path":
		x.path = value
	case "linkpath":
		x.linkpath = value
	case "size":
		number(&x.size)
	case "uid":
		number(&x.uid)
	case "gid":
		number(&x.gid)
	case "mtime":
		instant(&x.mtime)
	case "atime":
		instant(&x.atime)
	case "ctime":
		instant(&x.ctime)
	}
	return ok
}

// amend puts the records, which are valid, into a header.
func (x *records) amend(h *tar.Header) {
	if len(x.path) > 0 {
		h.Name = string(x.path)
	}
	if len(x.linkpath) > 0 {
		h.Linkname = string(x.linkpath)
	}
	if len(x.size) > 0 {
		h.Size, _ = decimal(x.size)
	}
	if n, ok := decimal(x.uid); ok {
		h.Uid = int(n)
	}
	if n, ok := decimal(x.gid); ok {
		h.Gid = int(n)
	}
	if t, ok := moment(x.mtime); ok {
		h.ModTime = t
	}
	if t, ok := moment(x.atime); ok {
		h.AccessTime = t
	}
	h.PAXRecords = x.xattrs
}

// decimal reads up to 18 digits, and at least one.
func decimal(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// moment reads seconds since 1970, and their fraction, of which nine digits count.
func moment(b []byte) (time.Time, bool) {
	whole, fraction, _ := bytes.Cut(b, []byte("."))
	seconds, ok := decimal(whole)
	if !ok {
		return time.Time{}, false
	}
	var nano int64
	for i := range max(9, len(fraction)) {
		c := byte('0')
		if i < len(fraction) {
			c = fraction[i]
		}
		if c < '0' || c > '9' {
			return time.Time{}, false
		}
		if i < 9 {
			nano = nano*10 + int64(c-'0')
		}
	}
	return time.Unix(seconds, nano), true
}
