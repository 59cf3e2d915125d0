package main

import (
	"bufio"
	"fmt"
	"io"
)

// A cpio writes an archive in the format "newc", which the kernel unpacks as its first root file system.
type cpio struct {
	w     *bufio.Writer
	inode int
}

func newCPIO(w io.Writer) *cpio { return &cpio{w: bufio.NewWriterSize(w, 1<<20)} }

const (
	modeDir  = 0o040000
	modeFile = 0o100000
)

// Dir adds a folder. Its parent must have been added.
func (c *cpio) Dir(name string) error { return c.entry(name, modeDir|0o755, nil) }

// File adds a regular file.
func (c *cpio) File(name string, perm int, content []byte) error {
	return c.entry(name, modeFile|perm, content)
}

// Close ends the archive.
func (c *cpio) Close() error {
	if err := c.entry("TRAILER!!!", 0, nil); err != nil {
		return err
	}
	return c.w.Flush()
}

// entry writes thirteen numbers of eight hexadecimal digits (inode, mode, uid, gid, links, mtime, size, four device
// numbers, length of the name with its NUL, checksum), the name and the content, each padded to four bytes.
func (c *cpio) entry(name string, mode int, content []byte) error {
	c.inode++
	fields := [13]int{c.inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0}
	n, _ := io.WriteString(c.w, "070701")
	for _, f := range fields {
		m, _ := fmt.Fprintf(c.w, "%08X", f)
		n += m
	}
	m, _ := io.WriteString(c.w, name+"\x00")
	c.pad(n + m)
	_, err := c.w.Write(content)
	c.pad(len(content))
	return err
}

// pad completes n bytes to a multiple of four. The writer keeps an error for Flush.
func (c *cpio) pad(n int) { _, _ = c.w.Write(make([]byte, -n&3)) }
