package seccomp

import (
	"errors"
	"fmt"
)

// A FieldError says which field of a profile is wrong.
type FieldError struct {
	// Field is the field's path in the JSON of an OCI configuration, below linux.seccomp: "syscalls[3].action".
	Field string
	// Err says what is wrong with it.
	Err error
}

func (e *FieldError) Error() string { return "seccomp." + e.Field + ": " + e.Err.Error() }

// Unwrap returns what is wrong.
func (e *FieldError) Unwrap() error { return e.Err }

// wrong returns the error for a field.
func wrong(field, format string, args ...any) error {
	return &FieldError{field, fmt.Errorf(format, args...)}
}

// within says what the field is in that an error is about.
func within(outer string, err error) error {
	var field *FieldError
	if errors.As(err, &field) {
		return &FieldError{outer + field.Field, field.Err}
	}
	return err
}
