// How late timers are.
package main

import (
	"fmt"
	"sync/atomic"
	"time"
)

const millisecond = int64(time.Millisecond)

func sleepUntil(when int64) { time.Sleep(time.Duration(when - now())) }

func lateness(planned int64) float64 {
	if l := now() - planned; l > 0 {
		return float64(l)
	}
	return 0
}

// One processor computes, the others each have a timer that ends in a millisecond.
func timerLatency(c *clock, ops int) {
	timers := processors() - 1
	if timers < 1 {
		timers = 1
	}
	c.stop()
	samples := make([]float64, timers*ops)
	joined := make(chan struct{}, timers)
	c.goOn()
	for i := 0; i < ops; i++ {
		var ended int32
		waitForAll := func() {
			for atomic.LoadInt32(&ended) < int32(timers) {
			}
		}
		for j := 0; j < timers; j++ {
			planned := now() + millisecond
			go func(sample *float64) {
				sleepUntil(planned)
				*sample = lateness(planned)
				atomic.AddInt32(&ended, 1)
				waitForAll()
				joined <- struct{}{}
			}(&samples[i*timers+j])
		}
		waitForAll()
		for j := 0; j < timers; j++ {
			<-joined
		}
		spin(time.Millisecond)
	}
	late = samples
}

// For each processor so many goroutines that work for some time every 3 ms.
func tickerLatency(work time.Duration, each int) operation {
	return operation{1, func(c *clock, ops int) {
		const every = 3 * millisecond
		tickers := processors() * each
		c.stop()
		samples := make([]float64, tickers*ops)
		joined := make(chan struct{})
		c.goOn()
		for i := 0; i < tickers; i++ {
			spin(time.Duration(every) / time.Duration(processors()))
			planned := now() + every
			go func(mine []float64) {
				for t := range mine {
					sleepUntil(planned)
					mine[t] = lateness(planned)
					planned += every
					spin(work)
				}
				joined <- struct{}{}
			}(samples[i*ops : (i+1)*ops])
		}
		for i := 0; i < tickers; i++ {
			<-joined
		}
		late = samples
	}}
}

func timers() map[string]operation {
	all := map[string]operation{"go_timer_latency": {1, timerLatency}}
	for _, s := range []struct{ work, each int }{{300, 1}, {300, 5}, {2000, 1}} {
		name := fmt.Sprintf("go_ticker_latency/%d/%d", s.work, s.each)
		all[name] = tickerLatency(time.Duration(s.work)*time.Microsecond, s.each)
	}
	return all
}
