package build

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// Bounds of a Dockerfile.
const (
	maxDockerfile   = 1 << 20 // bytes
	maxInstructions = 10_000
)

// An instruction is one of a Dockerfile, as it is written.
type instruction struct {
	name     string // in upper case
	flags    []flag
	rest     string    // what follows name and flags
	list     []string  // rest, if it is a list as JSON has it
	isList   bool      // list counts
	heredocs []heredoc // in their order
	line     int       // the first one's number, from one
	text     string    // as it is shown: without continuations and here-documents
}

type flag struct {
	name, value string
	set         bool // there is a value
}

// A heredoc is a here-document: <<NAME, and lines up to one that is NAME.
type heredoc struct {
	name, content string
	expand        bool // variables in it are replaced: no part of the name is quoted
	chomp         bool // <<-: tabs at the beginning of lines do not count
}

// A dockerfile is a parsed Dockerfile.
type dockerfile struct {
	instructions []instruction
	escape       rune
}

// A SyntaxError says where in a Dockerfile something is wrong.
type SyntaxError struct {
	File string // its name
	Line int    // from one; 0 for the whole
	Err  error
}

func (e *SyntaxError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
}

// Unwrap returns Err.
func (e *SyntaxError) Unwrap() error { return e.Err }

// ErrSyntax is what a SyntaxError wraps when the Dockerfile breaks the rules of its language.
var ErrSyntax = errors.New("dockerfile parse error")

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrSyntax}, args...)...)
}

// words are those that are known.
var words = map[string]bool{
	"ADD": true, "ARG": true, "CMD": true, "COPY": true, "ENTRYPOINT": true, "ENV": true, "EXPOSE": true, "FROM": true, "HEALTHCHECK": true,
	"LABEL": true, "MAINTAINER": true, "ONBUILD": true, "RUN": true, "SHELL": true, "STOPSIGNAL": true, "USER": true, "VOLUME": true,
	"WORKDIR": true,
}

// parse reads a Dockerfile.
func parse(file string, b []byte) (_ *dockerfile, err error) {
	p := &parser{escape: '\\', directives: true}
	defer func() {
		if err != nil {
			err = &SyntaxError{File: file, Line: p.first, Err: err}
		}
	}()
	if len(b) > maxDockerfile {
		return nil, bad("%d bytes; at most %d are read", len(b), maxDockerfile)
	}
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return nil, bad("a NUL byte")
	}
	p.lines = strings.SplitAfter(string(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))), "\n")
	for p.next < len(p.lines) {
		if err := p.instruction(); err != nil {
			return nil, err
		}
		if len(p.found) > maxInstructions {
			return nil, bad("more than %d instructions", maxInstructions)
		}
	}
	if p.first = 0; len(p.found) == 0 {
		return nil, bad("file with no instructions")
	}
	return &dockerfile{p.found, p.escape}, nil
}

type parser struct {
	lines      []string // with their ends
	next       int
	first      int // the instruction's line, from one
	escape     rune
	directives bool // may follow
	seen       map[string]bool
	found      []instruction
}

var directive = regexp.MustCompile(`^#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*$`)

// instruction reads what begins at the next line: a directive, a comment, nothing, or an instruction with its continuations.
func (p *parser) instruction() error {
	line := strings.TrimLeftFunc(strings.TrimRight(p.lines[p.next], "\r\n"), unicode.IsSpace)
	p.next++
	p.first = p.next
	if strings.HasPrefix(line, "#") {
		return p.directive(line)
	}
	p.directives = false
	var text strings.Builder
	part, more := p.continued(line)
	text.WriteString(part)
	for more && p.next < len(p.lines) {
		line = strings.TrimRight(p.lines[p.next], "\r\n")
		p.next++
		if bare := strings.TrimSpace(line); bare == "" || bare[0] == '#' {
			continue
		}
		part, more = p.continued(line)
		text.WriteString(part)
	}
	if strings.TrimSpace(text.String()) == "" {
		return nil
	}
	x, err := newInstruction(text.String(), p.escape)
	if err != nil {
		return err
	}
	x.line = p.first
	if x.name == "RUN" || x.name == "COPY" || x.name == "ADD" {
		if err := p.heredocs(x); err != nil {
			return err
		}
	}
	p.found = append(p.found, *x)
	return nil
}

