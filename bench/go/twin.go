// The Go twins of what bench/ measures: an echo server with a goroutine for each connection, and ping-pong over a pipe and
// over a socket pair.
//
//	twin server             prints its port, ends when its stdin does
//	twin pipe_pingpong      prints the nanoseconds of one hand-over; there and back are two
//	twin socket_pingpong
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "twin:", err)
		os.Exit(1)
	}
}

func server() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() {
		for {
			conn, err := listener.Accept()
			must(err)
			go echo(conn, conn)
		}
	}()
	io.Copy(io.Discard, os.Stdin)
}

func echo(in io.ReadCloser, out io.WriteCloser) {
	bytes := make([]byte, 4096)
	for {
		n, err := in.Read(bytes)
		if err != nil {
			break
		}
		if _, err = out.Write(bytes[:n]); err != nil {
			break
		}
	}
	in.Close()
	out.Close()
}

func pingpong(in io.Reader, out io.Writer) {
	bytes := make([]byte, 1)
	round := func(n int) {
		for i := 0; i < n; i++ {
			_, err := out.Write(bytes)
			must(err)
			_, err = in.Read(bytes)
			must(err)
		}
	}
	round(1000)
	const rounds = 100000
	began := time.Now()
	round(rounds)
	fmt.Println(float64(time.Since(began).Nanoseconds()) / (2 * rounds))
}

func pair() (net.Conn, net.Conn) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	must(err)
	var conns [2]net.Conn
	for i, fd := range fds {
		conns[i], err = net.FileConn(os.NewFile(uintptr(fd), "pair"))
		must(err)
	}
	return conns[0], conns[1]
}

func main() {
	what := ""
	if len(os.Args) == 2 {
		what = os.Args[1]
	}
	switch what {
	case "server":
		server()
	case "pipe_pingpong":
		thereOut, thereIn, err := os.Pipe()
		must(err)
		backOut, backIn, err := os.Pipe()
		must(err)
		go echo(thereOut, backIn)
		pingpong(backOut, thereIn)
	case "socket_pingpong":
		near, far := pair()
		go echo(far, far)
		pingpong(near, near)
	default:
		os.Exit(2)
	}
}
