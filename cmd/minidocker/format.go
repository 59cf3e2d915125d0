package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/template"
)

// A formatter prints things by a template of Go's, as docker's --format does: each on a line, or with "table " before as
// columns below headings, which are what the template makes of the headings.
type formatter struct {
	template *template.Template
	table    bool
	json     bool
}

func newFormatter(format string) (*formatter, error) {
	f := &formatter{}
	switch rest, table := strings.CutPrefix(format, "table "); {
	case format == "json":
		f.json = true
		return f, nil
	case table:
		f.table, format = true, rest
	}
	format = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(format)
	var err error
	f.template, err = template.New("").Funcs(template.FuncMap{
		"json": func(v any) (string, error) {
			var b bytes.Buffer
			e := json.NewEncoder(&b)
			e.SetEscapeHTML(false)
			err := e.Encode(v)
			return strings.TrimSpace(b.String()), err
		},
		"lower": strings.ToLower, "upper": strings.ToUpper, "join": strings.Join, "split": strings.Split,
		"title":    func(s string) string { return strings.ToUpper(s[:min(1, len(s))]) + s[min(1, len(s)):] },
		"println":  func(v ...any) string { return fmt.Sprintln(v...) },
		"truncate": func(s string, n int) string { return s[:max(0, min(n, len(s)))] },
	}).Parse(format)
	if err != nil {
		return nil, fmt.Errorf("template parsing error: %w", err)
	}
	return f, nil
}

// print prints a list, below headings if it is to be a table.
func (f *formatter) print(out io.Writer, headings any, list []any) error {
	all := bufio.NewWriter(out) // a tabwriter writes each cell by itself
	return errors.Join(f.printTo(all, headings, list), all.Flush())
}

func (f *formatter) printTo(out io.Writer, headings any, list []any) error {
	if f.json {
		for _, v := range list {
			b, err := json.Marshal(v)
			if err != nil {
				return err
			}
			say(out, "%s", b)
		}
		return nil
	}
	if !f.table {
		return f.lines(out, list)
	}
	w := table(out)
	if err := f.lines(w, append([]any{headings}, list...)); err != nil {
		return err
	}
	return w.Flush()
}

func (f *formatter) lines(out io.Writer, list []any) error {
	for _, v := range list {
		var b bytes.Buffer
		if err := f.template.Execute(&b, v); err != nil {
			return fmt.Errorf("template: %w", err)
		}
		say(out, "%s", b.String())
	}
	return nil
}

// document prints a document, whose fields a template has by the names that they have in Go or, if it names others, in JSON.
func (f *formatter) document(out io.Writer, d *document) error {
	if f.json {
		say(out, "%s", d.raw)
		return nil
	}
	err := f.lines(out, []any{d.typed})
	if err == nil {
		return nil
	}
	read := json.NewDecoder(bytes.NewReader(d.raw))
	read.UseNumber()
	var raw any
	if e := read.Decode(&raw); e != nil {
		return e
	}
	f.template.Option("missingkey=error")
	if f.lines(out, []any{raw}) == nil {
		return nil
	}
	return err
}
