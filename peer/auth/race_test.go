//go:build race

package auth_test

// raceEnabled is true under the race detector, which distorts times.
const raceEnabled = true
