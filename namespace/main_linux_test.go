package namespace

import (
	"github.com/caisson-engine/caisson/internal/testenv"
)

func init() {
	programs["describe"] = describe
	testenv.Lazy("template namespace", func() error {
		_, err := templateNamespace()
		return err
	})
	testenv.Lazy("mount of /dev/null", func() error {
		template.Lock()
		defer template.Unlock()
		return makeNull()
	})
}

func init() {
	testenv.Lazy("keeper's program", func() error {
		_, _, err := (&keeper{}).openImage("")
		return err
	})
	testenv.Lazy("template namespace for user namespaces", func() error {
		_, err := userTemplateNamespace()
		return err
	})
	programs["terminal"] = terminal
	programs["mounter"] = mounter
	programs["escape"] = escape
	programs["nested"] = nested
	programs["spoil"] = spoil
	programs["probe"] = probe
	programs["namespaces"] = namespaces
	programs["forbidden"] = forbidden
	programs["attributes"] = attributes
	programs["try"] = try
}
