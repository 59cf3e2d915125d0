package dockerapi

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Filters are the parameter of that name: what is asked for, by key. Values of one key are alternatives.
type filters map[string][]string

// filters reads the parameter, in the form of new clients, {"label":{"a=b":true}}, or of old ones, {"label":["a=b"]}. Keys that are not
// among those that are known are refused.
func (q query) filters(known ...string) (filters, error) {
	text := q.Get("filters")
	if text == "" {
		return nil, nil
	}
	f := make(filters)
	sets := make(map[string]map[string]bool)
	if err := json.Unmarshal([]byte(text), &sets); err == nil {
		for key, set := range sets {
			maps.DeleteFunc(set, func(_ string, on bool) bool { return !on })
			f[key] = slices.Sorted(maps.Keys(set))
		}
	} else if err := json.Unmarshal([]byte(text), &f); err != nil {
		return nil, badRequest("invalid filters: %w", err)
	}
	for key := range f {
		if !slices.Contains(known, key) {
			return nil, badRequest("invalid filter '%s'", key)
		}
	}
	return f, nil
}

// allows says whether one of the values of a key, if there are any, is right.
func (f filters) allows(key string, right func(value string) bool) bool {
	return len(f[key]) == 0 || slices.ContainsFunc(f[key], right)
}

// labels says whether labels have all that the key "label" asks for, and nothing of "label!".
func (f filters) labels(have map[string]string) bool {
	has := func(want string) bool {
		name, value, given := strings.Cut(want, "=")
		v, ok := have[name]
		return ok && (!given || v == value)
	}
	for _, want := range f["label"] {
		if !has(want) {
			return false
		}
	}
	return !slices.ContainsFunc(f["label!"], has)
}
