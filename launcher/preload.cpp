// What the loader makes of a program (see preload.h).
#include "launcher/preload.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <vector>

#include "launcher/launcher.h"

namespace launcher {
namespace {

constexpr int kMostScripts = 5;  // interpreters that are scripts, as in the kernel
constexpr size_t kHead = 256;    // of a script that the kernel reads

std::string base_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

bool executable_file(const std::string& path) {
  struct stat st;
  if (stat(path.c_str(), &st) != 0) return false;
  if (!S_ISREG(st.st_mode) || access(path.c_str(), X_OK) != 0) {
    errno = EACCES;
    return false;
  }
  return true;
}

// As execvp: the first in PATH that can be executed.
std::string find(const std::string& name, int* error) {
  *error = ENOENT;
  if (name.empty()) return {};
  if (name.find('/') != std::string::npos) {
    if (executable_file(name)) return name;
    *error = errno;
    return {};
  }
  const char* value = getenv("PATH");
  std::string path = value ? value : "/bin:/usr/bin";
  for (size_t at = 0; at <= path.size();) {
    size_t end = std::min(path.find(':', at), path.size());
    std::string folder = path.substr(at, end - at);
    std::string candidate = folder.empty() ? name : folder + "/" + name;
    if (executable_file(candidate)) return candidate;
    if (errno == EACCES) *error = EACCES;
    at = end + 1;
  }
  return {};
}

class File {
 public:
  explicit File(const std::string& path) : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  bool is_open() const { return fd_ >= 0; }
  // What there is of n bytes at offset.
  std::string read(uint64_t offset, size_t n) const {
    std::string text(n, 0);
    ssize_t r = pread(fd_, text.data(), n, static_cast<off_t>(offset));
    text.resize(r > 0 ? static_cast<size_t>(r) : 0);
    return text;
  }