// directive reads "# name=value" at the file's head.
func (p *parser) directive(line string) error {
	m := directive.FindStringSubmatch(line)
	if !p.directives || m == nil {
		p.directives = false
		return nil
	}
	name := strings.ToLower(m[1])
	switch name {
	case "escape", "syntax", "check":
	default:
		p.directives = false
		return nil
	}
	if p.seen[name] {
		return bad("only one %s parser directive can be used", name)
	}
	if p.seen == nil {
		p.seen = map[string]bool{}
	}
	p.seen[name] = true
	if name == "escape" {
		if m[2] != "`" && m[2] != `\` {
			return bad("invalid escape token '%.20s' does not match ` or \\", m[2])
		}
		p.escape = rune(m[2][0])
	}
	return nil
}

// continued takes the escape character off a line's end, unless it is escaped itself, and says whether it was there.
func (p *parser) continued(line string) (string, bool) {
	bare := strings.TrimRight(line, " \t")
	cut, ok := strings.CutSuffix(bare, string(p.escape))
	if !ok || strings.HasSuffix(cut, string(p.escape)) {
		return line, false
	}
	return cut, true
}

// newInstruction takes a line apart.
func newInstruction(text string, escape rune) (*instruction, error) {
	text = strings.TrimSpace(text)
	name, rest := text, ""
	if i := strings.IndexFunc(text, unicode.IsSpace); i >= 0 {
		name, rest = text[:i], strings.TrimSpace(text[i:])
	}
	x := &instruction{name: strings.ToUpper(name), text: text}
	if !words[x.name] {
		return nil, bad("unknown instruction: %.40s", name)
	}
	var err error
	if x.flags, x.rest, err = flags(rest, escape); err != nil {
		return nil, err
	}
	switch x.name {
	case "ADD", "CMD", "COPY", "ENTRYPOINT", "RUN", "SHELL", "VOLUME":
		x.list, x.isList = jsonList(x.rest)
	}
	if x.rest == "" && x.name != "CMD" && x.name != "ENTRYPOINT" {
		return nil, bad("%s requires an argument", x.name)
	}
	return x, nil
}

// jsonList reads ["a", "b"].
func jsonList(s string) (list []string, ok bool) {
	if !strings.HasPrefix(s, "[") {
		return nil, false
	}
	var any []any
	if json.Unmarshal([]byte(s), &any) != nil {
		return nil, false
	}
	list = []string{}
	for _, v := range any {
		s, ok := v.(string)
		if !ok {
			return nil, false
		}
		list = append(list, s)
	}
	return list, true
}

// flags takes "--name=value" words off the front. Quotes keep blanks together, and are not part of the value; the escape character
// takes the next one as it is.
func flags(s string, escape rune) (list []flag, rest string, err error) {
	for strings.HasPrefix(s, "--") {
		word, quote, escaped, end := strings.Builder{}, rune(0), false, len(s)
	scan:
		for i, r := range s {
			switch {
			case escaped:
				word.WriteRune(r)
				escaped = false
			case r == escape:
				escaped = true
			case quote != 0 && r == quote:
				quote = 0
			case quote != 0:
				word.WriteRune(r)
			case r == '"' || r == '\'':
				quote = r
			case unicode.IsSpace(r):
				end = i
				break scan
			default:
				word.WriteRune(r)
			}
		}
		if quote != 0 {
			return nil, "", bad("unfinished quote in %.40q", s)
		}
		s = strings.TrimSpace(s[end:])
		if word.String() == "--" {
			break
		}
		name, value, set := strings.Cut(word.String()[2:], "=")
		list = append(list, flag{name, value, set})
	}
	return list, s, nil
}

var heredocWord = regexp.MustCompile(`^\d*<<(-?)([^<]+)$`)

