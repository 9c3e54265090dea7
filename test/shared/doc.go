// Package shared tests Provender on larger real data that does not ship with it. Its tests are behind the build tag
// `shared`; scripts/test runs them where the data is.
package shared
