// What goshim knows of the C library's thread control block. Everything here is learned by learn.cpp before the first G
// exists and constant afterwards; the other files of tcb/ only read it. Nothing outside tcb/ includes this.
//
// Memory around a thread pointer tp, in the two variants of TLS (arch::kTlsAbove). What is called "the struct" here is
// struct pthread and, where it lies apart, the TCB's head with the dynamic thread vector:
//
//   tp - below()                           tp                      tp + above()
//   | static TLS blocks of the modules ... | struct pthread          |              variant 2
//   | struct pthread                       | head | static TLS ...   |              variant 1
//
// All offsets are distances from tp. A "word" is 8 bytes, aligned.
#pragma once

#include <locale.h>
#include <string.h>

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
  int32_t offset;
  int32_t target;
};

// A libc call costs more than the copying of the small ones, of which most are words.
inline void copy_segment(void* tp, const Segment& s) {
  constexpr uint32_t kSmall = 64;
  using Word = uint64_t __attribute__((may_alias, aligned(4)));
  auto* to = reinterpret_cast<Word*>(static_cast<char*>(tp) + s.offset);
  auto* from = reinterpret_cast<const Word*>(s.bytes);
  if (s.size > kSmall || s.size % 8) {
    memcpy(to, from, s.size);
    return;
  }
  for (uint32_t left = s.size / 8; left; left--) {
    *to++ = *from++;
    asm volatile("");  // else the compiler makes it a call again
  }
}

constexpr size_t kMaxPthread = 8192;  // struct pthread, at most
constexpr size_t kMaxSelfPointers = 16;
constexpr size_t kMaxWarm = 16;
constexpr size_t kMaxSegments = 64;

inline void* unallocated() { return reinterpret_cast<void*>(-1L); }

struct Glibc {
  // The struct
  size_t sizeof_pthread;
  int32_t struct_at;   // where it begins: 0 or -sizeof_pthread
  size_t struct_size;  // sizeof_pthread and the head
  int32_t tid, list, dtv, cancel, specific;
  int ended;  // what cancel says of a thread that has ended; 0: unknown
  uint32_t specific_blocks;
  int32_t stackblock, stacksize, guard[2];
  uint32_t guards;
  int32_t robust_head;
  uint32_t robust_size;
  // What a new thread's struct holds. Words that differ by thread are zero in it.
  alignas(64) char image[kMaxPthread];
  SelfPointer self[kMaxSelfPointers];
  size_t selves;
  // What renew() copies from image: everything but links, dtv, tid, stack and the warm words.
  Segment segments[kMaxSegments];
  size_t nsegments;

  // Caches that libc hangs to a thread and that serve the next one as well: malloc's (tcache, arena), the buffers of
  // strerror and strsignal, random state. In struct pthread or, mostly, in libc's own TLS block.
  int32_t warm[kMaxWarm];
  size_t nwarm;

  // libc's TLS block
  int32_t errno_at, resp, ctype_b, ctype_lower, ctype_upper;
  int32_t resp_target;  // where in the struct __resp points
  const __locale_struct* global_locale;

  // Static TLS
  size_t static_size, static_align;  // as ld.so counts: blocks, surplus and what of the struct lies on tp's side

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

// Bytes from tp to the far end of static TLS and alignment gap.
inline size_t static_bytes() {
  return round_up(glibc.static_size - (arch::kTlsAbove ? 0 : glibc.sizeof_pthread), glibc.static_align);
}
// Where static TLS begins and ends.
inline int32_t static_begin() {
  return arch::kTlsAbove ? static_cast<int32_t>(arch::kTcbHead) : -static_cast<int32_t>(static_bytes());
}
inline int32_t static_end() { return arch::kTlsAbove ? static_cast<int32_t>(static_bytes()) : 0; }
inline bool in_static(int32_t offset) { return offset >= static_begin() && offset < static_end(); }

// What a TCB takes below and above its tp.
inline size_t below() { return arch::kTlsAbove ? round_up(glibc.sizeof_pthread, 64) : static_bytes(); }
inline size_t above() { return arch::kTlsAbove ? static_bytes() : glibc.sizeof_pthread; }

// The thread pointer of a TCB whose memory ends at top.
inline void* place(void* top) {
  return reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(top) - above()) & ~(glibc.static_align - 1));
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
  int32_t* end;    // where it ends
  // What retire() copies: first that of modules that were loaded at the start and stay, then that of modules that came
  // by dlopen() and may go.
  Segment* segments;
  size_t npermanent;
  size_t nsegments;
  bool all_static;  // no module's block is allocated when first touched
};

// The image of the modules loaded now, made if there is none, and the key it belongs to. On a program's thread with
// preemption on: calls libc. Null when memory is exhausted.
const Image* image_now(uint64_t* key);

// True if no thread has ever had a dynamic TLS block: these are the modules of the start, and all of them static.
bool all_static(const Image* image, uint64_t key);

// Some image; perhaps not of the modules loaded now. Any context, after learn().
const Image* image_latest();

void image_after_fork_child();

}  // namespace goshim::tcb
