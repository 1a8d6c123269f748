// What goshim knows of the C library's thread control block. Everything here is learned by learn.cpp before the first G
// exists and constant afterwards; the other files of tcb/ only read it. Nothing outside tcb/ includes this.
//
// Memory around a thread pointer tp (x86-64: static TLS below, struct pthread from tp upwards):
//
//   lowest()                                tp                      tp + sizeof_pthread
//   | static TLS blocks of the modules ... | struct pthread          |
//
// All offsets are distances from tp. A "word" is 8 bytes, aligned.
#pragma once

#include <locale.h>

#include "base/base.h"
#include "base/host.h"

namespace goshim::tcb {

// glibc's doubly linked list; also the two words of a TCB that link it.
struct List {
  List* next;
  List* prev;
};

// An element of a dynamic thread vector. Element -1 holds the length (in val), element 0 the generation, element i what
// module i's block is: val its address or kUnallocated, to_free what free() must get (null for a static block).
struct DtvEntry {
  void* val;
  void* to_free;
};

// An entry of ld.so's table of modules with TLS, indexed by module id: gen is the generation that last changed it.
struct SlotEntry {
  size_t gen;
  void* map;
};
struct SlotList {
  size_t len;
  SlotList* next;
  SlotEntry slots[];
};

// Bytes [offset, offset + size) from a thread pointer, and what a new thread has there.
struct Segment {
  int32_t offset;
  uint32_t size;
  const char* bytes;
};

// A word of a new TCB that holds an address inside that TCB.
struct SelfPointer {
  uint32_t offset;
  uint32_t target;
};

constexpr size_t kMaxPthread = 8192;  // struct pthread, at most
constexpr size_t kMaxSelfPointers = 16;
constexpr size_t kMaxWarm = 16;
constexpr size_t kMaxSegments = 64;

inline void* unallocated() { return reinterpret_cast<void*>(-1L); }

struct Glibc {
  // struct pthread
  size_t sizeof_pthread;
  uint32_t tid, list, dtv, cancel, specific, specific_blocks;
  uint32_t stackblock, stacksize, guard[2], guards;
  uint32_t robust_head, robust_size;
  // What a new thread's struct pthread holds. Words that differ by thread are zero in it.
  alignas(64) char image[kMaxPthread];
  SelfPointer self[kMaxSelfPointers];
  size_t selves;
  // What reset() copies from image: everything but links, dtv, tid, stack and the warm words.
  Segment segments[kMaxSegments];
  size_t nsegments;

  // Caches that libc hangs to a thread and that serve the next one as well: malloc's (tcache, arena), the buffers of
  // strerror and strsignal, random state. In struct pthread or, mostly, in libc's own TLS block.
  int32_t warm[kMaxWarm];
  size_t nwarm;

  // libc's TLS block
  int32_t errno_at, resp, ctype_b, ctype_lower, ctype_upper;
  uint32_t resp_target;  // where in struct pthread __resp points; 0 if elsewhere
  const __locale_struct* global_locale;

  // Static TLS
  size_t static_size, static_align;  // as ld.so counts: blocks, surplus and struct pthread

  // rseq area; size 0 if this libc has none
  int32_t rseq;
  uint32_t rseq_size;

  // ld.so
  SlotList** slot_list;
  List* user_list;
  std::atomic<int>* list_lock;

  // Functions. On a program's thread with preemption on, apart from allocating nothing else.
  void* (*allocate_tls)(void* tp);
  void* (*init_tls)(void* tp, bool all_namespaces);  // allocates nothing if the vector is long enough
  void (*deallocate_tls)(void* tp, bool tcb_too);
  void (*free)(void*);
  char* (*dlerror)();
  void (*res_nclose)(void*);
};

extern Glibc glibc;

template <typename T>
inline T& at(const void* tp, ptrdiff_t offset) {
  return *reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(tp) + static_cast<uintptr_t>(offset));
}
inline DtvEntry* dtv_of(const void* tp) { return at<DtvEntry*>(tp, glibc.dtv); }
inline size_t dtv_length(const DtvEntry* dtv) { return reinterpret_cast<size_t>(dtv[-1].val); }

// Bytes of static TLS and alignment gap below tp that a TCB may use.
inline size_t static_below() { return round_up(glibc.static_size - glibc.sizeof_pthread, glibc.static_align); }

// The thread pointer of a TCB whose memory ends at top.
inline void* place(void* top) {
  return reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(top) - glibc.sizeof_pthread) & ~(glibc.static_align - 1));
}

// ---- image.cpp: what new threads have in their static TLS ----

// A fingerprint of the modules with TLS that are loaded: changes with every dlopen or dlclose of one. Any context.
uint64_t modules_key();

// The initial contents of all static TLS, for one set of modules. Never freed.
struct Image {
  Image* next;
  char* tp;        // thread pointer of the model block: its static TLS is pristine
  size_t mapping;  // bytes it takes, all told
  size_t modules;
  int32_t* block;  // offset of each module's static block by module id; 0 for none. modules + 1 elements
  // What retire() copies: first that of modules that were loaded at the start and stay, then that of modules that came
  // by dlopen() and may go.
  Segment* segments;
  size_t npermanent;
  size_t nsegments;
};

// The image of the modules loaded now, made if there is none, and the key it belongs to. On a program's thread with
// preemption on: calls libc. Null when memory is exhausted.
const Image* image_now(uint64_t* key);

// Some image; perhaps not of the modules loaded now. Any context, after learn().
const Image* image_latest();

void image_after_fork_child();

}  // namespace goshim::tcb
