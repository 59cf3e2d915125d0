package plainjson

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
)

// maxDepth is how deep values may be nested.
const maxDepth = 64

// Decode decodes one JSON value into what v points at, which is to be its type's zero value, as json.Unmarshal does. It says
// false if it cannot: because of what encoding/json would not take either, or takes in a way that is rare. What v points at is
// of no use then.
//
// It knows structs without embedded ones, pointers, slices, maps by string, strings, integers and booleans, and types that
// decode themselves. Strings share the memory of one copy of data.
func Decode(data []byte, v any) bool {
	p := reflect.ValueOf(v)
	if p.Kind() != reflect.Pointer || p.IsNil() {
		return false
	}
	d := &decoder{s: string(data), structs: make(map[reflect.Type][]field)}
	if !d.value(p.Elem()) {
		return false
	}
	d.space()
	return d.at == len(d.s)
}

type decoder struct {
	s       string
	at      int
	depth   int
	structs map[reflect.Type][]field
}

// A field is one of a struct that the document may name.
type field struct {
	name  string
	index int
}

func (d *decoder) space() {
	for d.at < len(d.s) {
		switch d.s[d.at] {
		case ' ', '\t', '\n', '\r':
			d.at++
		default:
			return
		}
	}
}

// next passes white space and the byte b, if that is next.
func (d *decoder) next(b byte) bool {
	d.space()
	if d.at < len(d.s) && d.s[d.at] == b {
		d.at++
		return true
	}
	return false
}

// word passes a word, if it is next.
func (d *decoder) word(w string) bool {
	if strings.HasPrefix(d.s[d.at:], w) {
		d.at += len(w)
		return true
	}
	return false
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// decodesItself says whether encoding/json would ask the type: it asks for a TextUnmarshaler, too.
func decodesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	if p.NumMethod() == 0 {
		return false
	}
	_, text := p.MethodByName("UnmarshalText")
	return text || p.Implements(unmarshaler)
}

func (d *decoder) value(v reflect.Value) bool {
	d.space()
	if d.at == len(d.s) {
		return false
	}
	if d.depth++; d.depth > maxDepth {
		return false
	}
	defer func() { d.depth-- }()
	t := v.Type()
	if t.Name() != "" && decodesItself(t) {
		return d.itself(v)
	}
	if d.word("null") {
		switch t.Kind() {
		case reflect.Pointer, reflect.Map, reflect.Slice:
			v.SetZero()
		}
		return true
	}
	switch t.Kind() {
	case reflect.Pointer:
		e := reflect.New(t.Elem())
		v.Set(e)
		return d.value(e.Elem())
	case reflect.Struct:
		return d.object(func(name string, seen *uint64) bool { return d.field(v, name, seen) })
	case reflect.Map:
		return d.mapping(v)
	case reflect.Slice:
		return d.slice(v)
	case reflect.String:
		s, ok := d.text()
		v.SetString(s)
		return ok
	case reflect.Bool:
		v.SetBool(d.at < len(d.s) && d.s[d.at] == 't')
		return d.word("true") || d.word("false")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(d.integer(), 10, t.Bits())
		v.SetInt(n)
		return err == nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(d.integer(), 10, t.Bits())
		v.SetUint(n)
		return err == nil
	}
	return false
}

// itself has a value decode itself.
func (d *decoder) itself(v reflect.Value) bool {
	from := d.at
	if d.word("null") || !d.skip() {
		return false
	}
	u, ok := v.Addr().Interface().(json.Unmarshaler)
	return ok && u.UnmarshalJSON([]byte(d.s[from:d.at])) == nil
}

// object decodes an object; each name's value is decoded by member.
func (d *decoder) object(member func(name string, seen *uint64) bool) bool {
	if !d.next('{') {
		return false
	}
	var seen uint64
	for first := true; ; first = false {
		if first && d.next('}') {
			return true
		}
		d.space()
		name, ok := d.text()
		if !ok || !d.next(':') || !member(name, &seen) {
			return false
		}
		if d.next('}') {
			return true
		}
		if !d.next(',') {
			return false
		}
	}
}

// field decodes a struct's field. seen has a bit for each that was there: encoding/json merges what comes twice.
func (d *decoder) field(v reflect.Value, name string, seen *uint64) bool {
	fields, ok := d.fields(v.Type())
	if !ok {
		return false
	}
	for i := range fields {
		if fields[i].name != name {
			continue
		}
		if *seen&(1<<i) != 0 {
			return false
		}
		*seen |= 1 << i
		return d.value(v.Field(fields[i].index))
	}
	for i := range fields {
		if strings.EqualFold(fields[i].name, name) { // which encoding/json takes for the same
			return false
		}
	}
	d.space()
	return d.skip()
}

