package dockerapi

import (
	"cmp"
	"io"

	"github.com/caisson-engine/caisson/internal/detachkeys"
)

// parseDetachKeys reads keys as clients send them. The default is for an empty text.
func parseDetachKeys(text string) ([]byte, error) {
	keys, err := detachkeys.Parse(cmp.Or(text, detachkeys.Default))
	if err != nil {
		return nil, badRequest("detachKeys: %w", err)
	}
	return keys, nil
}

// copyTyped copies what a client types until that ends, or to the keys, which are not copied: detachkeys.ErrDetached.
func copyTyped(to io.Writer, from io.Reader, keys []byte) error {
	_, err := io.Copy(to, &detachkeys.Reader{R: from, Keys: keys})
	return err
}
