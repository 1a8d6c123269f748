// Asynchronous I/O (see aio.h).
//
// A request's own state lies in the members of struct aiocb that belong to libc, so nothing is allocated for one:
//   A1  All of it, the queues and the workers are changed under `lock` only.
//   A2  A request that is not in progress is the program's again, which may free it: the error code is stored last
//       (release), when the request is in no queue any more, and what is to be told has been copied.
//   A3  The first request of a descriptor's queue is ready (in `ready`) or running; the others wait behind it.
//   A4  Who waits has a Wait for each request, on his stack, linked to the request; and leaves only after he has taken
//       off, under the lock, those that are left. The last store of a waker to a Tally that is waited on is `left`;
//       unpark_all() after it needs the address only.
#include "thread/aio.h"

#include <alloca.h>
#include <errno.h>

#include <cstring>

#include "base/lock.h"
#include "base/slab.h"
#include "park/park.h"
#include "sched/section.h"
#include "stack/stack.h"
#include "thread/cancel.h"
#include "thread/life.h"
#include "thread/signal.h"

namespace goshim {

// How many requests are still to be done; with it what all of them were made for.
struct AioGroup {
  std::atomic<int> left{0};  // under the lock; who waits looks at it without
  bool failed = false;       // one of them
  bool waited = false;       // somebody waits for it; else the event is told
  sigevent event{};
  AioGroup* slab_next = nullptr;
};

namespace {

constexpr int kBuckets = 64;
constexpr int kMostPriority = 20;  // AIO_PRIO_DELTA_MAX

enum State : int { kBehind, kReady, kRunning };

struct Wait {
  AioGroup* group;
  aiocb* request;  // null once it is done
  Wait* next;
};

// In aiocb::__glibc_reserved.
struct Links {
  aiocb* next_queue;  // of a first request: the next descriptor's in the bucket
  aiocb* next_ready;
  Wait* waits;
  AioGroup* group;
};
static_assert(sizeof(Links) <= sizeof(aiocb::__glibc_reserved));

Links* links_of(aiocb* request) { return reinterpret_cast<Links*>(request->__glibc_reserved); }
aiocb*& behind(aiocb* request) { return request->__next_prio; }
int& state_of(aiocb* request) { return request->__policy; }

struct Worker {
  Worker* next;
  std::atomic<uint32_t> woken{0};  // 1 when it is off the list of idle ones
};

AioCalls calls;
Lock lock;
aiocb* queues[kBuckets];  // by descriptor: the first requests
aiocb* ready;             // first requests that wait for a worker, by priority
Worker* idle;
int workers;
int most_workers = 20;
int idle_seconds = 1;
Slab<AioGroup> groups;

aiocb** bucket_of(int fd) { return &queues[static_cast<unsigned>(fd) % kBuckets]; }

// Where the first request of fd is linked, or would be.
aiocb** place_of(int fd) {
  aiocb** at = bucket_of(fd);
  while (*at && (*at)->aio_fildes != fd) at = &links_of(*at)->next_queue;
  return at;
}

void make_ready(aiocb* request) {
  aiocb** at = &ready;
  while (*at && (*at)->__abs_prio >= request->__abs_prio) at = &links_of(*at)->next_ready;
  links_of(request)->next_ready = *at;
  *at = request;
  state_of(request) = kReady;
}

// request, the first of its queue, leaves it.
void remove_first(aiocb* request) {
  aiocb** at = place_of(request->aio_fildes);
  aiocb* next = behind(request);
  if (!next) {
    *at = links_of(request)->next_queue;
    return;
  }
  links_of(next)->next_queue = links_of(request)->next_queue;
  *at = next;
  make_ready(next);
}

void remove_ready(const aiocb* request) {
  aiocb** at = &ready;
  while (*at != request) at = &links_of(*at)->next_ready;
  *at = links_of(*at)->next_ready;
}

// What is to be told of a request, outside the lock.
struct News {
  sigevent own;
  AioGroup* group;  // whose last one it was, and which nobody waits for; or null
};

// The request, in no queue any more, has ended so.
News finish(aiocb* request, ssize_t value, int error) {
  Links* links = links_of(request);
  News news{request->aio_sigevent, nullptr};
  Wait* wait = links->waits;
  AioGroup* group = links->group;
  request->__return_value = value;
  __atomic_store_n(&request->__error_code, error, __ATOMIC_RELEASE);  // A2
  while (wait) {
    Wait* next = wait->next;
    wait->request = nullptr;
    AioGroup* waited = wait->group;
    if (error) waited->failed = true;
    int left = waited->left.load(std::memory_order_relaxed) - 1;
    waited->left.store(left, std::memory_order_release);
    if (left <= 0) unpark_all(waited);
    wait = next;
  }
  if (group) {
    int left = group->left.load(std::memory_order_relaxed) - 1;
    group->left.store(left, std::memory_order_relaxed);
    if (left == 0) news.group = group;
  }
  return news;
}

void tell(const News& news) {
  calls.notify(news.own);
  if (!news.group) return;
  sigevent event = news.group->event;
  {
    Section section;
    groups.release(news.group);
  }
  calls.notify(event);
}

// Until there is a request to be done: it, running. Null after idle_seconds without.
aiocb* next_request() {
  Worker self{};
  for (;;) {
    {
      Section section;
      LockGuard guard(lock);
      if (aiocb* request = ready) {
        ready = links_of(request)->next_ready;
        state_of(request) = kRunning;
        return request;
      }
      if (idle_seconds < 0) {
        workers--;
        return nullptr;
      }
      self.woken.store(0, std::memory_order_relaxed);
      self.next = idle;
      idle = &self;
    }
    ParkRequest wait{
        .key = &self.woken,
        .validate =
            [](void* worker) { return static_cast<Worker*>(worker)->woken.load(std::memory_order_acquire) == 0; },
        .before_sleep = nullptr,
        .timed_out = nullptr,
        .ctx = &self,
        .deadline = sys::nanotime() + idle_seconds * kSecond,
        .reason = WaitReason::Io,
    };
    park(wait);
    Section section;
    LockGuard guard(lock);
    if (self.woken.load(std::memory_order_relaxed)) continue;
    Worker** at = &idle;
    while (*at != &self) at = &(*at)->next;
    *at = self.next;
    workers--;
    return nullptr;
  }
}

void* work(void*) {
  while (aiocb* request = next_request()) {
    ssize_t done = calls.perform(*request);
    News news;
    {
      Section section;
      LockGuard guard(lock);
      remove_first(request);
      news = done < 0 ? finish(request, -1, static_cast<int>(-done)) : finish(request, done, 0);
    }
    tell(news);
  }
  return nullptr;
}

bool start_worker() {
  ThreadAttr attr;
  attr.stack_size = stack::default_size();
  attr.guard_size = kPage;
  attr.detached = true;
  attr.has_mask = true;
  attr.mask = ~UINT64_C(0);  // the program's signals are not for it
  pthread_t thread;
  return thread_create(&thread, attr, work, nullptr) == 0;
}

// What has been made ready needs somebody: an idle worker is woken, or the caller is to start one. Lock held.
bool needs_worker() {
  if (Worker* worker = idle) {
    idle = worker->next;
    worker->woken.store(1, std::memory_order_release);
    unpark_all(&worker->woken);
    return false;
  }
  if (workers >= most_workers) return false;
  workers++;
  return true;
}

// Starts one. True if there is none, after all.
bool engage() {
  if (start_worker()) return false;
  Section section;
  LockGuard guard(lock);
  return --workers == 0;
}

// False if it is too late for that: others wait behind it. The next request will ask for a worker again.
bool withdraw(aiocb* request) {
  Section section;
  LockGuard guard(lock);
  if (state_of(request) != kReady || behind(request) || workers != 0) return false;
  Links* links = links_of(request);
  if (links->group) links->group->left.fetch_sub(1, std::memory_order_relaxed);
  if (links->waits) links->waits->group->left.fetch_sub(1, std::memory_order_relaxed);
  remove_ready(request);
  remove_first(request);
  request->__error_code = EAGAIN;
  request->__return_value = -1;
  return true;
}

int submit(aiocb* request, int operation, AioGroup* group, Wait* wait) {
  if (operation == kAioSync || operation == kAioDataSync) request->aio_reqprio = 0;
  if (request->aio_reqprio < 0 || request->aio_reqprio > kMostPriority) {
    request->__error_code = EINVAL;
    request->__return_value = -1;
    return EINVAL;
  }
  bool wanted = false;
  {
    Section section;
    LockGuard guard(lock);
    request->__abs_prio = -request->aio_reqprio;
    request->aio_lio_opcode = operation;
    request->__error_code = EINPROGRESS;
    request->__return_value = 0;
    *links_of(request) = {nullptr, nullptr, wait, group};
    if (group) group->left.fetch_add(1, std::memory_order_relaxed);
    if (wait) wait->group->left.fetch_add(1, std::memory_order_relaxed);
    aiocb** at = place_of(request->aio_fildes);
    if (aiocb* before = *at) {
      while (behind(before) && behind(before)->__abs_prio >= request->__abs_prio) before = behind(before);
      behind(request) = behind(before);
      behind(before) = request;
      state_of(request) = kBehind;
    } else {
      behind(request) = nullptr;
      *at = request;
      make_ready(request);
      wanted = needs_worker();
    }
  }
  return wanted && engage() && withdraw(request) ? EAGAIN : 0;
}

// Lock held. Whether request is one that we know.
bool is_queued(const aiocb* request) {
  aiocb* queued = *place_of(request->aio_fildes);
  while (queued && queued != request) queued = behind(queued);
  return queued != nullptr;
}

struct Waiting {
  AioGroup group;
  Wait* waits;
  int n;
};

// A4
void stop_waiting(void* ctx) {
  auto* waiting = static_cast<Waiting*>(ctx);
  Section section;
  LockGuard guard(lock);
  for (int i = 0; i < waiting->n; i++) {
    aiocb* request = waiting->waits[i].request;
    if (!request) continue;
    Wait** at = &links_of(request)->waits;
    while (*at && *at != &waiting->waits[i]) at = &(*at)->next;
    if (*at) *at = (*at)->next;
  }
}

// Until waiting->group.left is 0 or less.
ParkResult wait_for(Waiting* waiting, Nanos deadline, bool cancellation_point) {
  ParkRequest request{
      .key = &waiting->group,
      .validate = [](void* ctx) { return static_cast<Waiting*>(ctx)->group.left.load(std::memory_order_acquire) > 0; },
      .before_sleep = nullptr,
      .timed_out = nullptr,
      .ctx = waiting,
      .deadline = deadline,
      .reason = WaitReason::Io,
      .interruptible = true,
      .signals_only = !cancellation_point,
      .abandoned = stop_waiting,
  };
  HandlerMark mark = handler_mark();
  ParkResult result;
  // As for libc's futex: a wait without end goes on after handlers with SA_RESTART.
  do result = park(request);
  while (result == ParkResult::Interrupted && deadline == kForever && handlers_restart(mark) &&
         !(cancellation_point && cancel_pending()));
  stop_waiting(waiting);
  return result;
}

}  // namespace

void aio_init_calls(const AioCalls& given) { calls = given; }

int aio_submit(aiocb* request, int operation) { return submit(request, operation, nullptr, nullptr); }

int aio_wait(const aiocb* const list[], int n, Nanos deadline) {
  CancelScope scope;
  thread_test_cancel();
  auto* waits = static_cast<Wait*>(alloca((static_cast<size_t>(n) + 1) * sizeof(Wait)));
  Waiting waiting{{}, waits, 0};
  {
    Section section;
    LockGuard guard(lock);
    for (int i = 0; i < n; i++) {
      auto* request = const_cast<aiocb*>(list[i]);
      if (!request) continue;
      if (request->__error_code != EINPROGRESS || !is_queued(request)) {
        waiting.group.left.store(0, std::memory_order_relaxed);
        break;
      }
      Wait* wait = &waits[waiting.n++];
      *wait = {&waiting.group, request, links_of(request)->waits};
      links_of(request)->waits = wait;
      waiting.group.left.store(1, std::memory_order_relaxed);
    }
  }
  ParkResult result = wait_for(&waiting, deadline, true);
  if (result == ParkResult::TimedOut && waiting.group.left.load(std::memory_order_relaxed) > 0) return EAGAIN;
  if (result != ParkResult::Interrupted) return 0;
  thread_test_cancel();
  return EINTR;
}

int aio_submit_all(aiocb* const list[], int n, bool wait, const sigevent* event) {
  AioGroup* group = nullptr;
  auto* waits = static_cast<Wait*>(alloca(static_cast<size_t>(wait ? n + 1 : 1) * sizeof(Wait)));
  Waiting waiting{{}, waits, 0};
  if (!wait && event && event->sigev_notify != SIGEV_NONE) {
    Section section;
    group = groups.take();
    if (!group) return EAGAIN;
    group->event = *event;
    group->left.store(1, std::memory_order_relaxed);  // this call
  }
  int error = 0;
  for (int i = 0; i < n; i++) {
    aiocb* request = list[i];
    if (!request || request->aio_lio_opcode == LIO_NOP) continue;
    Wait* own = wait ? &waits[waiting.n] : nullptr;
    if (own) *own = {&waiting.group, request, nullptr};
    if (int r = submit(request, request->aio_lio_opcode, group, own)) {
      error = r;
      continue;
    }
    waiting.n += wait;
  }
  if (group) {
    bool last;
    {
      Section section;
      LockGuard guard(lock);
      last = group->left.fetch_sub(1, std::memory_order_relaxed) == 1;
    }
    sigevent none{};
    none.sigev_notify = SIGEV_NONE;
    if (last) tell({none, group});
  } else if (wait && waiting.n) {
    if (wait_for(&waiting, kForever, false) == ParkResult::Interrupted) return EINTR;
    if (waiting.group.failed || error) return EIO;
  }
  return error;
}

int aio_cancel_requests(int fd, aiocb* request) {
  aiocb* cancelled = nullptr;
  int answer = AIO_ALLDONE;
  for (;;) {
    News news{};
    {
      Section section;
      LockGuard guard(lock);
      aiocb* first = *place_of(fd);
      if (request) {
        if (cancelled) return answer;
        if (request->__error_code != EINPROGRESS) return AIO_ALLDONE;
        aiocb* before = nullptr;
        for (cancelled = first; cancelled && cancelled != request; cancelled = behind(cancelled)) before = cancelled;
        if (!cancelled) return -1;
        if (state_of(request) == kRunning) return AIO_NOTCANCELED;
        if (before) behind(before) = behind(request);
      } else {
        if (!first) return answer;
        // One that runs stays, and comes first: what is behind it goes.
        bool runs = state_of(first) == kRunning;
        if (runs) answer = AIO_NOTCANCELED;
        cancelled = runs ? behind(first) : first;
        if (!cancelled) return answer;
        if (runs) behind(first) = behind(cancelled);
        else answer = AIO_CANCELED;
      }
      if (request) answer = AIO_CANCELED;
      if (state_of(cancelled) == kReady) {
        remove_ready(cancelled);
        remove_first(cancelled);
      }
      news = finish(cancelled, -1, ECANCELED);
    }
    tell(news);
  }
}

void aio_limits(int threads, int seconds) {
  Section section;
  LockGuard guard(lock);
  if (threads > 0) most_workers = threads;
  if (seconds != 0) idle_seconds = seconds;
}

void aio_after_fork_child() {
  lock.reset();
  groups.reset_lock();
  for (aiocb*& queue : queues) queue = nullptr;
  ready = nullptr;
  idle = nullptr;
  workers = 0;
}

}  // namespace goshim
