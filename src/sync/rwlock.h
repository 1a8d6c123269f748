// pthread_rwlock_t, process-private, on the parking lot.
//
// The word: kWriter (a writer holds it, or is being handed it), kReaders and kWriters (such are queued), and the number
// of readers that hold it, in units of kReader.
//
//   W1  While kWriter is set, only its owner changes the word, except kReaders and kWriters, which change under the
//       bucket's lock, together with the counts of those queued.
//   W2  An unlock that leaves the lock free while others wait hands it over under the bucket's lock, to one writer or
//       to all queued readers; the last reader makes itself the writer for that. So nobody is woken in vain, and the
//       lock may be destroyed as soon as the word is free.
//   W3  Readers queue only behind a writer that holds the lock, or waits for it where writers are preferred.
//
// Kinds as in glibc: PTHREAD_RWLOCK_PREFER_READER_NP hands a writer's lock to readers first; the two writer-preferring
// kinds hand it to writers first; PREFER_WRITER_NONRECURSIVE_NP also keeps new readers out while a writer waits.
#pragma once

#include <pthread.h>

#include "base/clock.h"

namespace goshim {

struct RwLock {
  static constexpr uint32_t kWriter = 1;
  static constexpr uint32_t kReader = 8;
  // Acquire by who gets the lock, release by who gives it up; acq_rel by the last reader, which hands on what the
  // others released. kReaders and kWriters are set by relaxed RMWs under the bucket's lock: they say something of the
  // queue only.
  std::atomic<uint32_t> word;
  uint32_t queued_readers;  // the bucket's lock
  uint32_t queued_writers;  // the bucket's lock
  std::atomic<int> writer;  // self_id() of the writer, else 0; written by it (relaxed: who asks has written his own)
};
static_assert(sizeof(RwLock) <= offsetof(pthread_rwlock_t, __data.__flags));

inline RwLock* rwlock_of(pthread_rwlock_t* l) { return reinterpret_cast<RwLock*>(l); }
inline bool rwlock_is_shared(const pthread_rwlock_t* l) { return l->__data.__shared != 0; }

// Return values are glibc's. deadline null: for ever.
int rwlock_read(pthread_rwlock_t* l, const Deadline* deadline);
int rwlock_write(pthread_rwlock_t* l, const Deadline* deadline);
int rwlock_try_read(pthread_rwlock_t* l);
int rwlock_try_write(pthread_rwlock_t* l);
int rwlock_unlock(pthread_rwlock_t* l);

}  // namespace goshim
