// Starting a program under goshim: what the loader will make of it, and the environment it needs.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <functional>
#include <string>

namespace launcher {

struct Program {
  std::string path;      // to execute; empty if there is none
  int error = 0;         // then why: an errno
  std::string natively;  // why it will run natively; empty if the library can be preloaded into it
  bool preload = true;   // false: LD_PRELOAD is of no use to it, or harms it
};

// What `name` is, looked for as execvp(3) does. A script is what its interpreter is.
Program inspect(const std::string& name);

// Puts the library first in LD_PRELOAD in this process's environment, or takes it out; every other copy of it, too.
// False, with a complaint, if the library is missing or its path cannot stand in a list.
bool set_preload(bool on);
// Sets what the program needs, and says in the name of a command if that will run it natively. False, with a complaint,
// as above.
bool preload_into(const Program& program, const char* command);

// Replaces this process by the program, and says why if that fails. argv ends with null.
[[noreturn]] void execute(const Program& program, char** argv);

// Starts the program as a child, which calls prepare() before; -1 with errno. SIGINT, SIGQUIT, SIGTERM and SIGHUP no
// longer end this process: they are for the child, and passed_on() is the last of them, or 0.
pid_t start(const Program& program, char** argv, const std::function<bool()>& prepare);
int passed_on();
// Its end: the status of wait(2), and what it used.
int wait_for(pid_t child, rusage* used);

// Exit statuses as the shell's.
constexpr int kCannotExecute = 126;
constexpr int kNotFound = 127;

}  // namespace launcher
