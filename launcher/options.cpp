// goshim options: the table of environment variables that the library reads.
#include "base/options.h"

#include <getopt.h>

#include "launcher/launcher.h"

namespace launcher {
namespace {

int run(int argc, char** argv) {
  constexpr option kLong[] = {{"help", no_argument, nullptr, 'h'}, {}};
  for (int c; (c = getopt_long(argc, argv, "h", kLong, nullptr)) != -1;) {
    return c == 'h' ? print_help(kOptions, "") : kUsage;
  }
  if (optind != argc) return usage_error(kOptions, "options: no arguments are taken");
  goshim::options_help(1);
  return 0;
}

}  // namespace

const Command kOptions = {"options", "", "Lists the options of the library: name, meaning, range, default", run};

}  // namespace launcher
