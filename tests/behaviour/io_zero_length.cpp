// Shows reads and writes of nothing, on every kind of descriptor: they never wait, unless natively they do; empty
// datagrams and records arrive as such and do not look like the end; empty pieces among others.
#include "io.h"

#include <sys/eventfd.h>

int main() {
  on_signal(SIGPIPE, SIG_IGN);
  parallel(4, [](int) {
    char byte = 'x';
    iovec none = {&byte, 0};
    iovec some[] = {{&byte, 0}, {&byte, 1}, {&byte, 0}};
    for (auto make : kStreams) {
      const Channel channel = make();
      CHECK_EQ(write(channel.out, &byte, 0), 0);
      CHECK_EQ(writev(channel.out, &none, 1), 0);
      CHECK_EQ(writev(channel.out, &none, 0), 0);
      CHECK_EQ(read(channel.in, &byte, 0), 0);
      CHECK_EQ(readv(channel.in, &none, 1), 0);
      // Nothing was sent by all this.
      int left = -1;
      CHECK_SYS(ioctl(channel.in, FIONREAD, &left));
      CHECK_EQ(left, 0);
      CHECK_EQ(writev(channel.out, some, 3), 1);
      CHECK_EQ(read(channel.in, &byte, 0), 0);
      CHECK_EQ(readv(channel.in, some, 3), 1);
      // A reader that waits is not woken by a write of nothing.
      Call reader([channel] {
        char bytes[4];
        return read(channel.in, bytes, sizeof bytes);
      });
      reader.settle();
      CHECK_EQ(write(channel.out, "", 0), 0);
      CHECK_EQ(write(channel.out, "ab", 2), 2);
      CHECK_EQ(reader.result(), 2);
      // With the other end gone.
      CHECK_SYS(close(channel.out));
      CHECK_EQ(read(channel.in, &byte, 0), 0);
      CHECK_EQ(read(channel.in, &byte, 1), 0);
      CHECK_SYS(close(channel.in));
    }
    // recv of nothing waits on TCP no more than read does; MSG_PEEK of nothing neither.
    const Channel tcp = tcp_channel();
    CHECK_EQ(send(tcp.out, "x", 1, 0), 1);
    CHECK_EQ(recv(tcp.in, &byte, 0, 0), 0);
    CHECK_EQ(recv(tcp.in, &byte, 1, 0), 1);
    tcp.close_both();

    for (auto make :
         {udp_channel, +[] { return unix_channel(SOCK_DGRAM); }, +[] { return unix_channel(SOCK_SEQPACKET); }}) {
      const Channel channel = make();
      Call reader([channel] {
        char bytes[10];
        CHECK_EQ(recv(channel.in, bytes, sizeof bytes, 0), 0);
        CHECK_EQ(recv(channel.in, bytes, sizeof bytes, 0), 3);
        CHECK_EQ(recv(channel.in, bytes, sizeof bytes, 0), 0);
        return 0;
      });
      reader.settle();
      CHECK_EQ(send(channel.out, "", 0, 0), 0);
      CHECK_EQ(send(channel.out, "abc", 3, 0), 3);
      CHECK_EQ(send(channel.out, "", 0, 0), 0);
      CHECK_EQ(reader.result(), 0);
      // A read of nothing leaves the datagram where it is; a recv of nothing takes it.
      CHECK_EQ(send(channel.out, "one", 3, 0), 3);
      CHECK_EQ(send(channel.out, "four", 4, 0), 4);
      CHECK_EQ(read(channel.in, &byte, 0), 0);
      char bytes[10];
      CHECK_EQ(recv(channel.in, bytes, 0, 0), 0);
      CHECK_EQ(read(channel.in, bytes, sizeof bytes), 4);
      // recv of nothing waits for a datagram.
      Call taker([channel] {
        char nothing;
        return recv(channel.in, &nothing, 0, 0);
      });
      taker.settle();
      CHECK_EQ(send(channel.out, "lost", 4, 0), 4);
      CHECK_EQ(taker.result(), 0);
      CHECK_ERRNO(recv(channel.in, bytes, sizeof bytes, MSG_DONTWAIT), EAGAIN);
      channel.close_both();
    }

    const int event = eventfd(0, 0);
    CHECK_SYS(event);
    CHECK_ERRNO(read(event, &byte, 0), EINVAL);
    CHECK_ERRNO(write(event, &byte, 0), EINVAL);
    char short_of_eight[8];
    CHECK_ERRNO(read(event, short_of_eight, 7), EINVAL);
    CHECK_SYS(close(event));
    CHECK_ERRNO(read(-1, &byte, 0), EBADF);
  });
  return 0;
}
