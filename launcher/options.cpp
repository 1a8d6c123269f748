// goshim options: the table of environment variables that the library reads.
#include "base/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "launcher/launcher.h"

namespace launcher {
namespace {

int run(int argc, char** argv) {
  constexpr option kLong[] = {{"help", no_argument, nullptr, 'h'}, {}};
  for (int c; (c = getopt_long(argc, argv, "h", kLong, nullptr)) != -1;) {
    return c == 'h' ? print_help(kOptions, "") : kUsage;
  }
  if (optind != argc) return usage_error(kOptions, "options: no arguments are taken");
  // By way of a file: the library's function does not tell of errors.
  int fd = memfd_create("options", MFD_CLOEXEC);
  if (fd < 0) {
    complain("options: %s", strerror(errno));
    return kFailed;
  }
  goshim::options_help(fd);
  char text[4096];
  off_t at = 0;
  for (ssize_t n; (n = pread(fd, text, sizeof text, at)) > 0; at += n) fwrite(text, 1, static_cast<size_t>(n), stdout);
  close(fd);
  return 0;
}

}  // namespace

const Command kOptions = {"options", "", "Lists the options of the library: name, meaning, range, default", run};

}  // namespace launcher
