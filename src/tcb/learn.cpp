// Learns the layout of glibc's thread control block, and checks what it has learned.
//
// Sources of knowledge, in order of preference: public functions and variables; the descriptors that glibc keeps for
// debuggers (_thread_db_*: offset, size and count of a field); the struct pthread of probe threads, whose stacks, start
// routine and argument are known and so can be recognised. Each word of a probe's struct pthread must be explained; one
// that is not, and that differs between two probes, makes goshim decline.
#include <linux/futex.h>
#include <pthread.h>
#include <resolv.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "base/print.h"
#include "base/sys.h"
#include "sched/runtime.h"
#include "tcb/glibc.h"
#include "tcb/tcb.h"

namespace goshim::tcb {

namespace {

constexpr size_t kWord = sizeof(uintptr_t);
constexpr size_t kProbeStack = 256 * 1024;  // without static TLS
constexpr size_t kProbeGuard = 7 * kPage;
constexpr size_t kLibcWords = 128;  // words looked at in libc's TLS block, at most

char why[160];

template <typename... Args>
const char* decline(const char* fmt, Args... args) {
  format(why, sizeof why, fmt, args...);
  return why;
}

// ---- symbols ----

size_t values_bytes;  // of a block of thread-specific values

const char* missing;  // the first symbol that was not found

template <typename T>
void find(T*& out, const char* symbol) {
  out = reinterpret_cast<T*>(host.find(symbol));
  if (!out && !missing) missing = symbol;
}

// A debugger's descriptor of a field: size in bits, number of elements, offset.
struct Field {
  uint32_t bits;
  uint32_t count;
  uint32_t offset;
};

uint32_t offset_of(const char* symbol, uint32_t bytes) {
  const Field* f;
  find(f, symbol);
  if (!f) return 0;
  if (f->bits != 8 * bytes && !missing) missing = symbol;
  return f->offset;
}

// The same for a field of struct pthread: from the thread pointer.
int32_t field_at(const char* symbol, uint32_t bytes) {
  return glibc.struct_at + static_cast<int32_t>(offset_of(symbol, bytes));
}

// Words of the struct, by their number, and back.
int32_t word_at(size_t w) { return glibc.struct_at + static_cast<int32_t>(w * kWord); }
size_t word_of(int32_t at) { return static_cast<size_t>(at - glibc.struct_at) / kWord; }

struct Functions {
  pthread_t (*self)();
  int (*attr_init)(pthread_attr_t*);
  int (*attr_destroy)(pthread_attr_t*);
  int (*attr_setstacksize)(pthread_attr_t*, size_t);
  int (*attr_setguardsize)(pthread_attr_t*, size_t);
  void (*tls_static_info)(size_t*, size_t*);
  int* (*errno_location)();
  void* (*malloc)(size_t);
  char* (*strerror)(int);
  char* (*strsignal)(int);
  ssize_t (*getrandom)(void*, size_t, unsigned);  // may be null
  uint32_t (*arc4random)();                       // may be null
  locale_t (*duplocale)(locale_t);
  locale_t (*uselocale)(locale_t);
  void (*freelocale)(locale_t);
  int (*key_create)(pthread_key_t*, void (*)(void*));
  int (*key_delete)(pthread_key_t);
  int (*setspecific)(pthread_key_t, const void*);
  const void** (*ctype_b_loc)();
  const void** (*ctype_lower_loc)();
  const void** (*ctype_upper_loc)();
};
Functions f;

int32_t distance(const void* address, const void* tp) {
  return static_cast<int32_t>(static_cast<const char*>(address) - static_cast<const char*>(tp));
}

const char* find_symbols() {
  find(f.self, "pthread_self");
  find(f.attr_init, "pthread_attr_init");
  find(f.attr_destroy, "pthread_attr_destroy");
  find(f.attr_setstacksize, "pthread_attr_setstacksize");
  find(f.attr_setguardsize, "pthread_attr_setguardsize");
  find(f.tls_static_info, "_dl_get_tls_static_info");
  find(f.errno_location, "__errno_location");
  find(f.malloc, "malloc");
  find(f.strerror, "strerror");
  find(f.strsignal, "strsignal");
  find(f.duplocale, "duplocale");
  find(f.uselocale, "uselocale");
  find(f.freelocale, "freelocale");
  find(f.key_create, "pthread_key_create");
  find(f.key_delete, "pthread_key_delete");
  find(f.setspecific, "pthread_setspecific");
  find(f.ctype_b_loc, "__ctype_b_loc");
  find(f.ctype_lower_loc, "__ctype_tolower_loc");
  find(f.ctype_upper_loc, "__ctype_toupper_loc");
  f.getrandom = reinterpret_cast<decltype(f.getrandom)>(host.find("getrandom"));
  f.arc4random = reinterpret_cast<decltype(f.arc4random)>(host.find("arc4random"));
  find(glibc.allocate_tls, "_dl_allocate_tls");
  find(glibc.init_tls, "_dl_allocate_tls_init");
  find(glibc.deallocate_tls, "_dl_deallocate_tls");
  find(glibc.free, "free");
  find(glibc.dlerror, "dlerror");
  glibc.res_nclose = reinterpret_cast<void (*)(void*)>(host.find("__res_nclose"));

  const uint32_t* size;
  find(size, "_thread_db_sizeof_pthread");
  if (size) glibc.sizeof_pthread = *size;
  glibc.struct_at = arch::kTlsAbove ? -static_cast<int32_t>(glibc.sizeof_pthread) : 0;
  glibc.struct_size = glibc.sizeof_pthread + arch::kTcbHead;
  pthread_at = glibc.struct_at;
  glibc.tid = field_at("_thread_db_pthread_tid", sizeof(int));
  glibc.list = field_at("_thread_db_pthread_list", sizeof(List));
  glibc.dtv = field_at("_thread_db_pthread_dtvp", sizeof(void*));
  glibc.cancel = field_at("_thread_db_pthread_cancelhandling", sizeof(int));
  const Field* specific;
  find(specific, "_thread_db_pthread_specific");
  const uint32_t* values_size;
  find(values_size, "_thread_db_sizeof_pthread_key_data_level2");
  const Field* dtv_entry;
  find(dtv_entry, "_thread_db_dtv_dtv");
  const uint32_t* slot_size;
  find(slot_size, "_thread_db_sizeof_dtv_slotinfo");
  bool known = offset_of("_thread_db_dtv_t_pointer_val", sizeof(void*)) == 0 &&
               offset_of("_thread_db_list_t_next", sizeof(void*)) == 0 &&
               offset_of("_thread_db_list_t_prev", sizeof(void*)) == offsetof(List, prev) &&
               offset_of("_thread_db_dtv_slotinfo_gen", sizeof(size_t)) == offsetof(SlotEntry, gen) &&
               offset_of("_thread_db_dtv_slotinfo_map", sizeof(void*)) == offsetof(SlotEntry, map) &&
               offset_of("_thread_db_dtv_slotinfo_list_len", sizeof(size_t)) == offsetof(SlotList, len) &&
               offset_of("_thread_db_dtv_slotinfo_list_next", sizeof(void*)) == offsetof(SlotList, next) &&
               offset_of("_thread_db_dtv_slotinfo_list_slotinfo", sizeof(SlotEntry)) == offsetof(SlotList, slots);
  uint32_t slot_list = offset_of("_thread_db_rtld_global__dl_tls_dtv_slotinfo_list", sizeof(void*));
  uint32_t user_list = offset_of("_thread_db_rtld_global__dl_stack_user", sizeof(List));
  char* rtld;
  find(rtld, "_rtld_global");
  if (missing) return decline("this libc has no usable %s (goshim needs glibc 2.34 or later)", missing);
  if (!known || dtv_entry->bits != 8 * sizeof(DtvEntry) || *slot_size != sizeof(SlotEntry)) {
    return "the tables of this ld.so have an unknown layout";
  }
  values_bytes = *values_size;
  glibc.specific = glibc.struct_at + static_cast<int32_t>(specific->offset);
  glibc.specific_blocks = specific->bits / (8 * sizeof(void*));  // the whole array is one field
  if (glibc.struct_size > kMaxPthread || glibc.sizeof_pthread % kWord != 0) return "struct pthread is too large";
  glibc.slot_list = reinterpret_cast<SlotList**>(rtld + slot_list);
  glibc.user_list = reinterpret_cast<List*>(rtld + user_list);
  return nullptr;
}

// ---- what the calling thread shows ----

const char* look_at_self() {
  void* tp = arch::thread_pointer();
  if (tp_of(f.self()) != tp) return "pthread_t does not lie where it should beside the thread pointer";
  if (at<int>(tp, glibc.tid) != sys::gettid()) return "the tid field does not hold the tid";
  f.tls_static_info(&glibc.static_size, &glibc.static_align);
  size_t align = glibc.static_align;
  if (align < 16 || (align & (align - 1)) != 0 || (!arch::kTlsAbove && glibc.static_size < glibc.sizeof_pthread)) {
    return "the size of static TLS makes no sense";
  }
  if (align > kPage) return "static TLS with more than page alignment";
  glibc.errno_at = distance(f.errno_location(), tp);
  glibc.ctype_b = distance(f.ctype_b_loc(), tp);
  glibc.ctype_lower = distance(f.ctype_lower_loc(), tp);
  glibc.ctype_upper = distance(f.ctype_upper_loc(), tp);
  void* resp = host.dlsym(nullptr, "__resp");  // null: RTLD_DEFAULT
  if (!resp) return "this libc has no __resp";
  glibc.resp = distance(resp, tp);
  if (!in_static(glibc.errno_at) || !in_static(glibc.resp)) return "libc has no static TLS";
  DtvEntry* dtv = dtv_of(tp);
  size_t modules = 0;
  for (const SlotList* l = *glibc.slot_list; l; l = l->next) modules += l->len;
  if (dtv_length(dtv) > modules + 1024 || modules > (1 << 20)) return "the dynamic thread vector makes no sense";

  const ptrdiff_t* rseq = reinterpret_cast<ptrdiff_t*>(host.find("__rseq_offset"));
  const unsigned* rseq_size = reinterpret_cast<unsigned*>(host.find("__rseq_size"));
  if (rseq && rseq_size && *rseq != 0) {
    glibc.rseq = static_cast<int32_t>(*rseq);
    glibc.rseq_size = *rseq_size < 32 ? 32 : *rseq_size;  // the kernel's first version had 32 bytes, 20 of them in use
  }
  return nullptr;
}

// ---- probe threads ----

size_t probe_size() {
  return kProbeStack + round_up(glibc.struct_size + glibc.static_size + glibc.static_align, kPage);
}

// The lock of glibc's thread lists has no name: it lies somewhere behind the lists. To know it for sure, a probe thread
// takes a candidate as glibc takes its low-level locks (1: held) while this thread creates another one. Whoever waits
// for such a lock turns it into 2: then this is the lock that creation wants. If the creation goes through instead, it
// is not.
struct LockTrial {
  std::atomic<uint32_t>* word;
  std::atomic<uint32_t> begun{0};    // by the probe: it has the lock, or cannot have it. Release, acquire
  std::atomic<uint32_t> created{0};  // by the creator. Likewise
  bool wanted = false;               // the probe's until it is joined
};

constexpr int kYields = 200;  // most waits end within so many: a sleep would take longer

void wait_for(std::atomic<uint32_t>* flag) {
  for (int i = 0; flag->load(std::memory_order_acquire) == 0; i++) {
    if (i < kYields) sys::sched_yield();
    else sys::futex_wait(flag, 0);
  }
}

void raise(std::atomic<uint32_t>* flag) {
  flag->store(1, std::memory_order_release);
  sys::futex_wake(flag, 1);
}

void hold_lock(LockTrial* t) {
  uint32_t free = 0;
  bool taken = false;
  for (int i = 0; i < 1000 && !taken; i++) {
    taken = t->word->compare_exchange_strong(free, 1, std::memory_order_acquire);
    if (!taken) {
      if (free > 2) break;  // not the value of a lock
      free = 0;
      sys::sched_yield();
    }
  }
  raise(&t->begun);
  for (int i = 0; taken && !t->wanted && t->created.load(std::memory_order_acquire) == 0; i++) {
    t->wanted = t->word->load(std::memory_order_relaxed) == 2;
    if (t->wanted) break;
    if (i < kYields) sys::sched_yield();
    else sys::futex_wait(&t->created, 0, sys::nanotime() + 20 * kMicrosecond);
  }
  if (!taken) return;
  t->word->exchange(0, std::memory_order_release);
  sys::futex_wake(t->word, 1);
}

struct Probe {
  pthread_t thread;
  char* stack;  // its lowest address; null for a stack of glibc's own
  size_t size;
  bool full;  // exercises libc too
  int32_t libc_low;
  size_t libc_words;
  pthread_key_t key;
  LockTrial* trial;  // takes part in it

