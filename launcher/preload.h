// Starting a program under goshim: what the loader will make of it, and the environment it needs.
#pragma once

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

// Prepends the library to LD_PRELOAD in this process's environment, or takes it out. False, with a complaint, if the
// library is missing or its path cannot stand in a list.
bool set_preload(bool on);

// Replaces this process by the program, and says why if that fails. argv ends with null.
[[noreturn]] void execute(const Program& program, char** argv);

// Exit statuses as the shell's.
constexpr int kCannotExecute = 126;
constexpr int kNotFound = 127;

}  // namespace launcher
