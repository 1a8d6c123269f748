// Shows that threads that read and write one pipe many times in a row get every byte in order, whoever comes in
// between: other readers and writers, one that goes round the library, one that fills pages with a byte each; and that
// a reader or writer who has to wait after such a streak stops nobody, is reached by signals, and can be cancelled.
#include "io.h"
#include "raw.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <atomic>
#include <thread>
#include <vector>

namespace {

void write_numbers(int fd, uint32_t first, uint32_t n, uint32_t step) {
  for (uint32_t i = 0; i < n; i++) {
    uint32_t number = first + i * step;
    CHECK_EQ(write(fd, &number, sizeof number), sizeof number);
  }
}

uint32_t read_number(int fd) {
  uint32_t number;
  CHECK_EQ(read(fd, &number, sizeof number), sizeof number);
  return number;
}

// Messages of all sizes, by one to one.
void sizes_in_order() {
  const Channel p = pipe_channel();
  constexpr size_t kMost = 5000;
  std::thread writer([&] {
    char bytes[kMost];
    unsigned char next = 0;
    for (int round = 0; round < 40; round++) {
      for (size_t size : {1, 7, 100, 100, 100, 600, 2048, 3000, 4096, 5000}) {
        for (int again = 0; again < 20; again++) {
          for (size_t i = 0; i < size; i++) bytes[i] = static_cast<char>(next++);
          CHECK_EQ(write(p.out, bytes, size), size);
        }
      }
    }
    CHECK_SYS(close(p.out));
  });
  unsigned char next = 0;
  char bytes[kMost];
  for (size_t ask = 1;; ask = ask % kMost + 1) {
    ssize_t got = read(p.in, bytes, ask < 50 ? ask : 64);
    if (got == 0) break;
    CHECK(got > 0);
    for (ssize_t i = 0; i < got; i++) CHECK_EQ(static_cast<unsigned char>(bytes[i]), next++);
  }
  writer.join();
  CHECK_SYS(close(p.in));
}

// Several of each: nothing is lost, and each writer's numbers come in order.
void crowds() {
  const Channel p = pipe_channel();
  constexpr uint32_t kEach = 5000;
  constexpr uint32_t kWriters = 4;
  std::vector<std::thread> threads;
  static std::atomic<uint64_t> sum;
  sum = 0;
  for (uint32_t w = 0; w < kWriters; w++) threads.emplace_back([&p, w] { write_numbers(p.out, w, kEach, kWriters); });
  for (uint32_t r = 0; r < kWriters; r++) {
    threads.emplace_back([&p] {
      for (uint32_t i = 0; i < kEach; i++) sum += read_number(p.in);
    });
  }
  for (std::thread& t : threads) t.join();
  uint64_t all = kEach * kWriters;
  CHECK_EQ(sum.load(), all * (all - 1) / 2);
  p.close_both();
}

std::atomic<bool> taken;

// The caller is in the middle of a streak when what is left is taken, by an instruction of the program's own.
void take_rest_of_streak(const Channel& p) {
  constexpr uint32_t kAll = 200;
  write_numbers(p.out, 0, kAll, 1);
  for (uint32_t i = 0; i < 50; i++) CHECK_EQ(read_number(p.in), i);
  char rest[4 * kAll];
  CHECK_EQ(raw<SYS_read>(p.in, reinterpret_cast<long>(rest), sizeof rest, 0), 150 * 4);
  taken = true;
}

uint32_t rest_is_taken(const Channel& p) {
  take_rest_of_streak(p);
  return read_number(p.in);
}

std::atomic<int> handled;
void on_signal(int) { handled++; }

void handle_signals(int flags) {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = flags;
  CHECK_SYS(sigaction(SIGUSR1, &action, nullptr));
  handled = 0;
}

void reader_waits_after_a_streak() {
  const Channel p = pipe_channel();
  taken = false;
  std::thread reader([&] { CHECK_EQ(rest_is_taken(p), 77); });
  EVENTUALLY(taken);
  std::atomic<int> others{0};
  std::thread([&] { others = 1; }).join();
  CHECK_EQ(others.load(), 1);
  write_numbers(p.out, 77, 1, 1);
  reader.join();
  p.close_both();
}

void signal_ends_its_wait() {
  const Channel p = pipe_channel();
  handle_signals(0);
  std::atomic<bool> ended{false};
  std::thread reader([&] {
    take_rest_of_streak(p);
    uint32_t number;
    CHECK_ERRNO(read(p.in, &number, sizeof number), EINTR);
    ended = true;
  });
  // One that comes before the read is for nothing.
  while (!ended) {
    const int before = handled;
    pthread_kill(reader.native_handle(), SIGUSR1);
    EVENTUALLY(ended || handled > before);
  }
  reader.join();
  CHECK(handled > 0);
  p.close_both();
}

// A signal that was sent before a read or write began has been handled when that returns.
void signals_meet_streaks() {
  const Channel p = pipe_channel();
  handle_signals(SA_RESTART);
  std::atomic<int> sent{0};
  std::atomic<bool> over{false};
  std::thread user([&] {
    while (!over) {
      for (uint32_t i = 0; i < 2000; i++) {
        int before = sent;
        write_numbers(p.out, i, 1, 1);
        CHECK(handled >= before);
      }
      for (uint32_t i = 0; i < 2000; i++) {
        int before = sent;
        CHECK_EQ(read_number(p.in), i);
        CHECK(handled >= before);
      }
    }
  });
  for (int i = 0; i < 300; i++) {
    CHECK_OK(pthread_kill(user.native_handle(), SIGUSR1));
    sent = i + 1;
    EVENTUALLY(handled > i);
  }
  over = true;
  user.join();
  p.close_both();
}

void cancel_ends_its_wait() {
  const Channel p = pipe_channel();
  taken = false;
  pthread_t reader;
  auto body = [](void* arg) -> void* {
    rest_is_taken(*static_cast<const Channel*>(arg));
    return nullptr;
  };
  CHECK_OK(pthread_create(&reader, nullptr, body, const_cast<Channel*>(&p)));
  EVENTUALLY(taken);
  CHECK_OK(pthread_cancel(reader));
  void* result;
  CHECK_OK(pthread_join(reader, &result));
  CHECK(result == PTHREAD_CANCELED);
  p.close_both();
}

// Pages with a byte each, of which the library is not told.
void pages_of_a_byte() {
  const Channel p = pipe_channel();
  char byte[4] = {};
  std::atomic<int> written{0};
  std::thread writer([&] {
    for (uint32_t i = 0; i < 40; i++) write_numbers(p.out, i, 1, 1);
    for (int i = 0; i < 8; i++) {
      iovec v{byte, 4};
      CHECK_EQ(raw<SYS_vmsplice>(p.out, reinterpret_cast<long>(&v), 1, 0), 4);
    }
    for (uint32_t i = 0; i < 20000; i++, written++) write_numbers(p.out, i, 1, 1);
  });
  EVENTUALLY(written > 100);
  for (uint32_t i = 0; i < 40; i++) CHECK_EQ(read_number(p.in), i);
  for (int i = 0; i < 8; i++) CHECK_EQ(read_number(p.in), 0);
  for (uint32_t i = 0; i < 20000; i++) CHECK_EQ(read_number(p.in), i);
  writer.join();
  p.close_both();
}

// A writer whose pipe is full after a streak waits for the reader, and others go on.
void full_pipe() {
  const Channel p = pipe_channel();
  std::atomic<uint32_t> written{0};
  std::thread writer([&] {
    for (uint32_t i = 0; i < 30000; i++, written++) write_numbers(p.out, i, 1, 1);
  });
  EVENTUALLY(written >= 65536 / 4);
  for (uint32_t i = 0; i < 30000; i++) CHECK_EQ(read_number(p.in), i);
  writer.join();
  p.close_both();
}

// The pipe gets smaller in the middle of a streak.
void smaller_pipe() {
  const Channel p = pipe_channel();
  std::thread writer([&] {
    for (uint32_t i = 0; i < 100; i++) write_numbers(p.out, i, 1, 1);
    CHECK_SYS(fcntl(p.out, F_SETPIPE_SZ, 4096));
    for (uint32_t i = 100; i < 20000; i++) write_numbers(p.out, i, 1, 1);
  });
  for (uint32_t i = 0; i < 20000; i++) CHECK_EQ(read_number(p.in), i);
  writer.join();
  p.close_both();
}

}  // namespace

int main() {
  for (int round = 0; round < 3; round++) {
    sizes_in_order();
    crowds();
    reader_waits_after_a_streak();
    signal_ends_its_wait();
    signals_meet_streaks();
    cancel_ends_its_wait();
    pages_of_a_byte();
    full_pipe();
    smaller_pipe();
  }
  return 0;
}