 private:
  int fd_;
};

// What of the ELF header matters.
struct Elf {
  bool is = false;
  bool same = false;  // class, byte order and machine as the launcher's
  int bits = 0;
  std::string interpreter;  // empty: static
  bool go = false;
};

bool has_go_note(const std::string& notes) {
  for (size_t at = 0; at + sizeof(Elf64_Nhdr) <= notes.size();) {
    Elf64_Nhdr n;
    memcpy(&n, notes.data() + at, sizeof n);
    if (n.n_namesz >= 3 && notes.compare(at + sizeof n, 3, "Go\0", 3) == 0) return true;
    auto up = [](uint64_t x) { return (x + 3) & ~UINT64_C(3); };
    at += sizeof n + up(n.n_namesz) + up(n.n_descsz);
  }
  return false;
}

Elf read_elf(const File& file) {
  constexpr size_t kMost = 1 << 16;  // of a note or an interpreter's name that is believed
  Elf elf;
  std::string head = file.read(0, sizeof(Elf64_Ehdr));
  if (head.size() < EI_NIDENT || memcmp(head.data(), ELFMAG, SELFMAG) != 0) return elf;
  elf.is = true;
  elf.bits = head[EI_CLASS] == ELFCLASS32 ? 32 : 64;
  Elf64_Ehdr own;
  std::string own_head = File("/proc/self/exe").read(0, sizeof own);
  if (own_head.size() < sizeof own || head.size() < sizeof own) return elf;
  memcpy(&own, own_head.data(), sizeof own);
  Elf64_Ehdr h;
  memcpy(&h, head.data(), sizeof h);
  elf.same = h.e_ident[EI_CLASS] == own.e_ident[EI_CLASS] && h.e_ident[EI_DATA] == own.e_ident[EI_DATA] &&
             h.e_machine == own.e_machine;
  if (!elf.same || h.e_phentsize != sizeof(Elf64_Phdr)) return elf;
  std::string table = file.read(h.e_phoff, size_t{h.e_phnum} * sizeof(Elf64_Phdr));
  for (size_t at = 0; at + sizeof(Elf64_Phdr) <= table.size(); at += sizeof(Elf64_Phdr)) {
    Elf64_Phdr ph;
    memcpy(&ph, table.data() + at, sizeof ph);
    size_t size = std::min<uint64_t>(ph.p_filesz, kMost);
    if (ph.p_type == PT_INTERP) elf.interpreter = file.read(ph.p_offset, size).c_str();
    if (ph.p_type == PT_NOTE && has_go_note(file.read(ph.p_offset, size))) elf.go = true;
  }
  return elf;
}

// Whether the kernel will give the program privileges that its user lacks: the loader then preloads nothing.
const char* privileges(const std::string& path) {
  struct stat st;
  struct statvfs fs;
  if (stat(path.c_str(), &st) != 0 || (statvfs(path.c_str(), &fs) == 0 && (fs.f_flag & ST_NOSUID))) return nullptr;
  if ((st.st_mode & S_ISUID) && st.st_uid != getuid()) return "it is set-user-ID";
  if ((st.st_mode & S_ISGID) && (st.st_mode & S_IXGRP) && st.st_gid != getgid()) return "it is set-group-ID";
  if (getuid() != 0 && getxattr(path.c_str(), "security.capability", nullptr, 0) > 0) return "it has file capabilities";
  return nullptr;
}

// The words of "#! interpreter argument": at most two.
std::vector<std::string> script_words(const std::string& head) {
  std::string line = head.substr(2, head.find('\n') - 2);
  std::vector<std::string> words;
  size_t at = line.find_first_not_of(" \t");
  if (at == std::string::npos) return words;
  size_t end = std::min(line.find_first_of(" \t", at), line.size());
  words.push_back(line.substr(at, end - at));
  at = line.find_first_not_of(" \t", end);
  if (at != std::string::npos) words.push_back(line.substr(at, line.find_last_not_of(" \t") + 1 - at));
  return words;
}

// What `env` will run: the first word that is neither an option nor an assignment.
std::string env_command(const std::string& argument) {
  for (size_t at = 0; (at = argument.find_first_not_of(" \t", at)) != std::string::npos;) {
    size_t end = std::min(argument.find_first_of(" \t", at), argument.size());
    std::string word = argument.substr(at, end - at);
    if (word[0] != '-' && word.find('=') == std::string::npos) return word;
    at = end;
  }
  return {};
}

// Fills in what is to be said of the file at path, which is executable.
void judge(const std::string& path, int scripts, Program* program) {
  auto native = [program, &path](const std::string& why, bool preload) {
    program->natively = path + ": " + why;
    program->preload = preload;
  };
  if (const char* why = privileges(path))
    return native(std::string(why) + ": the loader preloads nothing into it", false);
  File file(path);
  if (!file.is_open()) return;  // it may be executed though not be read
  std::string head = file.read(0, kHead);
  if (head.compare(0, 2, "#!") == 0) {
    std::vector<std::string> words = script_words(head);
    if (words.empty() || scripts == kMostScripts) return;
    if (!executable_file(words[0])) {
      program->error = errno;
      program->natively = path + ": its interpreter " + words[0] + " cannot be executed";
      return;
    }
    int error;
    std::string command = base_name(words[0]) == "env" && words.size() > 1 ? env_command(words[1]) : "";
    if (!command.empty()) command = find(command, &error);
    judge(command.empty() ? words[0] : command, scripts + 1, program);
    return;
  }
  Elf elf = read_elf(file);
  if (!elf.is) return;  // a shell script without a first line, or nothing: the kernel will say
  if (elf.bits == 32) return native("it is a 32-bit program", false);
  if (!elf.same) return native("it is for another kind of processor", false);
  if (elf.interpreter.empty()) return native("it is statically linked: there is no loader to preload anything", false);
  std::string loader = base_name(elf.interpreter);
  if (loader.compare(0, 7, "ld-musl") == 0) return native("it uses the C library musl, not glibc", false);
  if (loader.compare(0, 8, "ld-linux") != 0)
    return native("its loader, " + elf.interpreter + ", is not glibc's", false);
  if (elf.go) return native("it is a Go program, which has a scheduler of its own", true);
}

}  // namespace

Program inspect(const std::string& name) {
  Program program;
  program.path = find(name, &program.error);
  if (program.path.empty()) return program;
  program.error = 0;
  judge(program.path, 0, &program);
  return program;
}

bool set_preload(bool on) {
  std::string library = library_path();
  const char* value = getenv("LD_PRELOAD");
  std::string list;  // what else is there, in order
  for (std::string rest = value ? value : ""; !rest.empty();) {
    size_t end = std::min(rest.find_first_of(": "), rest.size());
    std::string one = rest.substr(0, end);
    rest.erase(0, end + 1);
    if (one.empty() || base_name(one) == "libgoshim.so") continue;
    list += (list.empty() ? "" : ":") + one;
  }
  if (on) {
    if (library.empty()) {
      complain("libgoshim.so is neither beside the launcher nor where it is installed");
      return false;
    }
    if (library.find_first_of(": ") != std::string::npos) {
      complain("%s: a path with a space or a colon cannot be preloaded", library.c_str());
      return false;
    }
    list = list.empty() ? library : library + ":" + list;
  }
  if (list.empty()) unsetenv("LD_PRELOAD");
  else setenv("LD_PRELOAD", list.c_str(), 1);
  return true;
}

bool preload_into(const Program& program, const char* command) {
  if (!program.natively.empty())
    complain("%s: %s%s", command, program.natively.c_str(), program.error ? "" : "; running natively");
  return program.error != 0 || set_preload(program.preload) || !program.preload;
}

[[noreturn]] void execute(const Program& program, char** argv) {
  if (!program.path.empty() && program.error == 0) {
    execv(program.path.c_str(), argv);
    if (errno == ENOEXEC) {
      // As execvp: a shell script without a first line.
      std::vector<char*> words{const_cast<char*>("sh"), const_cast<char*>(program.path.c_str())};
      for (char** a = argv + 1; *a; a++) words.push_back(*a);
      words.push_back(nullptr);
      File file(program.path);
      if (!read_elf(file).is) execv("/bin/sh", words.data());
      errno = ENOEXEC;
    }
  }
  int error = program.error ? program.error : errno;
  complain("%s: %s", argv[0], error == ENOENT && program.path.empty() ? "not found" : strerror(error));
  _exit(error == ENOENT ? kNotFound : kCannotExecute);
}

namespace {

constexpr int kPassedOn[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP};

volatile pid_t started;
volatile sig_atomic_t last_signal;

// What the terminal sends, the program gets by itself.
void pass_on(int signal, siginfo_t* info, void*) {
  last_signal = signal;
  if (info->si_code != SI_KERNEL && started) kill(started, signal);
}

}  // namespace

pid_t start(const Program& program, char** argv, const std::function<bool()>& prepare) {
  sigset_t passed_on, before;
  sigemptyset(&passed_on);
  for (int signal : kPassedOn) sigaddset(&passed_on, signal);
  // Until it is known to whom they are passed on.
  sigprocmask(SIG_BLOCK, &passed_on, &before);
  fflush(nullptr);
  pid_t child = fork();
  if (child == 0) {
    struct sigaction action {};
    for (int signal : kPassedOn) {
      // Those of an earlier program; what is ignored stays so.
      if (sigaction(signal, nullptr, &action) == 0 && (action.sa_flags & SA_SIGINFO)) ::signal(signal, SIG_DFL);
    }
    sigprocmask(SIG_SETMASK, &before, nullptr);
    if (!prepare()) _exit(kCannotExecute);
    execute(program, argv);
  }
  if (child > 0) {
    started = child;
    struct sigaction action {};
    action.sa_sigaction = pass_on;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    for (int signal : kPassedOn) {
      struct sigaction now {};
      sigaction(signal, nullptr, &now);
      if ((now.sa_flags & SA_SIGINFO) || now.sa_handler != SIG_IGN) sigaction(signal, &action, nullptr);
    }
  }
  sigprocmask(SIG_SETMASK, &before, nullptr);
  return child;
}

int wait_for(pid_t child, rusage* used) {
  siginfo_t info;
  while (waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
  }
  started = 0;  // before its number may come to another process
  int status = 0;
  wait4(child, &status, 0, used);
  return status;
}

int passed_on() { return last_signal; }

}  // namespace launcher
