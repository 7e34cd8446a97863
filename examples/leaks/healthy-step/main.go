// The load doubles after twenty seconds, and with it the sessions at any time.
//
//corpus:verdict healthy
package main

import "leaks/work"

type session struct{ state [16 << 10]byte }

func main() {
	var sessions []*session
	work.Run(200, func(i int) {
		want := 600
		if i > 200*20 {
			want = 1200
		}
		sessions = append(sessions, &session{})
		if over := len(sessions) - want; over > 0 {
			sessions = append([]*session(nil), sessions[over:]...)
		}
	})
}
