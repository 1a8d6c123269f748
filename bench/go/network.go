// The echo server, ping-pong over a pipe and a socket pair, and TCP.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
)

func listen() net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	return listener
}

func server() {
	listener := listen()
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

func pingpong(in io.Reader, out io.WriteCloser, ops int) {
	bytes := make([]byte, 1)
	for i := 0; i < ops; i += 2 {
		_, err := out.Write(bytes)
		must(err)
		_, err = in.Read(bytes)
		must(err)
	}
	out.Close()
}

func pipePingpong(c *clock, ops int) {
	thereOut, thereIn, err := os.Pipe()
	must(err)
	backOut, backIn, err := os.Pipe()
	must(err)
	go echo(thereOut, backIn)
	pingpong(backOut, thereIn, ops)
	backOut.Close()
}

func pair() (net.Conn, net.Conn) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	must(err)
	var conns [2]net.Conn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "pair")
		conns[i], err = net.FileConn(file)
		must(err)
		file.Close()
	}
	return conns[0], conns[1]
}

func socketPingpong(c *clock, ops int) {
	near, far := pair()
	go echo(far, far)
	pingpong(near, near, ops)
}

const message = 512

func tcpEcho(persistent bool) operation {
	atOnce := 2 * processors()
	shares := 1
	if persistent {
		shares = atOnce
	}
	return operation{shares, func(c *clock, ops int) {
		messages := 1
		if persistent {
			messages = ops / atOnce
		}
		listener := listen()
		clients, servers := make(chan struct{}, atOnce), make(chan struct{}, atOnce)
		accepted := make(chan struct{})
		go func() {
			defer close(accepted)
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				servers <- struct{}{}
				go func() {
					var bytes [message]byte
					for i := 0; i < messages; i++ {
						if _, err := io.ReadFull(conn, bytes[:]); err != nil {
							break
						}
						if _, err := conn.Write(bytes[:]); err != nil {
							break
						}
					}
					conn.Close()
					<-servers
				}()
			}
		}()
		var echoed int64
		for i := 0; i < ops/messages; i++ {
			clients <- struct{}{}
			go func() {
				conn, err := net.Dial("tcp", listener.Addr().String())
				must(err)
				var sent, got [message]byte
				for i := range sent {
					sent[i] = 'x'
				}
				for i := 0; i < messages; i++ {
					if _, err := conn.Write(sent[:]); err != nil {
						break
					}
					if _, err := io.ReadFull(conn, got[:]); err != nil {
						break
					}
					if sent == got {
						atomic.AddInt64(&echoed, 1)
					}
				}
				conn.Close()
				<-clients
			}()
		}
		for i := 0; i < atOnce; i++ {
			clients <- struct{}{}
			servers <- struct{}{}
		}
		listener.Close()
		<-accepted
		check(echoed == int64(ops), "messages are missing")
	}}
}

func computed(value byte) byte {
	for i := 0; i < 1000; i++ {
		value *= value
	}
	return value
}

func tcpReadWrite(c *clock, ops int) {
	type both struct {
		client, server net.Conn
		passed         chan byte
	}
	pairs := processors()
	c.stop()
	listener := listen()
	all := make([]both, pairs)
	for i := range all {
		client, err := net.Dial("tcp", listener.Addr().String())
		must(err)
		server, err := listener.Accept()
		must(err)
		all[i] = both{client, server, make(chan byte, 128)}
	}
	c.goOn()
	var right int64
	inThreads(4*pairs, func(me int) {
		pair := &all[me/4]
		mine := 0
		var buffer [1]byte
		for i := 0; i < ops/pairs; i++ {
			n := 0
			switch me % 4 {
			case 0:
				buffer[0] = computed(byte(i))
				n, _ = pair.client.Write(buffer[:])
			case 1:
				n, _ = pair.server.Read(buffer[:])
				pair.passed <- buffer[0]
			case 2:
				buffer[0] = computed(<-pair.passed)
				n, _ = pair.server.Write(buffer[:])
			case 3:
				n, _ = pair.client.Read(buffer[:])
				if buffer[0] != byte(i%2) {
					n = 0
				}
			}
			mine += n
		}
		atomic.AddInt64(&right, int64(mine))
	})
	c.stop()
	for i := range all {
		all[i].client.Close()
		all[i].server.Close()
	}
	listener.Close()
	check(right == int64(4*ops), "bytes are missing")
	c.goOn()
}

func network() map[string]operation {
	return map[string]operation{
		"pipe_pingpong":     {2, pipePingpong},
		"socket_pingpong":   {2, socketPingpong},
		"go_tcp_oneshot":    tcpEcho(false),
		"go_tcp_persistent": tcpEcho(true),
		"go_tcp_readwrite":  {processors(), tcpReadWrite},
	}
}