  // What it found, by word.
  uintptr_t tp;
  uintptr_t* fresh;       // struct pthread at the start
  uintptr_t* keyed;       // after a thread-specific value was set and cleared
  uintptr_t* used;        // after libc was exercised
  uintptr_t* libc_fresh;  // libc's TLS block
  uintptr_t* libc_used;
  uintptr_t locale_word;  // address of the word that uselocale() sets; 0 if there is not exactly one
  const __locale_struct* global_locale;
  uintptr_t robust;
  size_t robust_size;
  bool listed;
};

void copy_words(uintptr_t* to, const void* from, size_t words) {
  auto* w = static_cast<const volatile uintptr_t*>(from);
  for (size_t i = 0; i < words; i++) to[i] = w[i];
}

// Uses what libc caches by thread.
void exercise_libc() {
  constexpr int kNoSuchError = 99999;
  constexpr int kNoSuchSignal = 199;
  for (size_t size = 24; size <= 4096; size *= 4) {
    void* volatile p = f.malloc(size);
    glibc.free(p);
  }
  f.strerror(kNoSuchError);
  f.strsignal(kNoSuchSignal);
  char byte;
  if (f.getrandom) f.getrandom(&byte, 1, 0);
  if (f.arc4random) f.arc4random();
}

void find_locale(Probe* p, char* libc) {
  locale_t mine = f.duplocale(LC_GLOBAL_LOCALE);
  if (!mine) return;
  f.uselocale(mine);
  uintptr_t found = 0;
  size_t hits = 0;
  for (size_t i = 0; i < p->libc_words; i++) {
    if (reinterpret_cast<volatile uintptr_t*>(libc)[i] != reinterpret_cast<uintptr_t>(mine)) continue;
    found = reinterpret_cast<uintptr_t>(libc + i * kWord);
    hits++;
  }
  f.uselocale(LC_GLOBAL_LOCALE);
  if (hits == 1) {
    p->locale_word = found;
    p->global_locale = *reinterpret_cast<const __locale_struct* volatile*>(found);
  }
  f.freelocale(mine);
}

void* probe_main(void* arg) {
  auto* p = static_cast<Probe*>(arg);
  void* tp = arch::thread_pointer();
  auto* libc = static_cast<char*>(tp) + p->libc_low;
  p->tp = reinterpret_cast<uintptr_t>(tp);
  const char* own = static_cast<char*>(tp) + glibc.struct_at;
  copy_words(p->fresh, own, glibc.struct_size / kWord);
  if (p->trial) hold_lock(p->trial);
  if (!p->full) return nullptr;
  copy_words(p->libc_fresh, libc, p->libc_words);
  // Leaves a mark that there are thread-specific values. A malloc that keeps its state in one sets the same mark.
  f.setspecific(p->key, p);
  f.setspecific(p->key, nullptr);
  copy_words(p->keyed, own, glibc.struct_size / kWord);
  exercise_libc();
  *f.errno_location() = 0;
  copy_words(p->used, own, glibc.struct_size / kWord);
  copy_words(p->libc_used, libc, p->libc_words);
  find_locale(p, libc);
  sys::call(SYS_get_robust_list, 0, &p->robust, &p->robust_size);
  const List* self = &at<List>(tp, glibc.list);
  const List* head = glibc.user_list;
  constexpr int kMany = 1 << 16;
  int steps = 0;
  for (const List* l = head->next; l && l != head && !p->listed && steps < kMany; l = l->next, steps++) {
    p->listed = l == self && self->next->prev == self && self->prev->next == self;
  }
  return nullptr;
}

// Creates p with a stack of its own or, without one, with kProbeStack bytes and an unusual guard of glibc's.
int create_probe(Probe* p) {
  pthread_attr_t attr;
  if (f.attr_init(&attr) != 0) return -1;
  int error;
  if (p->stack) {
    error = host.pthread_attr_setstack(&attr, p->stack, p->size);
  } else {
    error = f.attr_setstacksize(&attr, probe_size());
    if (!error) error = f.attr_setguardsize(&attr, kProbeGuard);
  }
  if (!error) error = host.pthread_create(&p->thread, &attr, probe_main, p);
  f.attr_destroy(&attr);
  return error;
}

// Runs holder and made; whether the word is the lock (1, 0), or -1 if threads cannot be created.
int try_lock_word(std::atomic<uint32_t>* word, Probe* holder, Probe* made) {
  LockTrial trial;
  trial.word = word;
  holder->trial = &trial;
  if (create_probe(holder) != 0) return -1;
  wait_for(&trial.begun);
  bool created = create_probe(made) == 0;
  raise(&trial.created);
  host.pthread_join(holder->thread, nullptr);
  if (created) host.pthread_join(made->thread, nullptr);
  return created ? trial.wanted : -1;
}

const char* find_list_lock(Probe* holder, Probe* made) {
  // glibc 2.34 to 2.41: dl_stack_user, dl_stack_cache (a list), its size, dl_in_flight_stack, the lock.
  constexpr size_t kUsual = sizeof(List) + sizeof(List) + sizeof(size_t) + sizeof(uintptr_t);
  constexpr size_t kFarthest = 128;
  auto* base = reinterpret_cast<char*>(glibc.user_list);
  for (size_t i = 0; i < kFarthest / sizeof(int); i++) {
    size_t offset = i == 0 ? kUsual : 2 * sizeof(List) + i * sizeof(int);
    auto* word = reinterpret_cast<std::atomic<uint32_t>*>(base + offset);
    int found = try_lock_word(word, holder, made);
    if (found < 0) return "cannot create threads";
    if (found) {
      glibc.list_lock = reinterpret_cast<std::atomic<int>*>(word);
      return nullptr;
    }
  }
  return "the lock of glibc's thread lists was not found";
}

// libc's TLS block, from the calling thread's vector: from the highest static block at or below errno to the next one,
// or, where it is the last one, some of the unused room behind it.
void find_libc_block(int32_t* low, int32_t* end) {
  auto* tp = static_cast<char*>(arch::thread_pointer());
  DtvEntry* dtv = dtv_of(tp);
  *low = INT32_MIN;
  *end = static_end();
  for (size_t i = 1; i <= dtv_length(dtv); i++) {
    auto* val = static_cast<char*>(dtv[i].val);
    if (!val || val == unallocated() || val < tp + static_begin() || val >= tp + static_end()) continue;
    int32_t offset = distance(val, tp);
    if (offset <= glibc.errno_at && offset > *low) *low = offset;
    if (offset > glibc.errno_at && offset < *end) *end = offset;
  }
  constexpr auto kMost = static_cast<int32_t>(kLibcWords * kWord);
  if (arch::kTlsAbove && *end - *low > kMost) *end = *low + kMost;
}

// ---- what the probes show ----

bool in_rseq(size_t w) {
  auto offset = static_cast<int64_t>(word_at(w));
  return glibc.rseq_size != 0 && offset >= glibc.rseq && offset < glibc.rseq + static_cast<int64_t>(glibc.rseq_size);
}

bool overlaps(size_t word, int32_t at, size_t size) {
  return at < word_at(word + 1) && word_at(word) < at + static_cast<int32_t>(size);
}

bool on_stack(uintptr_t v, const Probe* p) {
  auto base = reinterpret_cast<uintptr_t>(p->stack);
  return v >= base && v < base + p->size;
}

// The values of the first keys lie in struct pthread itself; the first pointer of the table points to them.
bool in_values(const Probe* a, size_t word) {
  return overlaps(word, static_cast<int32_t>(a->fresh[word_of(glibc.specific)] - a->tp), values_bytes);
}

// Explains each word of struct pthread by what it is in two probes. skip: bytes that renew() leaves alone.
const char* explain_struct(const Probe* a, const Probe* b, const Probe* c, bool* skip) {
  size_t bytes = glibc.struct_size;
  uintptr_t a_struct = a->tp + static_cast<uintptr_t>(glibc.struct_at);
  uintptr_t b_struct = b->tp + static_cast<uintptr_t>(glibc.struct_at);
  size_t stackblocks = 0;
  size_t stacksizes = 0;
  auto* image = reinterpret_cast<uintptr_t*>(glibc.image);
  for (size_t w = 0; w < bytes / kWord; w++) {
    uintptr_t va = a->fresh[w];
    uintptr_t vb = b->fresh[w];
    image[w] = 0;
    bool skip_word = false;
    bool ours = true;  // nobody but this thread and what it calls changes the word
    // The kernel writes the rseq area, and write_rseq() what new TCBs have in it.
    if (overlaps(w, glibc.dtv, sizeof(void*)) || overlaps(w, glibc.list, sizeof(List)) || in_rseq(w)) {
      skip_word = true;
      ours = false;
    } else if (in_values(a, w)) {
      // None in a new thread, but perhaps a malloc's.
      ours = false;
    } else if (overlaps(w, glibc.tid, sizeof(int))) {
      // The tid is half a word: the other half must be a constant.
      auto* image_bytes = glibc.image + w * kWord;
      for (size_t i = 0; i < kWord; i++) {
        size_t byte = w * kWord + i;
        auto from_tid = static_cast<size_t>(word_at(w) - glibc.tid) + i;
        if (from_tid < sizeof(int)) {
          skip[byte] = true;
        } else {
          image_bytes[i] = reinterpret_cast<const char*>(a->fresh)[byte];
          if (image_bytes[i] != reinterpret_cast<const char*>(b->fresh)[byte]) {
            return decline("byte %lu of struct pthread is unknown", byte);
          }
        }
      }
    } else if (va - a_struct < bytes && va - a_struct == vb - b_struct) {
      if (glibc.selves == kMaxSelfPointers) return "struct pthread points into itself too often";
      glibc.self[glibc.selves++] = {word_at(w), static_cast<int32_t>(va - a->tp)};
      skip_word = true;
    } else if (va == reinterpret_cast<uintptr_t>(a->stack) && vb == reinterpret_cast<uintptr_t>(b->stack)) {
      glibc.stackblock = word_at(w);
      stackblocks++;
      skip_word = true;
    } else if (va == a->size && vb == b->size) {
      glibc.stacksize = word_at(w);
      stacksizes++;
      skip_word = true;
    } else if (va == reinterpret_cast<uintptr_t>(&probe_main) || va == reinterpret_cast<uintptr_t>(a)) {
      if (vb != va && vb != reinterpret_cast<uintptr_t>(b)) return decline("word %lu of struct pthread is unknown", w);
    } else if (on_stack(va, a) && on_stack(vb, b)) {
      // The frame of glibc's start routine (cleanup_jmp_buf).
    } else if (va == vb) {
      image[w] = va;
    } else {
      return decline("word %lu of struct pthread differs by thread, and goshim does not know why", w);
    }
    if (c->fresh[w] == kProbeGuard && va == 0 && vb == 0) {
      if (glibc.guards == 2) return "struct pthread holds the guard size too often";
      glibc.guard[glibc.guards++] = word_at(w);
      skip_word = true;
    }
    if (ours && a->used[w] != a->keyed[w]) {
      if (va != 0 || glibc.nwarm == kMaxWarm) return decline("libc changes word %lu of struct pthread", w);
      glibc.warm[glibc.nwarm++] = word_at(w);
      skip_word = true;
    }
    for (size_t i = 0; skip_word && i < kWord; i++) skip[w * kWord + i] = true;
  }
  if (stackblocks != 1 || stacksizes != 1 || glibc.guards == 0)
    return "the stack fields of struct pthread were not found";
  const char* c_stack = reinterpret_cast<const char*>(c->fresh[word_of(glibc.stackblock)]);
  size_t c_size = c->fresh[word_of(glibc.stacksize)];
  auto* c_struct = reinterpret_cast<const char*>(c->tp) + glibc.struct_at;
  if (c_size < probe_size() || c_struct < c_stack || c_struct + bytes > c_stack + c_size)
    return "a thread is not inside its stack";
  return nullptr;
}

// Whether so many bytes at this distance from the thread pointer are the struct's, and not its first ones.
bool in_struct(uintptr_t at, size_t bytes) {
  uintptr_t offset = at - static_cast<uintptr_t>(glibc.struct_at);
  return offset != 0 && offset < glibc.struct_size && offset + bytes <= glibc.struct_size;
}

const char* explain_libc(const Probe* a) {
  int32_t low = a->libc_low;
  auto value = [&](const uintptr_t* words, int32_t offset) { return words[static_cast<size_t>(offset - low) / kWord]; };
  for (int32_t word : {glibc.resp, glibc.ctype_b, glibc.ctype_lower, glibc.ctype_upper}) {
    if (word < low || (word - low) % static_cast<int32_t>(kWord) != 0) return "libc's thread variables lie apart";
    if (static_cast<size_t>(word - low) / kWord >= a->libc_words) return "libc's thread variables lie apart";
  }
  uintptr_t target = value(a->libc_fresh, glibc.resp) - a->tp;
  if (!in_struct(target, sizeof(struct __res_state))) return "__resp points to an unknown place";
  glibc.resp_target = static_cast<int32_t>(target);
  glibc.global_locale = a->global_locale;
  if (!a->locale_word ||
      value(a->libc_fresh, glibc.ctype_b) != reinterpret_cast<uintptr_t>(a->global_locale->__ctype_b) ||
      value(a->libc_fresh, glibc.ctype_lower) != reinterpret_cast<uintptr_t>(a->global_locale->__ctype_tolower) ||
      value(a->libc_fresh, glibc.ctype_upper) != reinterpret_cast<uintptr_t>(a->global_locale->__ctype_toupper)) {
    return "the thread's locale was not found";
  }
  for (size_t i = 0; i < a->libc_words; i++) {
    if (a->libc_used[i] == a->libc_fresh[i]) continue;
    int32_t word = low + static_cast<int32_t>(i * kWord);
    if (glibc.nwarm == kMaxWarm) return "libc caches too much by thread";
    glibc.warm[glibc.nwarm++] = word;
  }
  return nullptr;
}

// A new thread's libc block must be the image, apart from what create() writes: else the thread's start does more than
// goshim knows of.
const char* check_image(const Probe* a) {
  uint64_t key;
  const Image* image = image_now(&key);
  if (!image) return "no memory";
  for (size_t i = 0; i < a->libc_words; i++) {
    int32_t word = a->libc_low + static_cast<int32_t>(i * kWord);
    if (word == glibc.resp || word == glibc.ctype_b || word == glibc.ctype_lower || word == glibc.ctype_upper) continue;
    if (a->libc_fresh[i] != at<uintptr_t>(image->tp, word))
      return decline("a new thread's libc variable at %d is unknown", word);
  }
  bool found = false;
  for (size_t i = 1; i <= image->modules; i++) found |= image->block[i] != 0 && image->block[i] == (a->libc_low & ~7);
  if (!found) return "libc's thread variables were not found";
  return nullptr;
}

// Where the kernel does not tell (emulators): an empty list, so its head points to itself, then what leads from an
// entry to the lock, then no operation under way.
void find_robust_list(Probe* a) {
  for (size_t w = 0; w + 2 < glibc.struct_size / kWord; w++) {
    uintptr_t here = a->tp + static_cast<uintptr_t>(word_at(w));
    auto to_lock = static_cast<intptr_t>(a->fresh[w + 1]);
    if (a->fresh[w] != here || to_lock >= 0 || to_lock < -static_cast<intptr_t>(sizeof(pthread_mutex_t))) continue;
    if (a->fresh[w + 2] != 0) continue;
    a->robust = here;
    a->robust_size = 3 * kWord;
  }
}

void list_segments(const bool* skip) {
  size_t from = 0;
  for (size_t byte = 0; byte <= glibc.struct_size; byte++) {
    if (byte < glibc.struct_size && !skip[byte]) continue;
    if (byte > from && glibc.nsegments < kMaxSegments) {
      glibc.segments[glibc.nsegments++] = {glibc.struct_at + static_cast<int32_t>(from),
                                           static_cast<uint32_t>(byte - from), glibc.image + from};
    }
    from = byte + 1;
  }
}

// ---- all of it ----

struct Work {
  Probe a, b, c;
  bool skip[kMaxPthread];
  uintptr_t words[];
};

// What holds the words of three probes.
size_t work_size() { return round_up(sizeof(Work) + 5 * glibc.struct_size + 2 * kLibcWords * kWord, kPage); }

void give_words(Work* w) {
  uintptr_t* next = w->words;
  for (uintptr_t** words : {&w->a.fresh, &w->a.keyed, &w->a.used, &w->b.fresh, &w->c.fresh}) {
    *words = next;
    next += glibc.struct_size / kWord;
  }
  w->a.libc_fresh = next;
  w->a.libc_used = next + kLibcWords;
}

const char* prepare(Work* w, char* stacks) {
  int32_t end;
  int32_t low;
  find_libc_block(&low, &end);
  if (low == INT32_MIN) return "libc's thread variables were not found";
  w->a.libc_low = (low + 7) & ~7;
  w->a.libc_words = static_cast<size_t>(end - w->a.libc_low) / kWord;
  if (w->a.libc_words > kLibcWords) return "libc has too many thread variables";
  w->a.full = true;
  // Sizes that no other word equals, and both stacks away from the ends of their mapping.
  w->a.stack = stacks;
  w->a.size = probe_size() + 3 * 1024 + 64;
  w->b.stack = stacks + 2 * probe_size() + 192;
  w->b.size = probe_size() + 5 * 1024 + 128;
  return f.key_create(&w->a.key, nullptr) == 0 ? nullptr : "no key for thread-specific values";
}

// The probes; the full one runs beside the others, which take no part in what it looks at.
const char* run_probes(Work* w) {
  const char* no = "cannot create threads";
  if (create_probe(&w->a) == 0) {
    no = find_list_lock(&w->b, &w->c);
    host.pthread_join(w->a.thread, nullptr);
  }
  f.key_delete(w->a.key);
  return no;
}

const char* explain(Work* w) {
  if (!w->a.listed) return "threads with stacks of their own are not on the list they should be on";
  if (const char* no = explain_struct(&w->a, &w->b, &w->c, w->skip)) return no;
  if (w->a.robust == 0) find_robust_list(&w->a);
  uintptr_t robust = w->a.robust - w->a.tp;
  if (!in_struct(robust, w->a.robust_size)) return "the robust list is in an unknown place";
  glibc.robust_head = static_cast<int32_t>(robust);
  glibc.robust_size = static_cast<uint32_t>(w->a.robust_size);
  // Its block is ours, and there after its end.
  constexpr int kHighest = 1 << 5;  // beyond it lies the bit of set*id()
  int ended = *reinterpret_cast<const int*>(w->a.tp + static_cast<uintptr_t>(glibc.cancel));
  glibc.ended = ended > 0 && ended < 2 * kHighest ? ended : 0;
  if (const char* no = explain_libc(&w->a)) return no;
  if (const char* no = check_image(&w->a)) return no;
  list_segments(w->skip);
  return nullptr;
}

}  // namespace

const char* learn() {
  if (const char* no = find_symbols()) return no;
  if (const char* no = look_at_self()) return no;
  size_t size = work_size() + 4 * probe_size() + 8 * kPage;
  auto* work = static_cast<Work*>(sys::map(size, PROT_READ | PROT_WRITE));
  if (!work) return "no memory";
  sys::call(SYS_madvise, work, work_size(), MADV_POPULATE_WRITE);  // cheaper at once, where the kernel can
  give_words(work);
  // The probes inherit the mask: no handler of the program may run on them.
  uint64_t all = ~0UL;
  uint64_t before = 0;
  sys::call(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
  const char* no = prepare(work, reinterpret_cast<char*>(work) + work_size());
  if (!no) no = run_probes(work);
  if (!no) no = explain(work);
  sys::call(SYS_rt_sigprocmask, SIG_SETMASK, &before, nullptr, sizeof before);
  sys::unmap(work, size);
  return no;
}

}  // namespace goshim::tcb
