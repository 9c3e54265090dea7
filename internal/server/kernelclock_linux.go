package server

import "golang.org/x/sys/unix"

// kernelClock reports whether the kernel takes this machine's clock for synchronised; known is false where it does not tell,
// as in some containers.
func kernelClock() (synchronised, known bool) {
	var t unix.Timex // asks, and sets nothing
	state, err := unix.Adjtimex(&t)
	return state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0, err == nil
}
