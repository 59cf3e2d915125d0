package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// A logger writes messages as callers of runc read them: lines of text or JSON, in a file or on standard error.
type logger struct {
	file  *os.File // nil: standard error
	json  bool
	debug bool
}

// open opens the file, which is added to: the callers of several commands may name the same.
func (l *logger) open(path, format string, debug bool) error {
	l.debug = debug
	switch format {
	case "json":
		l.json = true
	case "", "text":
	default:
		return fmt.Errorf("invalid log-format: %s", format)
	}
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND|os.O_SYNC, 0o644)
	l.file = f
	return err
}

// fail says why the command ends: in the log, and if that is a file, on standard error too. There is one line of it: some
// callers read the whole file as one message.
func (c *command) fail(err error) {
	c.logf("error", "%v", err)
	if c.log.file != nil {
		fmt.Fprintln(c.stderr, err)
	}
}

// warn says what is wrong but does not keep the command from its work.
func (c *command) warn(format string, args ...any) { c.logf("warning", format, args...) }

// debugf says what is done, with --debug.
func (c *command) debugf(format string, args ...any) {
	if c.log.debug {
		c.logf("debug", format, args...)
	}
}

func (c *command) logf(level, format string, args ...any) {
	w := c.stderr
	if c.log.file != nil {
		w = io.Writer(c.log.file)
	}
	line := c.log.line(time.Now(), level, fmt.Sprintf(format, args...))
	_, _ = w.Write(line) // whoever cannot be told, is not
}

// line formats a message, as logrus does for runc.
func (l *logger) line(at time.Time, level, msg string) []byte {
	stamp := at.Format(time.RFC3339)
	if l.json {
		b, err := json.Marshal(struct {
			Level string `json:"level"`
			Msg   string `json:"msg"`
			Time  string `json:"time"`
		}{level, msg, stamp})
		if err == nil {
			return append(b, '\n')
		}
	}
	if needsQuotes(msg) {
		msg = fmt.Sprintf("%q", msg)
	}
	return fmt.Appendf(nil, "time=%q level=%s msg=%s\n", stamp, level, msg)
}

// needsQuotes says whether a value of the text form is quoted: unless it is one plain word.
func needsQuotes(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._/@^+", c) >= 0:
		default:
			return true
		}
	}
	return s == ""
}
