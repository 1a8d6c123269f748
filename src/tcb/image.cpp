// What new threads have in their static TLS: pristine copies, from which retire() restores a dead G's block.
//
// ld.so's own _dl_allocate_tls_init would do it, but it wipes libc's block with malloc's caches in it, forgets dynamic
// blocks without freeing them, and takes a process-wide lock. A copy is taken once for each set of loaded modules, by
// letting ld.so set up a model block that no thread ever runs on. Its vector is our own: nothing is allocated from
// libc, because this happens on dying threads whose malloc may have put its per-thread state away already.
#include <string.h>
#include <sys/mman.h>

#include "base/lock.h"
#include "base/sys.h"
#include "sched/runtime.h"
#include "tcb/glibc.h"

namespace goshim::tcb {
namespace {

Lock lock;
// All images. Written under lock; read without: an image is complete before it is published (release) and constant
// then.
std::atomic<Image*> images{nullptr};
// The image in force and its key. Both written under lock, the key being 0 meanwhile; a reader that finds the same key
// before and after reading current has a pair that belongs together (acquire each, against seq_cst stores in the order
// 0, image, key). A key never comes back: generations only grow.
std::atomic<const Image*> current{nullptr};
std::atomic<uint64_t> current_key{0};
// So many entries of ld.so's table tell one state from another: those that were ever in use, and one more, since a new
// module gets the lowest free id. Only grows. Relaxed, as the reads of ld.so's table: what they make is compared again
// before it is used, under glibc's list lock where a block is initialised from it.
std::atomic<size_t> watched{SIZE_MAX};
std::atomic<uint64_t> first_key{0};  // of the modules at the start; written once

size_t pages_below() { return round_up(below(), kPage); }

// Where the static block that starts at offset low ends at the latest: at the next higher block, or with static TLS.
int32_t block_limit(const Image* image, int32_t low) {
  int32_t end = static_end();
  for (size_t i = 1; i <= image->modules; i++) {
    if (image->block[i] > low && image->block[i] < end) end = image->block[i];
  }
  return end;
}

bool contains(int32_t low, int32_t end, int32_t offset) { return low <= offset && offset < end; }

// Words of libc's block that a dead G keeps: its caches, and what begin() sets from the global locale.
bool libc_keeps(int32_t word) {
  for (size_t i = 0; i < glibc.nwarm; i++) {
    if (glibc.warm[i] == word) return true;
  }
  return word == glibc.resp || word == glibc.ctype_b || word == glibc.ctype_lower || word == glibc.ctype_upper;
}

void add(Image* image, int32_t low, int32_t end) {
  if (low >= end) return;
  if (image->nsegments > image->npermanent) {
    Segment& last = image->segments[image->nsegments - 1];
    if (last.offset + static_cast<int32_t>(last.size) == low) {
      last.size += static_cast<uint32_t>(end - low);
      return;
    }
    if (end == last.offset) {  // blocks of higher module ids lie lower
      last = {low, last.size + static_cast<uint32_t>(end - low), image->tp + low};
      return;
    }
  }
  image->segments[image->nsegments++] = {low, static_cast<uint32_t>(end - low), image->tp + low};
}

// What a dead G's static TLS gets back of module i: all but goshim_tls and what libc keeps.
void add_module(Image* image, size_t i, int32_t tls_at) {
  int32_t low = image->block[i];
  int32_t end = image->end[i];
  if (contains(low, end, tls_at)) {
    add(image, low, tls_at);
    low = tls_at + static_cast<int32_t>(sizeof(Tls));
  }
  if (contains(low, end, glibc.errno_at)) {
    for (int32_t word = (low + 7) & ~7; word < end; word += 8) {
      if (!libc_keeps(word)) continue;
      add(image, low, word);
      low = word + 8;
    }
  }
  add(image, low, end);
}

void list_segments(Image* image) {
  auto tls_at = static_cast<int32_t>(reinterpret_cast<char*>(&goshim_tls) - static_cast<char*>(arch::thread_pointer()));
  // Ids are given in the order of loading and libc was loaded at the start: whatever has a lower one stays. Some with a
  // higher one stay as well; taking them for passing ones costs time only.
  size_t libc = 0;
  for (size_t i = 1; i <= image->modules; i++) {
    if (image->block[i] && contains(image->block[i], image->end[i], glibc.errno_at)) libc = i;
  }
  for (size_t i = 1; i <= libc; i++) add_module(image, i, tls_at);
  image->npermanent = image->nsegments;
  for (size_t i = libc + 1; i <= image->modules; i++) add_module(image, i, tls_at);
  image->all_static = true;
  size_t id = 0;
  for (const SlotList* l = *glibc.slot_list; l; l = __atomic_load_n(&l->next, __ATOMIC_ACQUIRE)) {
    for (size_t i = 0; i < l->len; i++, id++) {
      bool used = __atomic_load_n(&l->slots[i].map, __ATOMIC_RELAXED) != nullptr;
      if (id == 0) continue;  // no module's
      if (used && (id > image->modules || image->block[id] == 0)) image->all_static = false;
    }
  }
}

bool same(const Image* a, const Image* b) {
  return a->modules == b->modules && memcmp(a->block, b->block, (a->modules + 1) * sizeof *a->block) == 0 &&
         memcmp(a->tp + static_begin(), b->tp + static_begin(), static_cast<size_t>(static_end() - static_begin())) ==
             0;
}

// One mapping: static TLS and struct pthread of the model, its vector, the Image, its table of blocks, its segments.
size_t mapping_size(size_t modules) {
  return pages_below() + round_up(round_up(above(), 64) + (modules + 2) * sizeof(DtvEntry) + sizeof(Image) +
                                      2 * (modules + 2) * sizeof(int32_t) + (modules + kMaxWarm + 8) * sizeof(Segment),
                                  kPage);
}

// Upper bound of the module ids, with room for some more.
size_t count_modules() {
  size_t n = 64;
  for (const SlotList* l = *glibc.slot_list; l; l = l->next) n += l->len;
  return n;
}

// The highest block ends before the room for modules to come, which must not be taken for a part of it: bytes that
// ld.so does not write belong to no block. A block's last byte may have the value that marks the others, but not two
// values. Where blocks lie below tp it is the lowest one that borders on the room.
[[maybe_unused]] void find_ends(Image* image) {
  char* tp = image->tp;
  int32_t* found = image->end;
  auto* tls = tp + static_begin();
  auto size = static_cast<size_t>(static_end() - static_begin());
  for (size_t i = 1; i <= image->modules; i++) found[i] = image->block[i];
  for (char mark : {0x5a, 0x25}) {
    memset(tls, mark, size);
    glibc.init_tls(tp, true);
    for (size_t i = 1; i <= image->modules; i++) {
      int32_t low = image->block[i];
      int32_t end = low ? block_limit(image, low) : 0;
      while (end > found[i] && tp[end - 1] == mark) end--;
      found[i] = end;
    }
  }
  memset(tls, 0, size);
  glibc.init_tls(tp, true);
}

// A model of the modules loaded now. Null when memory is exhausted.
Image* make() {
  size_t modules = count_modules();
  size_t size = mapping_size(modules);
  auto* mapping = static_cast<char*>(sys::map(size, PROT_READ | PROT_WRITE));
  if (!mapping) return nullptr;
  char* tp = mapping + pages_below();  // aligned: learn() accepts no static TLS that wants more than a page
  auto* dtv = reinterpret_cast<DtvEntry*>(tp + round_up(above(), 64)) + 1;
  auto* image = reinterpret_cast<Image*>(dtv + modules + 1);
  image->mapping = size;
  image->tp = tp;
  image->modules = modules;
  image->block = reinterpret_cast<int32_t*>(image + 1);
  image->end = image->block + modules + 1;
  image->segments = reinterpret_cast<Segment*>(round_up(reinterpret_cast<uintptr_t>(image->end + modules + 1), 8));
  at<DtvEntry*>(tp, glibc.dtv) = dtv;
  dtv[-1].val = reinterpret_cast<void*>(modules);
  // So long that ld.so does not ask malloc for a longer one, unless 64 modules come just now.
  glibc.init_tls(tp, true);
  for (size_t i = 1; i <= modules; i++) {
    auto* val = static_cast<char*>(dtv[i].val);
    bool is_static = dtv[i].val != unallocated() && val >= tp + static_begin() && val < tp + static_end();
    image->block[i] = is_static ? static_cast<int32_t>(val - tp) : 0;
  }
  if constexpr (arch::kTlsAbove) {
    find_ends(image);
  } else {
    for (size_t i = 1; i <= modules; i++) image->end[i] = image->block[i] ? block_limit(image, image->block[i]) : 0;
  }
  list_segments(image);
  return image;
}

}  // namespace

// After a change: entries that are in use now.
static void watch() {
  size_t used = 0;
  size_t at = 0;
  for (const SlotList* l = *glibc.slot_list; l; l = __atomic_load_n(&l->next, __ATOMIC_ACQUIRE)) {
    for (size_t i = 0; i < l->len; i++) {
      at++;
      if (__atomic_load_n(&l->slots[i].gen, __ATOMIC_RELAXED) || __atomic_load_n(&l->slots[i].map, __ATOMIC_RELAXED))
        used = at;
    }
  }
  size_t old = watched.load(std::memory_order_relaxed);
  while ((old == SIZE_MAX || old < used + 1) &&
         !watched.compare_exchange_weak(old, used + 1, std::memory_order_relaxed)) {
  }
}

uint64_t modules_key() {
  // Whatever changes an entry gives it a generation above all others, so the sum of the generations tells every state
  // from every other; the addresses tell them from an entry that is just being changed.
  uint64_t gens = 1;
  uint64_t maps = 0;
  size_t left = watched.load(std::memory_order_relaxed);
  // List elements are published with release order and never freed.
  for (const SlotList* l = *glibc.slot_list; l && left; l = __atomic_load_n(&l->next, __ATOMIC_ACQUIRE)) {
    size_t n = l->len < left ? l->len : left;
    left -= n;
    for (size_t i = 0; i < n; i++) {
      gens += __atomic_load_n(&l->slots[i].gen, __ATOMIC_RELAXED);
      maps += reinterpret_cast<uintptr_t>(__atomic_load_n(&l->slots[i].map, __ATOMIC_RELAXED));
    }
  }
  return (gens * 0x9e3779b97f4a7c15UL ^ maps) | 1;
}

const Image* image_now(uint64_t* key) {
  for (;;) {
    uint64_t now = modules_key();
    *key = now;
    if (current_key.load(std::memory_order_acquire) == now) {
      const Image* image = current.load(std::memory_order_acquire);
      if (current_key.load(std::memory_order_acquire) == now) return image;
    }
    watch();
    if (modules_key() != now) continue;
    Image* made = make();
    if (!made) return nullptr;
    Image* drop = made;
    {
      NoPreempt no_preempt;
      LockGuard guard(lock);
      if (modules_key() == now) {
        Image* found = images.load(std::memory_order_relaxed);
        while (found && !same(found, made)) found = found->next;
        if (!found) {
          made->next = images.load(std::memory_order_relaxed);
          images.store(made, std::memory_order_release);
          found = made;
          drop = nullptr;
        }
        uint64_t none = 0;
        first_key.compare_exchange_strong(none, now, std::memory_order_relaxed);
        current_key.store(0, std::memory_order_seq_cst);
        current.store(found, std::memory_order_seq_cst);
        current_key.store(now, std::memory_order_seq_cst);
      }
    }
    if (drop) sys::unmap(drop->tp - pages_below(), drop->mapping);
  }
}

bool all_static(const Image* image, uint64_t key) {
  return image->all_static && key == first_key.load(std::memory_order_relaxed);
}

const Image* image_latest() { return images.load(std::memory_order_acquire); }

void image_after_fork_child() { lock.reset(); }

}  // namespace goshim::tcb
