package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

const (
	maxTagPage  = 4 << 20 // bytes
	maxTagPages = 1000
	maxTags     = 1 << 20
	tagsPerPage = "1000"
)

// Tags lists the tags of ref's repository, in the registry's order. Ref's own tag and digest do not matter. More
// than a million tags, or a thousand pages, are an error.
func (c *Client) Tags(ctx context.Context, ref Reference) ([]string, error) {
	ref.Tag, ref.Digest = defaultTag, ""
	var tags []string
	err := c.each(ctx, ref, func(e *endpoint) (err error) {
		tags, err = c.tags(ctx, e, ref)
		return err
	})
	return tags, err
}

func (c *Client) tags(ctx context.Context, e *endpoint, ref Reference) ([]string, error) {
	q := &request{
		method: http.MethodGet, path: ref.Repository + "/tags/list", query: url.Values{"n": {tagsPerPage}},
		subject: ref.FamiliarName(), scopes: []string{pullScope(ref.Repository)},
	}
	var all []string
	seen := map[string]bool{}
	for range maxTagPages {
		resp, err := c.do(ctx, e, q)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode != http.StatusOK {
			return nil, c.answerError(ctx, e, q, resp)
		}
		page, err := c.readCapped(resp, maxTagPage)
		if err != nil {
			return nil, describe(e, q, fmt.Errorf("list of tags: %w", err))
		}
		var list struct{ Tags []string }
		if err := json.Unmarshal(page, &list); err != nil {
			return nil, describe(e, q, refuse("the list of tags is not JSON"))
		}
		for _, tag := range list.Tags {
			if !validTag(tag) {
				return nil, describe(e, q, refuse("the list of tags holds %q, which is none", printable(tag)))
			}
		}
		if all = append(all, list.Tags...); len(all) > maxTags {
			return nil, describe(e, q, refuse("the list of tags is longer than %d", maxTags))
		}
		next, err := nextLink(resp.Header, resp.Request.URL)
		if err != nil {
			return nil, describe(e, q, refuse("list of tags: %w", err))
		}
		if next == nil {
			return all, nil
		}
		if seen[next.String()] {
			return nil, describe(e, q, refuse("the list of tags goes in a circle"))
		}
		seen[next.String()] = true
		q.address = next
	}
	return nil, describe(e, q, refuse("the list of tags has more than %d pages", maxTagPages))
}
