// What the tests named blocked_in_... share: some threads block in the kernel, more of them than there are
// processors; the others must go on; and the blocked ones must come back when released.
#ifndef TESTS_BEHAVIOUR_BLOCKED_H_
#define TESTS_BEHAVIOUR_BLOCKED_H_

#include "check.h"

#include <semaphore.h>

#include <atomic>

inline constexpr int kBlocked = 6;

// Waits until `entered` counts all of them and they have had the time to block.
inline void work_beside(const std::atomic<int>& entered) {
  EVENTUALLY(entered == kBlocked);
  sleep_ms(2);
  static sem_t ping, pong;
  CHECK_SYS(sem_init(&ping, 0, 0));
  CHECK_SYS(sem_init(&pong, 0, 0));
  pthread_t partner = spawn([] {
    for (int i = 0; i < 200; i++) {
      CHECK_SYS(sem_wait(&ping));
      CHECK_SYS(sem_post(&pong));
    }
  });
  for (int i = 0; i < 200; i++) {
    CHECK_SYS(sem_post(&ping));
    CHECK_SYS(sem_wait(&pong));
  }
  join(partner);
  parallel(20, [](int index) {
    for (unsigned step = 0; step < 20; step++) stir(step + static_cast<unsigned>(index));
  });
}

// block(i) blocks for good until release() lets all of them go; twice, since the second time meets used threads.
template <class Block, class Release>
void others_go_on(Block block, Release release) {
  for (int round = 0; round < 2; round++) {
    static std::atomic<int> entered, returned;
    entered = returned = 0;
    pthread_t blocked = spawn([block] {
      parallel(kBlocked, [block](int index) {
        entered++;
        block(index);
        returned++;
      });
    });
    work_beside(entered);
    CHECK_EQ(returned.load(), 0);
    release();
    join(blocked);
    CHECK_EQ(returned.load(), kBlocked);
  }
}

#endif  // TESTS_BEHAVIOUR_BLOCKED_H_
