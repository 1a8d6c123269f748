// Finds the command, and what all commands share.
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "launcher/launcher.h"

namespace launcher {
namespace {

// clang-format off
constexpr const Command* kCommands[] = {
    &kRun,
    &kCompare,
    &kStat,
    &kTop,
    &kOptions,
    &kDump,
    &kTrace,
};
// clang-format on

void print_commands(FILE* to) {
  fprintf(to, "usage: goshim COMMAND [OPTION]... [ARGUMENT]...\n\n");
  for (const Command* c : kCommands) fprintf(to, "  %-9s %s\n", c->name, c->summary);
  fprintf(to, "\ngoshim COMMAND --help tells more. goshim --version prints the version.\n");
}

void synopsis(FILE* to, const Command& command) {
  fprintf(to, "usage: goshim %s %s\n", command.name, command.arguments);
}

void complain_with(const char* text, va_list args) {
  fputs("goshim: ", stderr);
  vfprintf(stderr, text, args);
  fputc('\n', stderr);
}

}  // namespace

void complain(const char* text, ...) {
  va_list args;
  va_start(args, text);
  complain_with(text, args);
  va_end(args);
}

int usage_error(const Command& command, const char* text, ...) {
  va_list args;
  va_start(args, text);
  complain_with(text, args);
  va_end(args);
  synopsis(stderr, command);
  return kUsage;
}

int print_help(const Command& command, const char* options) {
  synopsis(stdout, command);
  printf("\n%s.\n", command.summary);
  if (*options) printf("\n%s", options);
  return 0;
}

std::string library_path() {
  char self[PATH_MAX];
  ssize_t n = readlink("/proc/self/exe", self, sizeof self);
  if (n <= 0 || n == sizeof self) return {};
  std::string folder(self, static_cast<size_t>(n));
  folder.resize(folder.rfind('/'));
  for (const char* place : {"/libgoshim.so", "/../lib/" GOSHIM_MULTIARCH "/libgoshim.so", "/../lib/libgoshim.so"}) {
    char real[PATH_MAX];
    if (realpath((folder + place).c_str(), real)) return real;
  }
  return {};
}

namespace {

int run(int argc, char** argv) {
  const char* name = argc > 1 ? argv[1] : "";
  if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
    print_commands(stdout);
    return 0;
  }
  if (strcmp(name, "--version") == 0) {
    printf("goshim %s\n", GOSHIM_VERSION);
    return 0;
  }
  for (const Command* c : kCommands) {
    if (strcmp(c->name, name) == 0) return c->run(argc - 1, argv + 1);
  }
  if (*name) complain("no such command: %s", name);
  print_commands(stderr);
  return kUsage;
}

}  // namespace
}  // namespace launcher

int main(int argc, char** argv) {
  int status = launcher::run(argc, argv);
  if (fflush(stdout) == 0 && !ferror(stdout)) return status;
  launcher::complain("standard output cannot be written");
  return status ? status : launcher::kFailed;
}
