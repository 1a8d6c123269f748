// A futex operation without the private flag finds its waiters wherever the word lies: in memory of the process alone,
// in memory shared with a child, in a mapping that was moved, cut in two or replaced, in a System V segment; and the
// kernel's own wake-up at the end of a thread of the program's making finds them too.
#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <atomic>
#include <thread>

#include "check.h"

static constexpr size_t kPage = 4096;

static long futex_wait(std::atomic<int>* word, int expected) {
  return syscall(SYS_futex, word, FUTEX_WAIT, expected, nullptr, nullptr, 0);
}

static long futex_wake(std::atomic<int>* word) {
  return syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, nullptr, nullptr, 0);
}

static void await_change(std::atomic<int>* word, int from) {
  while (word->load() == from) futex_wait(word, from);
}

static void change(std::atomic<int>* word, int to) {
  word->store(to);
  futex_wake(word);
}

// Ping-pong between two threads of this process.
static void between_threads(std::atomic<int>* word) {
  constexpr int kRounds = 200;
  word->store(0);
  std::thread other([&] {
    for (int i = 0; i < kRounds; i++) {
      await_change(word, 2 * i);
      change(word, 2 * i + 2);
    }
  });
  for (int i = 0; i < kRounds; i++) {
    change(word, 2 * i + 1);
    await_change(word, 2 * i + 1);
  }
  other.join();
}

// Ping-pong between a thread of this process and a child.
static void with_child(std::atomic<int>* word) {
  constexpr int kRounds = 50;
  word->store(0);
  pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < kRounds; i++) {
      await_change(word, 2 * i);
      change(word, 2 * i + 2);
    }
    _exit(0);
  }
  CHECK(child > 0);
  std::thread here([&] {
    for (int i = 0; i < kRounds; i++) {
      change(word, 2 * i + 1);
      await_change(word, 2 * i + 1);
    }
  });
  here.join();
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
}

static std::atomic<int>* word_at(void* page) { return static_cast<std::atomic<int>*>(page); }

static void* map(size_t length, int flags, void* at = nullptr) {
  void* p = mmap(at, length, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
  CHECK(p != MAP_FAILED);
  return p;
}

static std::atomic<int> in_data{1};

static void private_memory() {
  std::atomic<int> on_stack;
  auto* on_heap = new std::atomic<int>;
  between_threads(&in_data);
  between_threads(&on_stack);
  between_threads(on_heap);
  delete on_heap;
  void* page = map(kPage, MAP_PRIVATE);
  between_threads(word_at(page));
  CHECK_EQ(munmap(page, kPage), 0);
}

static void shared_memory() {
  char* pages = static_cast<char*>(map(3 * kPage, MAP_SHARED));
  between_threads(word_at(pages));
  with_child(word_at(pages));
  with_child(word_at(pages + 3 * kPage - 4));
  // Cut in two by private memory.
  map(kPage, MAP_PRIVATE | MAP_FIXED, pages + kPage);
  between_threads(word_at(pages + kPage));
  with_child(word_at(pages));
  with_child(word_at(pages + 2 * kPage));
  // Moved.
  void* moved = mremap(pages, kPage, 2 * kPage, MREMAP_MAYMOVE);
  CHECK(moved != MAP_FAILED);
  with_child(word_at(moved));
  CHECK_EQ(munmap(moved, 2 * kPage), 0);
  // Private where it was shared, then shared again, by a system call.
  CHECK_EQ(munmap(pages + kPage, 2 * kPage), 0);
  between_threads(word_at(map(kPage, MAP_PRIVATE | MAP_FIXED, pages)));
  long again = syscall(SYS_mmap, pages, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_ANONYMOUS, -1, 0);
  CHECK_EQ(again, reinterpret_cast<long>(pages));
  with_child(word_at(pages));
  CHECK_EQ(munmap(pages, kPage), 0);
}

static void segment() {
  int id = shmget(IPC_PRIVATE, 2 * kPage, IPC_CREAT | 0600);
  CHECK(id >= 0);
  auto* p = static_cast<char*>(shmat(id, nullptr, 0));
  CHECK_EQ(shmctl(id, IPC_RMID, nullptr), 0);
  with_child(word_at(p + kPage));
  CHECK_EQ(shmdt(p), 0);
}

static int ends_at_once(void*) { return 0; }

static void end_of_own_thread() {
  static std::atomic<int> tid;
  constexpr size_t kStack = 64 * 1024;
  auto* stack = static_cast<char*>(map(kStack, MAP_PRIVATE));
  tid = 1;
  int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_CHILD_CLEARTID;
  CHECK(clone(ends_at_once, stack + kStack, flags, nullptr, nullptr, nullptr, &tid) > 0);
  await_change(&tid, 1);
  CHECK_EQ(tid.load(), 0);
}

static void many_mappings() {
  constexpr int kMany = 600;
  static char* pages[kMany];
  // Every second one is taken away again: no two are neighbours.
  for (auto& p : pages) {
    p = static_cast<char*>(map(2 * kPage, MAP_SHARED));
    CHECK_EQ(munmap(p + kPage, kPage), 0);
  }
  with_child(word_at(pages[0]));
  with_child(word_at(pages[kMany / 2]));
  with_child(word_at(pages[kMany - 1]));
  for (auto& p : pages) CHECK_EQ(munmap(p, kPage), 0);
}

int main() {
  std::thread([] {}).join();
  private_memory();
  shared_memory();
  segment();
  end_of_own_thread();
  many_mappings();
  private_memory();
}
