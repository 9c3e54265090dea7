//go:build race

package feast

const raceEnabled = true
