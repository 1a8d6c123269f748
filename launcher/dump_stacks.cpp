// Unwinding and naming by libdw (see dump_stacks.h). A G stands for a thread of the process: its registers come from
// the snapshot, and so do the stacks that unwinding reads.
#include "launcher/dump_stacks.h"

#include <cxxabi.h>
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <memory>

namespace launcher {

namespace {

constexpr size_t kMostFrames = 200;
constexpr pid_t kOnlyThread = 1;

const char* base_name(const char* path) {
  const char* slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

struct Free {
  void operator()(void* p) const { free(p); }
};

std::string demangled(const char* name) {
  if (strncmp(name, "_Z", 2) != 0) return name;  // one of C; "a" would be a type
  int status;
  std::unique_ptr<char, Free> plain(abi::__cxa_demangle(name, nullptr, nullptr, &status));
  return plain ? plain.get() : name;
}

std::string hex(Address x) {
  char text[32];
  snprintf(text, sizeof text, "0x%lx", x);
  return text;
}

// symbol: the linker's name for it, or null. Local functions have that alone.
std::string function_name(Dwarf_Die* die, const char* symbol) {
  Dwarf_Attribute memory;
  for (unsigned name : {DW_AT_linkage_name, DW_AT_MIPS_linkage_name}) {
    if (const char* mangled = dwarf_formstring(dwarf_attr_integrate(die, name, &memory))) return demangled(mangled);
  }
  if (symbol && strncmp(symbol, "_Z", 2) == 0) return demangled(symbol);
  const char* plain = dwarf_diename(die);
  return plain ? plain : "?";
}

// As the compiler was given it: without the folder it ran in.
std::string file_name(Dwarf_Die* unit, const char* path) {
  Dwarf_Attribute memory;
  const char* folder = dwarf_formstring(dwarf_attr(unit, DW_AT_comp_dir, &memory));
  size_t length = folder ? strlen(folder) : 0;
  if (length && strncmp(path, folder, length) == 0 && path[length] == '/') path += length + 1;
  while (strncmp(path, "./", 2) == 0) path += 2;
  return path;
}

std::string at(const std::string& file, long line) { return " at " + file + ":" + std::to_string(line); }

}  // namespace

struct Callbacks {
  static Stacks* stacks(void* arg) { return static_cast<Stacks*>(arg); }
  static Stacks* opening;
  static int find_elf(Dwfl_Module* module, void** user, const char* name, Dwarf_Addr base, char** file, Elf** elf) {
    int fd = opening->open_file(base, name);
    if (fd < 0) return dwfl_linux_proc_find_elf(module, user, name, base, file, elf);  // the vDSO
    *file = strdup(name);
    return fd;
  }
  static pid_t next_thread(Dwfl*, void* arg, void** thread) {
    if (*thread) return 0;
    *thread = arg;
    return kOnlyThread;
  }
  static bool get_thread(Dwfl*, pid_t, void* arg, void** thread) {
    *thread = arg;
    return true;
  }
  static bool memory_read(Dwfl*, Dwarf_Addr from, Dwarf_Word* word, void* arg) {
    return stacks(arg)->memory_->read(from, word, sizeof *word);
  }
  static bool set_initial_registers(Dwfl_Thread* thread, void* arg) {
    const Registers& r = stacks(arg)->thread_->registers;
    for (int i = 0; i < Registers::kCount; i++) {
      if ((r.known >> i & 1) != 0 && !dwfl_thread_state_registers(thread, i, 1, &r.value[i])) return false;
    }
    if (goshim::arch::kDwarfPc < 0) dwfl_thread_state_register_pc(thread, r.pc);
    return true;
  }
};

Stacks* Callbacks::opening;

Stacks::~Stacks() {
  if (dwfl_) dwfl_end(dwfl_);
}

std::string Stacks::open(pid_t pid) {
  static char* no_path = nullptr;
  static const Dwfl_Callbacks kFiles = {
      .find_elf = Callbacks::find_elf,
      .find_debuginfo = dwfl_standard_find_debuginfo,
      .section_address = nullptr,
      .debuginfo_path = &no_path,
  };
  pid_ = pid;
  Callbacks::opening = this;
  std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
  for (std::string line; std::getline(maps, line);) {
    Mapped m{};
    if (sscanf(line.c_str(), "%lx-%lx %*s %*x %*x:%*x %lu", &m.start, &m.end, &m.inode) != 3) continue;
    if (m.inode != 0) mapped_[m.start] = m;
  }
  dwfl_ = dwfl_begin(&kFiles);
  if (!dwfl_) return dwfl_errmsg(-1);
  int error = dwfl_linux_proc_report(dwfl_, pid);
  if (error == ENOENT) return "no process " + std::to_string(pid);
  if (error != 0) return "process " + std::to_string(pid) + ": " + (error > 0 ? strerror(error) : dwfl_errmsg(error));
  dwfl_report_end(dwfl_, nullptr, nullptr);
  dwfl_getmodules(
      dwfl_,
      [](Dwfl_Module* module, void**, const char* name, Dwarf_Addr, void* arg) -> int {
        if (strncmp(base_name(name), "libgoshim", 9) != 0) return DWARF_CB_OK;
        static_cast<Stacks*>(arg)->library_ = module;
        return DWARF_CB_ABORT;
      },
      this, 0);
  return {};
}

// The file that is mapped there, whatever its path names by now and in this namespace of mounts: an open descriptor, or
// -1.
int Stacks::open_file(Address start, const char* name) {
  auto at = mapped_.find(start);
  if (at == mapped_.end()) return -1;
  const Mapped& m = at->second;
  std::string process = "/proc/" + std::to_string(pid_);
  char range[64];
  snprintf(range, sizeof range, "/map_files/%lx-%lx", m.start, m.end);
  for (const std::string& path : {process + range, process + "/root" + name, process + "/exe", std::string(name)}) {
    int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    struct stat st {};
    if (fstat(fd, &st) == 0 && st.st_ino == m.inode && S_ISREG(st.st_mode)) return fd;
    ::close(fd);
  }
  return -1;
}

Address Stacks::library_symbol(const char* name) {
  if (!library_) return 0;
  int n = dwfl_module_getsymtab(library_);
  for (int i = 0; i < n; i++) {
    GElf_Sym symbol;
    GElf_Addr value;
    const char* found = dwfl_module_getsym_info(library_, i, &symbol, &value, nullptr, nullptr, nullptr);
    if (found && strcmp(found, name) == 0) return value;
  }
  return 0;
}

std::vector<Address> Stacks::unwind(Snapshot* snapshot, const Thread& t) {
  static const Dwfl_Thread_Callbacks kThread = {
      .next_thread = Callbacks::next_thread,
      .get_thread = Callbacks::get_thread,
      .memory_read = Callbacks::memory_read,
      .set_initial_registers = Callbacks::set_initial_registers,
      .detach = nullptr,
      .thread_detach = nullptr,
  };
  std::vector<Address> pcs;
  if (!t.has_stack) return pcs;
  memory_ = &snapshot->memory;
  thread_ = &t;
  if (!attached_) attached_ = dwfl_attach_state(dwfl_, nullptr, snapshot->pid, &kThread, this);
  if (!attached_) return pcs;
  dwfl_getthread_frames(
      dwfl_, kOnlyThread,
      [](Dwfl_Frame* frame, void* arg) -> int {
        auto* out = static_cast<std::vector<Address>*>(arg);
        Dwarf_Addr pc;
        bool exact;
        if (!dwfl_frame_pc(frame, &pc, &exact)) return DWARF_CB_ABORT;
        out->push_back(exact ? pc : pc - 1);
        return out->size() < kMostFrames ? DWARF_CB_OK : DWARF_CB_ABORT;
      },
      &pcs);
  return pcs;
}

Place Stacks::find(Address pc) {
  Place place;
  Dwfl_Module* module = dwfl_addrmodule(dwfl_, pc);
  if (!module) {
    place.push_back(hex(pc));
    return place;
  }
  Dwarf_Addr start;
  const char* file = dwfl_module_info(module, nullptr, &start, nullptr, nullptr, nullptr, nullptr, nullptr);
  std::string in_module = std::string(file ? base_name(file) : "?") + "+" + hex(pc - start);

  GElf_Off offset;
  GElf_Sym symbol;
  const char* name = dwfl_module_addrinfo(module, pc, &offset, &symbol, nullptr, nullptr, nullptr);

  Dwarf_Addr bias;
  Dwarf_Die* unit = dwfl_module_addrdie(module, pc, &bias);
  std::string where;
  if (Dwarf_Line* line = unit ? dwarf_getsrc_die(unit, pc - bias) : nullptr) {
    int number = 0;
    dwarf_lineno(line, &number);
    if (const char* path = dwarf_linesrc(line, nullptr, nullptr)) where = at(file_name(unit, path), number);
  }
  Dwarf_Die* scopes = nullptr;
  int n = unit ? dwarf_getscopes(unit, pc - bias, &scopes) : 0;
  std::unique_ptr<Dwarf_Die, Free> innermost(scopes);
  // The scopes that enclose the innermost one where the code is, not where it was written.
  if (n > 0) n = dwarf_getscopes_die(innermost.get(), &scopes);
  std::unique_ptr<Dwarf_Die, Free> enclosing(n > 0 ? scopes : nullptr);
  std::string call = where;
  for (int i = 0; i < n; i++) {
    Dwarf_Die* die = &scopes[i];
    int tag = dwarf_tag(die);
    if (tag != DW_TAG_inlined_subroutine && tag != DW_TAG_subprogram) continue;
    place.push_back((tag == DW_TAG_subprogram ? function_name(die, name) : function_name(die, nullptr)) + call);
    if (tag == DW_TAG_subprogram) return place;
    Dwarf_Attribute memory;
    Dwarf_Word call_file = 0, call_line = 0;
    dwarf_formudata(dwarf_attr(die, DW_AT_call_file, &memory), &call_file);
    dwarf_formudata(dwarf_attr(die, DW_AT_call_line, &memory), &call_line);
    Dwarf_Files* files;
    size_t count;
    const char* path = nullptr;
    if (dwarf_getsrcfiles(unit, &files, &count) == 0) path = dwarf_filesrc(files, call_file, nullptr, nullptr);
    call = path ? at(file_name(unit, path), static_cast<long>(call_line)) : "";
  }
  place.clear();
  if (!name) place.push_back(in_module);
  else place.push_back(demangled(name) + (where.empty() ? " in " + in_module : where));
  return place;
}

const Place& Stacks::place(Address pc) {
  auto found = places_.find(pc);
  if (found == places_.end()) found = places_.emplace(pc, find(pc)).first;
  return found->second;
}

bool Stacks::runtime(Address pc) { return library_ && dwfl_addrmodule(dwfl_, pc) == library_; }

bool Stacks::interruption(Address pc) {
  if (!runtime(pc)) return false;
  GElf_Off offset;
  GElf_Sym symbol;
  const char* name = dwfl_module_addrinfo(library_, pc, &offset, &symbol, nullptr, nullptr, nullptr);
  return name && strcmp(name, "goshim_inject_entry") == 0;
}

std::string Stacks::datum(Address at) {
  Dwfl_Module* module = dwfl_addrmodule(dwfl_, at);
  if (!module) return {};
  GElf_Off offset;
  GElf_Sym symbol;
  const char* name = dwfl_module_addrinfo(module, at, &offset, &symbol, nullptr, nullptr, nullptr);
  if (!name || GELF_ST_TYPE(symbol.st_info) != STT_OBJECT || offset >= symbol.st_size) return {};
  return demangled(name) + (offset ? "+" + std::to_string(offset) : "");
}

}  // namespace launcher
