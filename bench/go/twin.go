// The Go twins of what bench/ measures: an echo server with a goroutine for each connection, and operations.
//
//	twin server           prints its port, ends when its stdin does
//	twin list             the names of the operations, which are those of bench.cpp and twins/
//	twin NAME SECONDS     nanoseconds of one; measured for as long as that at least
//
// A name with /NUMBER... means what it does there. Of timers two figures are printed: how late they are on the average,
// and the 99th percentile.
package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"time"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "twin:", err)
		os.Exit(1)
	}
}

func check(right bool, wrong string) {
	if !right {
		must(fmt.Errorf("%s", wrong))
	}
}

// The clock of one run, which can be stopped for what is not to be measured.
type clock struct {
	began time.Time
	total time.Duration
}

func (c *clock) stop() { c.total += time.Since(c.began) }
func (c *clock) goOn() { c.began = time.Now() }

// What a run with that many operations takes; ops is a multiple of the benchmark's shares.
type body func(c *clock, ops int)

// An operation: how its run is made, and of what the number of operations is a multiple.
type operation struct {
	shares int
	run    body
}

// How late timers were, of the last run; empty for other operations.
var late []float64

func now() int64 { return int64(time.Since(epoch)) }

var epoch = time.Now()

func processors() int { return runtime.GOMAXPROCS(0) }

func spin(d time.Duration) {
	for end := now() + int64(d); now() < end; {
	}
}

// Runs body(index) in so many goroutines at once.
func inThreads(threads int, body func(me int)) {
	done := make(chan struct{})
	for i := 0; i < threads; i++ {
		i := i
		go func() {
			body(i)
			done <- struct{}{}
		}()
	}
	for i := 0; i < threads; i++ {
		<-done
	}
}

// More operations each time, until a run is long enough, as Google Benchmark does.
func measure(o operation, least time.Duration) {
	for asked := 1.0; ; {
		ops := (int(asked) + o.shares - 1) / o.shares * o.shares
		var c clock
		c.goOn()
		o.run(&c, ops)
		c.stop()
		if c.total >= least {
			if len(late) == 0 {
				fmt.Println(float64(c.total.Nanoseconds()) / float64(ops))
				return
			}
			sort.Float64s(late)
			sum := 0.0
			for _, l := range late {
				sum += l
			}
			fmt.Println(sum/float64(len(late)), late[(len(late)*99+99)/100-1])
			return
		}
		more := 10.0
		if c.total > least/10 {
			more = 1.4 * float64(least) / float64(c.total)
		}
		asked = asked*more + 1
	}
}

func main() {
	what := ""
	if len(os.Args) > 1 {
		what = os.Args[1]
	}
	all := map[string]operation{}
	for _, some := range []map[string]operation{threads(), channels(), locks(), network(), timers()} {
		for name, o := range some {
			all[name] = o
		}
	}
	switch o, known := all[what]; {
	case what == "server" && len(os.Args) == 2:
		server()
	case what == "list" && len(os.Args) == 2:
		for name := range all {
			fmt.Println(name)
		}
	case known && len(os.Args) == 3:
		seconds, err := strconv.ParseFloat(os.Args[2], 64)
		must(err)
		measure(o, time.Duration(seconds*float64(time.Second)))
	default:
		os.Exit(2)
	}
}
