// Package archtest enforces which package may import which, and says why.
package archtest
