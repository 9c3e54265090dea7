//go:build shared

package shared

// sharedData is where the data is, seen from this package.
const sharedData = "../../../shared/data"
