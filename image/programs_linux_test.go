package image

import "github.com/caisson-engine/caisson/internal/testenv"

var programs = map[string]testenv.Program{"image-pull": pullProgram, "image-verbs": verbsProgram}
