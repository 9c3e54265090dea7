// Package object reads, lists and writes the objects of a bucket: ranges pinned to one version, listings that are
// complete or an error, writes that appear whole or not at all, retries. What differs between clouds is behind Bucket.
package object

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Object is one object of a bucket.
type Object struct {
	Key     string
	Size    int64  // bytes
	Version string // opaque; another one whenever the content may be another: an ETag or a generation
	Folder  bool   // a marker that stands for a folder, not for data
	// Modified is in whole seconds, as not every call tells more; zero where the store does not say.
	Modified time.Time
}

// ParseModified reads the time of a modification as a header or a listing has it, zero for what is none.
func ParseModified(text string) time.Time {
	for _, layout := range []string{time.RFC3339Nano, http.TimeFormat} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC().Truncate(time.Second)
		}
	}
	return time.Time{}
}

// Page is part of a listing.
type Page struct {
	Objects []Object
	Folders []string // with a delimiter: what lies deeper, as prefixes that end in /
	Next    string   // token of the next page, "" after the last
}

// Bucket is a bucket or container of one cloud. Its calls retry what may pass, under the Client's Policy, and fail with
// an *Error where the store answered. Safe for concurrent use.
type Bucket interface {
	// List returns one page of the objects whose keys begin with prefix; with shallow, of those that have no / behind
	// it, and the folders of the others.
	List(ctx context.Context, prefix string, shallow bool, token string) (Page, error)
	Head(ctx context.Context, key string) (Object, error)
	// Get opens the n > 0 bytes at offset of the object's version; another version is an *Error of kind Changed or
	// Missing. The body may break off: the caller goes on from there.
	Get(ctx context.Context, key, version string, offset, n int64) (io.ReadCloser, error)
	// Put writes a small object at once, in place of what was there.
	Put(ctx context.Context, key string, body []byte) error
	// Upload begins a large object.
	Upload(ctx context.Context, key string) (Upload, error)
	// Delete removes an object; that there is none is no error.
	Delete(ctx context.Context, key string) error
}

// Upload is an object on its way into a bucket, unseen until Commit.
type Upload interface {
	// Part sends the bytes at offset as part number n, counted from 0. Only the last is shorter than PartBytes(n).
	Part(ctx context.Context, n int, offset int64, body []byte, last bool) error
	// Parallel is how many parts may be sent at once; 1: one after another, in order.
	Parallel() int
	Commit(ctx context.Context) error
	Abort(ctx context.Context) error
}

// Kind is a class of answers that are failures.
type Kind uint8

// The classes.
const (
	Other     Kind = iota
	Missing        // no such object, or no such bucket
	NoBucket       // no such bucket, where the store tells the difference
	Denied         // credentials are missing, wrong or not enough
	Changed        // not the version asked for
	Temporary      // may pass: retried
	Elsewhere      // the bucket is in another region
)

// Error is a store's answer that was a failure.
type Error struct {
	Kind    Kind
	Status  int    // of HTTP
	Code    string // the store's own, "" for none
	Message string // the store's own words, cut; "" where they might tell a secret
	Region  string // for Elsewhere: where the bucket is, if the store said so
}

// Error returns the status, the code and the message.
func (e *Error) Error() string {
	s := fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status))
	if e.Code != "" {
		s += ": " + e.Code
	}
	if e.Message != "" {
		s += ": " + e.Message
	}
	return s
}

// KindOf returns the class of err, Other where a store did not answer.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Other
}
