// Hand-overs by channels.
package main

import (
	"fmt"
	"sync/atomic"
	"time"
)

func semPingpong(c *clock, ops int) {
	ping, pong := make(chan struct{}), make(chan struct{})
	go func() {
		for range ping {
			pong <- struct{}{}
		}
		close(pong)
	}()
	for i := 0; i < ops; i += 2 {
		ping <- struct{}{}
		<-pong
	}
	close(ping)
	<-pong
}

// bench/run gives it one processor, on all sides.
func pingpongHog(c *clock, ops int) {
	ping, pong, stop, ended := make(chan int), make(chan int), make(chan struct{}), make(chan struct{})
	c.stop()
	go func() {
		for {
			select {
			case <-stop:
				ended <- struct{}{}
				return
			default:
			}
		}
	}()
	go func() {
		for i := 0; i < ops; i++ {
			pong <- <-ping + 1
		}
		close(stop)
		ended <- struct{}{}
	}()
	go func() {
		for i := 0; i < ops; i++ {
			ping <- <-pong
		}
		ended <- struct{}{}
	}()
	c.goOn()
	ping <- 0
	<-stop
	c.stop()
	check(<-ping == ops, "rounds are missing")
	for i := 0; i < 3; i++ {
		<-ended
	}
	c.goOn()
}

func chanSync(c *clock, ops int) {
	channel := make(chan int)
	var sums [2]int
	inThreads(2, func(me int) {
		for i := 0; i < ops/2; i++ {
			if me == 0 {
				channel <- 1
			}
			sums[me] += <-channel
			if me == 1 {
				channel <- 1
			}
		}
	})
	check(sums[0]+sums[1] == ops, "values are missing")
}

func prodCons(capacity int) operation {
	producers := processors()
	return operation{producers, func(c *clock, ops int) {
		channel := make(chan int, capacity)
		var sum int64
		inThreads(2*producers, func(me int) {
			if me%2 == 0 {
				for i := 0; i < ops/producers; i++ {
					channel <- 1
				}
				channel <- 0
				return
			}
			mine := 0
			for value := <-channel; value != 0; value = <-channel {
				mine += value
			}
			atomic.AddInt64(&sum, int64(mine))
		})
		check(sum == int64(ops), "values are missing")
	}}
}

func chanContended(c *clock, ops int) {
	const values = 100
	threads := processors()
	channel := make(chan int, values*threads)
	var sum int64
	inThreads(threads, func(int) {
		mine := 0
		for i := 0; i < ops/threads; i++ {
			for j := 0; j < values; j++ {
				channel <- 1
			}
			for j := 0; j < values; j++ {
				mine += <-channel
			}
		}
		atomic.AddInt64(&sum, int64(mine))
	})
	check(sum == int64(ops*values), "values are missing")
}

func wakeup(work func(time.Duration), delay time.Duration) operation {
	longer := delay + 5*time.Microsecond
	return operation{1, func(c *clock, ops int) {
		ping, pong := make(chan int), make(chan int)
		var sums [2]int
		inThreads(2, func(me int) {
			for i := 0; i < ops; i++ {
				if me == 0 {
					work(longer)
					ping <- 1
					work(delay)
					sums[me] += <-pong
				} else {
					work(delay)
					sums[me] += <-ping
					work(longer)
					pong <- 1
				}
			}
		})
		check(sums[0] == ops && sums[1] == ops, "values are missing")
	}}
}

func channels() map[string]operation {
	all := map[string]operation{
		"sem_pingpong":      {2, semPingpong},
		"go_pingpong_hog":   {1, pingpongHog},
		"go_chan_sync":      {2, chanSync},
		"go_chan_contended": {processors(), chanContended},
	}
	for _, capacity := range []int{0, 10, 100} {
		all[fmt.Sprint("go_chan_prodcons/", capacity)] = prodCons(capacity)
	}
	for _, delay := range []int{0, 1, 5, 20, 100} {
		d := time.Duration(delay) * time.Microsecond
		all[fmt.Sprint("go_wakeup_spinning/", delay)] = wakeup(spin, d)
		all[fmt.Sprint("go_wakeup_syscall/", delay)] = wakeup(kernelSleep, d)
	}
	return all
}
