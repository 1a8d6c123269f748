// Locks, conditions, semaphores and barriers.
package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	_ "unsafe" // go:linkname
)

// The semaphores that package sync is made of; the file semaphore.s lets them be without a body here.
//
//go:linkname acquire sync.runtime_Semacquire
func acquire(s *uint32)

//go:linkname release sync.runtime_Semrelease
func release(s *uint32, handoff bool, skip int)

func condPingpong(c *clock, ops int) {
	var mutex sync.Mutex
	cond := sync.NewCond(&mutex)
	turn := 0
	inThreads(2, func(me int) {
		for i := 0; i < ops/2; i++ {
			mutex.Lock()
			for turn != me {
				cond.Wait()
			}
			turn = 1 - me
			cond.Signal()
			mutex.Unlock()
		}
	})
}

func mutexFree(c *clock, ops int) {
	var mutex sync.Mutex
	count := 0
	for i := 0; i < ops; i++ {
		mutex.Lock()
		count++
		mutex.Unlock()
	}
	check(count == ops, "wrong count")
}

func mutexContended(threads int) operation {
	return operation{threads, func(c *clock, ops int) {
		var mutex sync.Mutex
		count := 0
		inThreads(threads, func(int) {
			for i := 0; i < ops/threads; i++ {
				mutex.Lock()
				count++
				mutex.Unlock()
			}
		})
		check(count == ops, "wrong count")
	}}
}

func mutexUncontended(c *clock, ops int) {
	type padded struct {
		sync.Mutex
		count int
		_     [112]byte
	}
	threads := processors()
	all := make([]padded, threads)
	inThreads(threads, func(me int) {
		mine := &all[me]
		for i := 0; i < ops/threads; i++ {
			mine.Lock()
			mine.count++
			mine.Unlock()
		}
	})
	for i := range all {
		check(all[i].count == ops/threads, "wrong count")
	}
}

func mutexSpin(c *clock, ops int) {
	threads := processors()
	var mutex sync.Mutex
	count := 0
	inThreads(threads, func(int) {
		var own [16384]int64
		for i := 0; i < ops/threads; i++ {
			mutex.Lock()
			count++
			mutex.Unlock()
			for j := 0; j < len(own); j += 4 {
				own[j]++
			}
		}
	})
	check(count == ops, "wrong count")
}

func rwmutex(threads, share int) operation {
	return operation{threads * share, func(c *clock, ops int) {
		var lock sync.RWMutex
		value := 0
		var seen int64
		inThreads(threads, func(int) {
			mine := 0
			for i := 1; i <= ops/threads; i++ {
				if i%share == 0 {
					lock.Lock()
					value++
					lock.Unlock()
				} else {
					lock.RLock()
					mine += value
					lock.RUnlock()
				}
			}
			atomic.AddInt64(&seen, int64(mine))
		})
		check(value == ops/share, "wrong count")
	}}
}

// So many wait for one more, who wakes them all.
func cond(waiters int) operation {
	return operation{1, func(c *clock, ops int) {
		var mutex sync.Mutex
		allThere := sync.NewCond(&mutex)
		there, rounds := 0, 0
		inThreads(waiters+1, func(int) {
			for i := 0; i < ops; i++ {
				mutex.Lock()
				if there++; there == waiters+1 {
					there = 0
					rounds++
					allThere.Broadcast()
				} else {
					for round := rounds; round == rounds; {
						allThere.Wait()
					}
				}
				mutex.Unlock()
			}
		})
		check(rounds == ops, "wrong number of rounds")
	}}
}

// A WaitGroup for each round, which all threads leave when all have come.
func barrier(threads int) operation {
	return operation{1, func(c *clock, ops int) {
		c.stop()
		rounds := make([]sync.WaitGroup, ops)
		for i := range rounds {
			rounds[i].Add(threads)
		}
		c.goOn()
		inThreads(threads, func(int) {
			for i := range rounds {
				rounds[i].Done()
				rounds[i].Wait()
			}
		})
	}}
}

// So many goroutines wait at semaphores, all are woken, and all wait again, at those for every other round.
func semTable(threads, semaphores int) operation {
	return operation{threads, func(c *clock, ops int) {
		c.stop()
		all := [2][]uint32{make([]uint32, semaphores), make([]uint32, semaphores)}
		done := new(uint32)
		var left, woken int64
		var stop int32
		var ended sync.WaitGroup
		ended.Add(threads)
		for i := 0; i < threads; i++ {
			go func(mine int) {
				defer ended.Done()
				for round := 0; ; round++ {
					acquire(&all[round%2][mine])
					if atomic.LoadInt32(&stop) != 0 {
						return
					}
					atomic.AddInt64(&woken, 1)
					if atomic.AddInt64(&left, -1) == 0 {
						release(done, false, 0)
					}
				}
			}(i * semaphores / threads)
		}
		rounds := 0
		releaseAll := func() {
			for i := 0; i < threads; i++ {
				release(&all[rounds%2][i*semaphores/threads], false, 0)
			}
			rounds++
		}
		c.goOn()
		for i := 0; i < ops; i += threads {
			atomic.StoreInt64(&left, int64(threads))
			releaseAll()
			acquire(done)
		}
		c.stop()
		atomic.StoreInt32(&stop, 1)
		releaseAll()
		ended.Wait()
		check(woken == int64(ops), "wake-ups are missing")
		c.goOn()
	}}
}

func onceDone(c *clock, ops int) {
	var once sync.Once
	for i := 0; i < ops; i++ {
		once.Do(func() {})
	}
}

func locks() map[string]operation {
	all := map[string]operation{
		"cond_pingpong":          {2, condPingpong},
		"mutex_free":             {1, mutexFree},
		"mutex_contended/2":      mutexContended(2),
		"mutex_contended/64":     mutexContended(64),
		"rwlock_contended/16":    rwmutex(16, 16),
		"barrier/2":              barrier(2),
		"barrier/64":             barrier(64),
		"once_done":              {1, onceDone},
		"go_mutex_uncontended":   {processors(), mutexUncontended},
		"go_mutex":               mutexContended(processors()),
		"go_mutex_spin":          {processors(), mutexSpin},
		"go_rwmutex/10":          rwmutex(processors(), 10),
		"go_rwmutex/100":         rwmutex(processors(), 100),
		"go_sem_table_one/1000":  semTable(1000, 2),
		"go_sem_table_many/1000": semTable(1000, 1000),
	}
	for waiters := 1; waiters <= 32; waiters *= 2 {
		all[fmt.Sprint("go_cond/", waiters)] = cond(waiters)
	}
	return all
}
