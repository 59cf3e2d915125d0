package image

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/registry"
)

// unusual writes a document as no encoder of ours would: indented, with a field that nobody knows, and a space at its end. What was
// signed is these bytes.
func unusual(t *testing.T, b []byte) []byte {
	t.Helper()
	var m map[string]any
	require.NoError(t, json.Unmarshal(b, &m))
	m["zz.unknown"] = map[string]any{"kept": []int{3, 1, 2}}
	b, err := json.MarshalIndent(m, " ", "   ")
	require.NoError(t, err)
	return append(b, ' ', '\n')
}

// TestSignedBytes takes a signed manifest, and an index of it, from registry to store to registry, and by archives, folders and names:
// each has the same bytes in the end, in OCI's form and in Docker's.
func TestSignedBytes(t *testing.T) {
	for name, docker := range map[string]bool{"OCI": false, "Docker schema 2": true} {
		t.Run(name, func(t *testing.T) {
			s, _, f := pulled(t, testLayer{"other": "image"})
			plain := f.add(t, testImage{layers: twoLayers.layers, docker: docker})
			signed := unusual(t, f.manifests[plain.Digest.String()].bytes)
			one := f.put(t, plain.MediaType, signed, "signed")
			one.Platform = plain.Platform
			index := f.addIndex(t, "index", one)
			f.put(t, index.MediaType, unusual(t, f.manifests["index"].bytes), "index")
			host := newServer(t)
			client := &registry.Client{}
			defer client.CloseIdleConnections()
			for _, tag := range []string{"signed", "index"} {
				want := f.manifests[tag].bytes
				requireBytes := func(s *Store, ref string) {
					t.Helper()
					img, err := s.Get(t.Context(), ref, nil)
					require.NoError(t, err)
					require.Equal(t, digest.FromBytes(want), img.Digest)
					got, err := s.readBlob(img.target, maxManifest)
					require.NoError(t, err)
					require.Equal(t, string(want), string(got))
				}
				_, err := Pull(t.Context(), s, f.ref("app:"+tag), &PullOptions{Client: client})
				require.NoError(t, err)
				requireBytes(s, f.ref("app:"+tag))
				s.mustTag(t, f.ref("app:"+tag), "here:"+tag)
				requireBytes(s, "here:"+tag)

				to := host + "/app:" + tag
				d, err := Push(t.Context(), s, "here:"+tag, &PushOptions{Client: client, To: to})
				require.NoError(t, err)
				require.Equal(t, digest.FromBytes(want), d)
				_, got, err := client.Manifest(t.Context(), mustParse(t, to))
				require.NoError(t, err)
				require.Equal(t, string(want), string(got))

				loaded := openStore(t, t.TempDir())
				_, err = loaded.Load(t.Context(), bytes.NewReader(mustSave(t, s, nil, "here:"+tag)), nil)
				require.NoError(t, err)
				requireBytes(loaded, "here:"+tag)

				imported := openStore(t, t.TempDir())
				_, err = imported.Import(t.Context(), os.DirFS(s.Dir()))
				require.NoError(t, err)
				requireBytes(imported, "here:"+tag)

				again := openStore(t, t.TempDir())
				_, err = Pull(t.Context(), again, to, &PullOptions{Client: client})
				require.NoError(t, err)
				requireBytes(again, to)
			}
		})
	}
}

// TestSignatures: the signatures of an image, as cosign keeps them (by the tag sha256-….sig, or as a referrer), are in the registry
// served from the store what they were in the one that they came from, and an image that is pulled by its digest is the signed one.
func TestSignatures(t *testing.T) {
	s, img, _ := pulled(t, twoLayers.layers...)
	host := newServer(t)
	client := &registry.Client{}
	defer client.CloseIdleConnections()
	app := host + "/app:v1"
	_, err := Push(t.Context(), s, img.ID.String(), &PushOptions{Client: client, To: app})
	require.NoError(t, err)

	payload := []byte(`{"critical":{"image":{"docker-manifest-digest":"` + string(img.Digest) + `"}},"optional":null}`)
	blob := ocispec.Descriptor{MediaType: "application/vnd.dev.cosign.simplesigning.v1+json", Digest: digest.FromBytes(payload),
		Size: int64(len(payload)), Annotations: map[string]string{"dev.cosignproject.cosign/signature": "MEUCIQ=="}}
	subject := ocispec.Descriptor{MediaType: img.target.MediaType, Digest: img.Digest, Size: img.target.Size}
	sigTag := "sha256-" + img.Digest.Encoded() + ".sig"
	v, served := serve(t, openStore(t, t.TempDir()), "here.test")
	sign := func(to string, tagged bool) (registry.Reference, []byte) {
		ref := mustParse(t, to)
		for _, b := range [][]byte{payload, []byte("{}")} {
			d := ocispec.Descriptor{MediaType: "application/octet-stream", Digest: digest.FromBytes(b), Size: int64(len(b))}
			_, err := client.PushBlob(t.Context(), ref, registry.BlobUpload{Descriptor: d, Content: bytes.NewReader(b)})
			require.NoError(t, err)
		}
		m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: ocispec.DescriptorEmptyJSON, Layers: []ocispec.Descriptor{blob}}
		m.SchemaVersion = 2
		m.Config.Data = nil
		if !tagged {
			m.Subject, m.ArtifactType = &subject, "application/vnd.dev.sigstore.bundle.v0.3+json"
		}
		b, err := json.Marshal(m)
		require.NoError(t, err)
		b = unusual(t, b)
		desc := ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
		ref.Tag, ref.Digest = "", desc.Digest
		if tagged {
			ref.Tag, ref.Digest = sigTag, ""
		}
		require.NoError(t, client.PushManifest(t.Context(), ref, desc, b))
		return ref, b
	}
	for _, to := range []string{host, served} {
		_, err := Push(t.Context(), s, img.ID.String(), &PushOptions{Client: client, To: to + "/app:v1"})
		require.NoError(t, err)
		for _, tagged := range []bool{true, false} {
			ref, want := sign(to+"/app", tagged)
			_, got, err := client.Manifest(t.Context(), ref)
			require.NoError(t, err)
			require.Equal(t, string(want), string(got))
			r, err := client.Blob(t.Context(), ref, blob)
			require.NoError(t, err)
			b, err := readAll(r, blob.Size)
			require.NoError(t, err)
			require.NoError(t, r.Close())
			require.Equal(t, string(payload), string(b))
		}
		at := mustParse(t, to+"/app")
		at.Tag, at.Digest = "", img.Digest
		list, err := client.Referrers(t.Context(), at, "")
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, "application/vnd.dev.sigstore.bundle.v0.3+json", list[0].ArtifactType)
	}
	// They are no images, are not pruned, and do no harm to what lists and checks these.
	_, err = v.s.Prune(t.Context(), nil)
	require.NoError(t, err)
	images, err := v.s.List(t.Context())
	require.NoError(t, err)
	require.Len(t, images, 1)
	_, _, err = v.Manifest(t.Context(), "app", sigTag)
	require.NoError(t, err)
	got, err := Pull(t.Context(), openStore(t, t.TempDir()), served+"/app@"+string(img.Digest), &PullOptions{Client: client})
	require.NoError(t, err)
	require.Equal(t, img.Digest, got.Digest)
	_, err = Pull(t.Context(), openStore(t, t.TempDir()), served+"/app:"+sigTag, &PullOptions{Client: client})
	require.ErrorIs(t, err, ErrNotImage)
}

func mustParse(t *testing.T, ref string) registry.Reference {
	t.Helper()
	r, err := registry.ParseReference(ref)
	require.NoError(t, err)
	return r
}
