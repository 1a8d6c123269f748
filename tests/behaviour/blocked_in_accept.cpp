// Shows that threads blocked in accept on one socket do not stop the others, and that each gets one connection; then
// the same for recv on the connections.
#include "blocked.h"

#include <netinet/in.h>
#include <sys/socket.h>

int main() {
  static int listener, accepted[kBlocked], clients[kBlocked];
  static sockaddr_in address;
  socklen_t length = sizeof address;
  listener = socket(AF_INET, SOCK_STREAM, 0);
  CHECK_SYS(listener);
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK_SYS(bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address));
  CHECK_SYS(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length));
  CHECK_SYS(listen(listener, 16));
  others_go_on(
      [](int index) {
        accepted[index] = accept(listener, nullptr, nullptr);
        CHECK_SYS(accepted[index]);
      },
      [] {
        for (int& client : clients) {
          client = socket(AF_INET, SOCK_STREAM, 0);
          CHECK_SYS(connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address));
        }
      });
  others_go_on(
      [](int index) {
        char bytes[4] = {};
        CHECK_EQ(recv(accepted[index], bytes, 3, MSG_WAITALL), 3);
        CHECK_STR(bytes, "abc");
      },
      [] {
        for (const char* text : {"a", "bc"}) {
          for (int client : clients) CHECK_EQ(send(client, text, strlen(text), 0), strlen(text));
          sched_yield();
        }
      });
  return 0;
}
