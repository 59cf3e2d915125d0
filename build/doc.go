// Package build makes images from Dockerfiles.
//
// The smallest use:
//
//	img, err := build.Build(ctx, e, build.Dir("."), &build.Options{Tags: []string{"app"}, Output: os.Stdout})
//
// It understands the Dockerfile of Docker's reference: stages, of which those are built that the wanted one needs; ONBUILD; variables;
// here-documents; RUN with mounts of the types bind, cache, tmpfs and secret; COPY from stages and images; ADD of archives and of what is at
// an address of HTTP. What it does not know is refused by its name: RUN --security, COPY --parents and --exclude, ADD of git repositories,
// archives compressed by xz. Instructions are run one after the other, and a syntax directive is read and has no effect.
//
// Each RUN, COPY and ADD makes a layer, and WORKDIR does where the folder is missing. A RUN is a container of the engine with its default
// isolation. COPY and ADD run nothing: they read the context, a stage or an image beneath its root, where no link leads out of it, and
// write the layer.
//
// # Cache
//
// What a step made is kept in the engine's image store under a key: the base image's ID, each instruction since, with the values of
// variables that it uses and the configuration that it makes, of files that it copies the digest of names, owners, modes and content (not of
// times), and of a stage or image that a RUN mounts its ID. Any later build, of any
// program that has the folder open, takes it from there, until engine.PruneBuildCache. Images that are only that are in no list.
//
// # Trust
//
// The context, the Dockerfile and the images are taken as hostile: a stream's size is bounded, as are the variables (1 MiB all together, 256 KiB
// in one text), names and links do not lead out, devices are not made, and nothing of the host is run. What RUN runs is as confined as any container of the engine.
//
// It needs what package engine needs: Linux 5.10 or newer; elsewhere Build returns an error that satisfies errors.ErrUnsupported.
package build