// fields are those of a struct that can be decoded; ok is false if it is not plain.
func (d *decoder) fields(t reflect.Type) (list []field, ok bool) {
	if list, ok = d.structs[t]; ok {
		return list, true
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			return nil, false
		}
		if !f.IsExported() {
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case options != "" && options != "omitempty", strings.ContainsAny(name, `\`): // names that are not plain are not taken
			return nil, false
		case name == "-":
			continue
		case name == "":
			name = f.Name
		}
		list = append(list, field{name, i})
	}
	const most = 64 // bits of what was seen
	if len(list) > most {
		return nil, false
	}
	d.structs[t] = list
	return list, true
}

func (d *decoder) mapping(v reflect.Value) bool {
	t := v.Type()
	if t.Key().Kind() != reflect.String || t.Key().Name() != "string" {
		return false
	}
	m := reflect.MakeMap(t)
	v.Set(m)
	return d.object(func(name string, _ *uint64) bool {
		e := reflect.New(t.Elem()).Elem()
		if !d.value(e) {
			return false
		}
		m.SetMapIndex(reflect.ValueOf(name), e)
		return true
	})
}

func (d *decoder) slice(v reflect.Value) bool {
	t := v.Type()
	if t.Elem().Kind() == reflect.Uint8 || !d.next('[') { // bytes are base64
		return false
	}
	v.Set(reflect.MakeSlice(t, 0, 0))
	if d.next(']') {
		return true
	}
	strs, _ := v.Addr().Interface().(*[]string)
	for n := 0; ; n++ {
		if strs != nil && d.plainString(strs) {
			// the common case, without reflection
		} else {
			v.Grow(1)
			v.SetLen(n + 1)
			e := v.Index(n)
			e.SetZero()
			if !d.value(e) {
				return false
			}
		}
		if d.next(']') {
			return true
		}
		if !d.next(',') {
			return false
		}
	}
}

// plainString appends the string that is next, if there is one.
func (d *decoder) plainString(to *[]string) bool {
	d.space()
	if d.at == len(d.s) || d.s[d.at] != '"' {
		return false
	}
	s, ok := d.text()
	if ok {
		*to = append(*to, s)
	}
	return ok
}

// text reads a string.
func (d *decoder) text() (string, bool) {
	if d.at == len(d.s) || d.s[d.at] != '"' {
		return "", false
	}
	from := d.at + 1
	plain := true
	for i := from; i < len(d.s); i++ {
		switch c := d.s[i]; {
		case c == '"':
			d.at = i + 1
			if plain {
				return d.s[from:i], true
			}
			var s string
			err := json.Unmarshal([]byte(d.s[from-1:i+1]), &s)
			return s, err == nil
		case c == '\\':
			plain = false
			i++
		case c < ' ':
			return "", false
		case c >= 0x80: // it may be no UTF-8
			plain = false
		}
	}
	return "", false
}

// integer passes a number without fraction and exponent and returns it; "" is none.
func (d *decoder) integer() string {
	from := d.at
	if d.at < len(d.s) && d.s[d.at] == '-' {
		d.at++
	}
	digits := d.at
	for d.at < len(d.s) && '0' <= d.s[d.at] && d.s[d.at] <= '9' {
		d.at++
	}
	n := d.at - digits
	if n == 0 || n > 1 && d.s[digits] == '0' {
		return ""
	}
	return d.s[from:d.at]
}

// skip passes a value of any kind. Numbers that are no plain integers are not taken.
func (d *decoder) skip() bool {
	if d.at == len(d.s) {
		return false
	}
	if d.depth++; d.depth > maxDepth {
		return false
	}
	defer func() { d.depth-- }()
	switch d.s[d.at] {
	case '{':
		return d.object(func(string, *uint64) bool { d.space(); return d.skip() })
	case '[':
		d.at++
		if d.next(']') {
			return true
		}
		for {
			if d.space(); !d.skip() {
				return false
			}
			if d.next(']') {
				return true
			}
			if !d.next(',') {
				return false
			}
		}
	case '"':
		_, ok := d.text()
		return ok
	case 't', 'f', 'n':
		return d.word("true") || d.word("false") || d.word("null")
	}
	return d.integer() != ""
}
