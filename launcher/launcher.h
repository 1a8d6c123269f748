// The launcher: one program, `goshim`, with a command a file. It is an ordinary C++ program; of the library it uses the
// table of options and the layouts of what it looks at in other processes.
#pragma once

#include <string>
#include <vector>

namespace launcher {

struct Command {
  const char* name;
  const char* arguments;  // as in the synopsis
  const char* summary;    // one line
  // argv[0] is the command's name, for getopt_long. Returns the exit status of the launcher.
  int (*run)(int argc, char** argv);
};

// One a file of this folder; listed in main.cpp.
extern const Command kCompare;
extern const Command kOptions;
extern const Command kDump;
extern const Command kRun;
extern const Command kStat;
extern const Command kTop;
extern const Command kTrace;

// Exit statuses of the launcher's own; a program that it runs passes its own on.
constexpr int kFailed = 1;
constexpr int kUsage = 2;

// "goshim: ..." on stderr, as printf.
void complain(const char* text, ...) __attribute__((format(printf, 1, 2)));
// The same, and how the command is called; returns kUsage.
int usage_error(const Command& command, const char* text, ...) __attribute__((format(printf, 2, 3)));
// The command's synopsis and, below, its options, as the author wrote them; returns 0.
int print_help(const Command& command, const char* options);

// The library that belongs to this launcher: beside it (build tree), or in ../lib and its multiarch folder (installed).
// Empty if there is none.
std::string library_path();

}  // namespace launcher