// heredocs reads the here-documents that an instruction names, which follow it.
func (p *parser) heredocs(x *instruction) error {
	if !strings.Contains(x.rest, "<<") {
		return nil
	}
	lex := shell.NewLex('\\')
	lex.RawQuotes, lex.RawEscapes, lex.SkipUnsetEnv = true, true, true
	list, err := lex.ProcessWords(x.rest, noVariables{})
	if err != nil {
		return nil // what is no list of words names none
	}
	for _, w := range list {
		h := newHeredoc(w)
		if h == nil {
			continue
		}
		var content strings.Builder
		for ended := false; !ended; {
			if p.next >= len(p.lines) {
				return bad("unterminated heredoc")
			}
			line := p.lines[p.next]
			p.next++
			bare := strings.TrimRight(line, "\r\n")
			if h.chomp {
				bare = strings.TrimLeft(bare, "\t")
				line = strings.TrimLeft(line, "\t")
			}
			if ended = bare == h.name; !ended {
				content.WriteString(line)
			}
		}
		h.content = content.String()
		x.heredocs = append(x.heredocs, *h)
	}
	return nil
}

// newHeredoc reads "<<NAME", or returns nil.
func newHeredoc(word string) *heredoc {
	m := heredocWord.FindStringSubmatch(word)
	if m == nil {
		return nil
	}
	lex := shell.NewLex('\\')
	lex.SkipUnsetEnv = true
	names, err := lex.ProcessWords(m[2], noVariables{})
	if err != nil || len(names) != 1 {
		return nil
	}
	return &heredoc{name: names[0], chomp: m[1] == "-", expand: !strings.ContainsAny(m[2], `'"`)}
}

type noVariables struct{}

func (noVariables) Get(string) (string, bool) { return "", false }
func (noVariables) Keys() []string            { return nil }

// quotedWords splits at blanks that are neither quoted nor escaped, and leaves quotes and escapes as they are.
func quotedWords(s string, escape rune) (list []string) {
	var word strings.Builder
	quote, escaped := rune(0), false
	end := func() {
		if word.Len() > 0 {
			list = append(list, word.String())
			word.Reset()
		}
	}
	for _, r := range s {
		switch {
		case escaped:
			escaped = false
		case r == escape && quote != '\'':
			escaped = true
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '"' || r == '\'':
			quote = r
		case unicode.IsSpace(r):
			end()
			continue
		}
		word.WriteRune(r)
	}
	end()
	return list
}

// A pair is name=value.
type pair struct {
	name, value string
	set         bool // there is a value
}

// pairs reads what ENV and LABEL have: "a=b c=d", or "a all the rest".
func (x *instruction) pairs(escape rune) (list []pair, err error) {
	all := quotedWords(x.rest, escape)
	if len(all) > 0 && !strings.Contains(all[0], "=") {
		i := strings.IndexFunc(x.rest, unicode.IsSpace)
		if i < 0 {
			return nil, bad("%s must have two arguments", x.name)
		}
		return []pair{{x.rest[:i], strings.TrimLeftFunc(x.rest[i:], unicode.IsSpace), true}}, nil
	}
	for _, w := range all {
		name, value, ok := strings.Cut(w, "=")
		if !ok {
			return nil, bad("can't find = in %.40q. Must be of the form: name=value", w)
		}
		if name == "" {
			return nil, bad("%s names can not be blank", x.name)
		}
		list = append(list, pair{name, value, true})
	}
	return list, nil
}

// only returns the flags by name, and refuses all but those that are allowed. Those of unknown are named as not implemented.
func (x *instruction) only(allowed ...string) (map[string][]string, error) {
	got := map[string][]string{}
	for _, f := range x.flags {
		known := false
		for _, a := range allowed {
			known = known || a == f.name
		}
		switch {
		case known:
			got[f.name] = append(got[f.name], f.value)
			if !f.set {
				got[f.name][len(got[f.name])-1] = "true"
			}
		case x.name+" "+f.name == "RUN security" || x.name+" "+f.name == "RUN device" || x.name+" "+f.name == "COPY parents" ||
			f.name == "exclude" || f.name == "keep-git-dir" || f.name == "unpack":
			return nil, fmt.Errorf("%s --%s is not implemented: %w", x.name, f.name, errors.ErrUnsupported)
		default:
			return nil, bad("unknown flag: --%.40s", f.name)
		}
	}
	for name, values := range got {
		if len(values) > 1 && name != "mount" {
			return nil, bad("duplicate flag specified: --%s", name)
		}
	}
	return got, nil
}
