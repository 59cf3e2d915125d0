package helloworld

// code is machine code under construction, with labels that branches may use before they are set.
type code struct {
	bytes  []byte
	labels map[string]int
	fixes  []fix
}

// A fix patches the branch at the offset once the label's place is known.
type fix struct {
	at    int
	label string
	patch func(b []byte, distance int)
}

func (c *code) emit(b ...byte) { c.bytes = append(c.bytes, b...) }

func (c *code) label(name string) {
	if c.labels == nil {
		c.labels = make(map[string]int)
	}
	c.labels[name] = len(c.bytes)
}

// refer notes that the instruction that was just emitted ends in, or is, a reference to the label.
func (c *code) refer(label string, size int, patch func(b []byte, distance int)) {
	c.fixes = append(c.fixes, fix{at: len(c.bytes) - size, label: label, patch: patch})
}

// link resolves the references. Distances count from the place that holds the reference.
func (c *code) link() []byte {
	for _, f := range c.fixes {
		f.patch(c.bytes[f.at:], c.labels[f.label]-f.at)
	}
	return c.bytes
}
