// Package work is the part all programs of the corpus share: a heap that lives, the
// garbage of a busy service, and a loop that calls the program's own step.
package work

import (
	"fmt"
	_ "net/http/pprof" // as in most services; without it the linker leaves heap sampling out
	"time"
)

var live [][]byte

// Run makes a live heap of 8 MiB and some 8 MiB/s of garbage, and calls step as
// often as asked, for ever.
func Run(perSecond int, step func(i int)) {
	for i := 0; i < 512; i++ {
		live = append(live, make([]byte, 16<<10))
	}
	go churn()
	Every(time.Second/time.Duration(perSecond), step)
}

// Every calls step in this rhythm, for ever; what the clock missed is made up for.
func Every(period time.Duration, step func(i int)) {
	start := time.Now()
	for i := 0; ; i++ {
		step(i)
		time.Sleep(time.Until(start.Add(time.Duration(i+1) * period)))
	}
}

var sink string

func churn() {
	Every(10*time.Millisecond, func(i int) {
		for j := 0; j < 80; j++ {
			sink = fmt.Sprintf("%01000d", i+j)
		}
	})
}
