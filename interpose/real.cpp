// Finds the functions behind the interposed ones by reading the loaded objects' own symbol tables: dlsym allocates,
// locks, and may call an interposed function before its pointer is there.
#include "interpose/real.h"

#include <elf.h>
#include <link.h>

#include <cstring>

#include "base/host.h"
#include "base/print.h"

namespace goshim {

Real real_table;

namespace {

// One loaded object's dynamic symbol table.
struct Object {
  uintptr_t base;
  const ElfW(Sym) * symbols;
  const char* strings;
  const ElfW(Half) * versions;
  const uint32_t* gnu_hash;
};

constexpr int kMaxObjects = 512;

struct Objects {
  Object all[kMaxObjects];
  int count;
  int self;  // index of libgoshim.so itself
};

bool read_object(const dl_phdr_info* info, Object* o) {
  const ElfW(Dyn)* dyn = nullptr;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
      dyn = reinterpret_cast<const ElfW(Dyn)*>(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
  }
  if (!dyn) return false;
  *o = {info->dlpi_addr, nullptr, nullptr, nullptr, nullptr};
  for (; dyn->d_tag != DT_NULL; dyn++) {
    // ld.so relocates these addresses in place, but not in objects whose dynamic section is read-only (the vDSO).
    uintptr_t at = dyn->d_un.d_ptr;
    if (at < o->base) at += o->base;
    switch (dyn->d_tag) {
      case DT_SYMTAB: o->symbols = reinterpret_cast<const ElfW(Sym)*>(at); break;
      case DT_STRTAB: o->strings = reinterpret_cast<const char*>(at); break;
      case DT_VERSYM: o->versions = reinterpret_cast<const ElfW(Half)*>(at); break;
      case DT_GNU_HASH: o->gnu_hash = reinterpret_cast<const uint32_t*>(at); break;
      default: break;
    }
  }
  return o->symbols && o->strings && o->gnu_hash;
}

int collect(dl_phdr_info* info, size_t, void* arg) {
  auto* objects = static_cast<Objects*>(arg);
  Object o;
  if (objects->count == kMaxObjects || !read_object(info, &o)) return 0;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr)& ph = info->dlpi_phdr[i];
    uintptr_t low = info->dlpi_addr + ph.p_vaddr;
    uintptr_t here = reinterpret_cast<uintptr_t>(&collect);
    if (ph.p_type == PT_LOAD && here >= low && here < low + ph.p_memsz) objects->self = objects->count;
  }
  objects->all[objects->count++] = o;
  return 0;
}

uint32_t hash_of(const char* name) {
  uint32_t h = 5381;
  for (; *name; name++) h = h * 33 + static_cast<unsigned char>(*name);
  return h;
}

// The default version of name in o ("name@@VERSION": the newest), or null.
void* lookup(const Object& o, const char* name, uint32_t hash) {
  uint32_t buckets = o.gnu_hash[0];
  uint32_t first = o.gnu_hash[1];
  uint32_t bloom_words = o.gnu_hash[2];
  const uint32_t* bucket = o.gnu_hash + 4 + bloom_words * (sizeof(ElfW(Addr)) / sizeof(uint32_t));
  const uint32_t* chain = bucket + buckets;
  if (buckets == 0) return nullptr;
  uint32_t i = bucket[hash % buckets];
  if (i < first) return nullptr;
  for (;; i++) {
    uint32_t h = chain[i - first];
    const ElfW(Sym)& s = o.symbols[i];
    bool hidden = o.versions && (o.versions[i] & 0x8000) != 0;
    if ((h | 1) == (hash | 1) && !hidden && s.st_shndx != SHN_UNDEF && std::strcmp(o.strings + s.st_name, name) == 0) {
      uintptr_t at = o.base + s.st_value;
      if (ELF64_ST_TYPE(s.st_info) == STT_TLS) return nullptr;
      if (ELF64_ST_TYPE(s.st_info) == STT_GNU_IFUNC) return reinterpret_cast<void* (*)()>(at)();
      return reinterpret_cast<void*>(at);
    }
    if (h & 1) return nullptr;
  }
}

Objects objects;

void* next_symbol(const char* name) {
  uint32_t hash = hash_of(name);
  for (int i = objects.self + 1; i < objects.count; i++) {
    if (void* at = lookup(objects.all[i], name, hash)) return at;
  }
  // When the program is linked with -lgoshim, libc may stand before us: then anything that is not ours.
  for (int i = 0; i < objects.self; i++) {
    if (void* at = lookup(objects.all[i], name, hash)) return at;
  }
  return nullptr;
}

void* find_any(const char* name) {
  uint32_t hash = hash_of(name);
  for (int i = 0; i < objects.count; i++) {
    if (i == objects.self) continue;
    if (void* at = lookup(objects.all[i], name, hash)) return at;
  }
  return nullptr;
}

}  // namespace

void resolve_real() {
  if (real_table.ready) return;
  objects.count = 0;
  ::dl_iterate_phdr(collect, &objects);
#define RESOLVE(slot, name) slot = reinterpret_cast<decltype(slot)>(next_symbol(#name));
#define INTERPOSE(name) RESOLVE(real_table.name, name)
#define INTERPOSE_AS(name, type) RESOLVE(real_table.name, name)
#define CALL_AS(name, type) INTERPOSE_AS(name, type)
#define OWN(name)
#define NATIVE(name, reason)
#include "interpose/tables.h"
#undef INTERPOSE
#undef INTERPOSE_AS
#undef CALL_AS
#undef OWN
#undef NATIVE
  RESOLVE(host.cleanup_push, _pthread_cleanup_push)
  RESOLVE(host.cleanup_pop, _pthread_cleanup_pop)
  RESOLVE(host.clock_gettime, clock_gettime)
  RESOLVE(host.errno_location, __errno_location)
  RESOLVE(host.pthread_create, pthread_create)
  RESOLVE(host.pthread_join, pthread_join)
  RESOLVE(host.pthread_attr_setstack, pthread_attr_setstack)
  RESOLVE(host.dl_iterate_phdr, dl_iterate_phdr)
  RESOLVE(host.exit, exit)
  RESOLVE(host.abort, abort)
  RESOLVE(host.pthread_getspecific, pthread_getspecific)
  RESOLVE(host.pthread_setspecific, pthread_setspecific)
  RESOLVE(host.pthread_testcancel, pthread_testcancel)
  RESOLVE(host.pthread_setcancelstate, pthread_setcancelstate)
  RESOLVE(host.pthread_setcanceltype, pthread_setcanceltype)
  RESOLVE(host.call_tls_dtors, __call_tls_dtors)
  RESOLVE(host.dlsym, dlsym)
#undef RESOLVE
  host.free = reinterpret_cast<void (*)(void*)>(find_any("free"));  // whoever's malloc it is
  host.find = find_any;
  if (auto* flag = static_cast<const char*>(next_symbol("__libc_single_threaded"))) host.single_threaded = flag;
  real_table.ready = true;
}

}  // namespace goshim
