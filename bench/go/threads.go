// Making goroutines, what they compute, and their system calls.
package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// Each goroutine makes the next one and ends.
func createChains(count int) operation {
	return operation{count, func(c *clock, ops int) {
		type chain struct{ left, made int }
		ended := make(chan int)
		var link func(c *chain)
		link = func(c *chain) {
			c.made++
			c.left--
			if c.left < 0 {
				ended <- c.made
			} else {
				go link(c)
			}
		}
		for i := 0; i < count; i++ {
			go link(&chain{left: ops / count})
		}
		for i := 0; i < count; i++ {
			check(<-ended == ops/count+1, "goroutines are missing")
		}
	}}
}

// In waves, as natively.
func createSingle(c *clock, ops int) {
	const wave = 1000
	c.stop()
	inThreads(processors(), func(int) { spin(time.Millisecond) })
	c.goOn()
	var ran int64
	for done := 0; done < ops; done += wave {
		size := wave
		if size > ops-done {
			size = ops - done
		}
		var left sync.WaitGroup
		left.Add(size)
		for i := 0; i < size; i++ {
			go func() {
				atomic.AddInt64(&ran, 1)
				left.Done()
			}()
		}
		left.Wait()
	}
	check(ran == int64(ops), "goroutines are missing")
}

// So many that live at once: made, then waited for.
func createBatch(size int) operation {
	return operation{size, func(c *clock, ops int) {
		ended := make([]chan struct{}, size)
		for i := range ended {
			ended[i] = make(chan struct{}, 1)
		}
		for done := 0; done < ops; done += size {
			for i := range ended {
				go func(ended chan struct{}) { ended <- struct{}{} }(ended[i])
			}
			for i := range ended {
				<-ended[i]
			}
		}
	}}
}

const deep = 1024

//go:noinline
func recurse(deeper int, fill *[128]int64) int {
	frame := *fill
	for _, word := range frame {
		if word != 0 {
			return 0
		}
	}
	if deeper == 0 {
		return 1
	}
	return recurse(deeper-1, fill) + 1
}

func stackGrowthDeep(c *clock, ops int) {
	fill := new([128]int64)
	ended := make(chan int)
	for i := 0; i < ops; i++ {
		go func() { ended <- recurse(deep, fill) }()
		check(<-ended == deep+1, "frames are missing")
	}
}

const (
	size      = 64
	divisible = 8
)

type matrix [size][size]float64

type product struct {
	a, b, c                *matrix
	i0, i1, j0, j1, k0, k1 int
}

func multiplyBeside(half, rest product) {
	done := make(chan struct{}, 1)
	go func() {
		multiply(half)
		done <- struct{}{}
	}()
	multiply(rest)
	<-done
}

func multiply(p product) {
	di, dj, dk := p.i1-p.i0, p.j1-p.j0, p.k1-p.k0
	low, high := p, p
	switch {
	case di >= dj && di >= dk && di >= divisible:
		low.i1 = p.i0 + di/2
		high.i0 = low.i1
		multiplyBeside(low, high)
	case dj >= dk && dj >= divisible:
		low.j1 = p.j0 + dj/2
		high.j0 = low.j1
		multiplyBeside(low, high)
	case dk >= divisible:
		low.k1 = p.k0 + dk/2
		high.k0 = low.k1
		multiply(low)
		multiply(high)
	default:
		for i := p.i0; i < p.i1; i++ {
			for j := p.j0; j < p.j1; j++ {
				for k := p.k0; k < p.k1; k++ {
					p.c[i][j] += p.a[i][k] * p.b[k][j]
				}
			}
		}
	}
}

func matmult(c *clock, ops int) {
	c.stop()
	var a, got matrix
	for i := range a {
		for j := range a[i] {
			a[i][j] = float64(i*size + j)
		}
	}
	c.goOn()
	products := ops / (size * size * size)
	for i := 0; i < products; i++ {
		multiply(product{&a, &a, &got, 0, size, 0, size, 0, size})
	}
	c.stop()
	for i := range a {
		for j := range a[i] {
			sum := 0.0
			for k := range a {
				sum += a[i][k] * a[k][j]
			}
			check(got[i][j] == sum*float64(products), "wrong product")
		}
	}
	c.goOn()
}

// syscall.Getppid would not tell the scheduler.
func parentOf() uintptr {
	parent, _, _ := syscall.Syscall(syscall.SYS_GETPPID, 0, 0, 0)
	return parent
}

func syscalls(threads int) operation {
	return operation{threads, func(c *clock, ops int) {
		parent := parentOf()
		var right int64
		inThreads(threads, func(int) {
			mine := 0
			for i := 0; i < ops/threads; i++ {
				if parentOf() == parent {
					mine++
				}
			}
			atomic.AddInt64(&right, int64(mine))
		})
		check(right == int64(ops), "wrong parent")
	}}
}

var (
	context     uintptr
	contextOnce sync.Once
)

// Sleeps in the kernel, by the same call as natively.
func kernelSleep(d time.Duration) {
	contextOnce.Do(func() {
		_, _, errno := syscall.Syscall(syscall.SYS_IO_SETUP, 1, uintptr(unsafe.Pointer(&context)), 0)
		check(errno == 0, "io_setup")
	})
	t := syscall.NsecToTimespec(int64(d))
	var event [4]uint64
	to, timeout := uintptr(unsafe.Pointer(&event)), uintptr(unsafe.Pointer(&t))
	syscall.Syscall6(syscall.SYS_IO_GETEVENTS, context, 1, 1, to, timeout, 0)
}

func syscallsAsleep(threads int) operation {
	return operation{threads, func(c *clock, ops int) {
		var calls int64
		inThreads(threads, func(int) {
			for i := 0; i < ops/threads; i++ {
				kernelSleep(time.Microsecond)
				atomic.AddInt64(&calls, 1)
			}
		})
		check(calls == int64(ops), "calls are missing")
	}}
}

func yield(c *clock, ops int) {
	var stop int32
	ended := make(chan struct{})
	go func() {
		for atomic.LoadInt32(&stop) == 0 {
			runtime.Gosched()
		}
		ended <- struct{}{}
	}()
	for i := 0; i < ops; i += 2 {
		runtime.Gosched()
	}
	atomic.StoreInt32(&stop, 1)
	<-ended
}

func threads() map[string]operation {
	return map[string]operation{
		"create_join":             createBatch(1),
		"create_join_batch/100":   createBatch(100),
		"create_join_batch/1000":  createBatch(1000),
		"yield":                   {2, yield},
		"go_create":               createChains(1),
		"go_create_parallel":      createChains(processors()),
		"go_create_single":        {1, createSingle},
		"go_stack_growth_deep":    {1, stackGrowthDeep},
		"go_matmult":              {size * size * size, matmult},
		"go_syscall":              syscalls(processors()),
		"go_syscall_excess":       syscalls(4 * processors()),
		"go_syscall_sleep":        syscallsAsleep(processors()),
		"go_syscall_sleep_excess": syscallsAsleep(4 * processors()),
	}
}
