// goshim run: a program with the library preloaded, and its options given as options.
#include <ctype.h>
#include <getopt.h>
#include <stdlib.h>

#include <vector>

#include "base/options.h"
#include "launcher/launcher.h"
#include "launcher/preload.h"

namespace launcher {
namespace {

struct Row {
  const char* variable;
  bool is_switch;
  std::string name;  // of the option
  const char* help;
};

// One for each row of the library's table: GOSHIM_STACK_SIZE is --stack-size, GOSHIM itself --goshim.
std::vector<Row> rows() {
  std::vector<Row> all;
  auto add = [&all](const char* variable, bool is_switch, const char* help) {
    std::string name = variable;
    size_t prefix = name.find('_');
    if (prefix != std::string::npos) name.erase(0, prefix + 1);
    for (char& c : name) c = c == '_' ? '-' : static_cast<char>(tolower(static_cast<unsigned char>(c)));
    all.push_back({variable, is_switch, name, help});
  };
#define OPTION(kind, field, name, value, least, most, help) \
  add(name, std::is_same_v<goshim::Options::kind, bool>, help);
  GOSHIM_OPTIONS(OPTION)
#undef OPTION
  return all;
}

std::string help_text(const std::vector<Row>& all) {
  std::string text;
  for (const Row& row : all) {
    std::string left = "  --" + row.name + (row.is_switch ? "[=on|off]" : "=VALUE");
    left.resize(std::max(left.size() + 1, size_t{28}), ' ');
    text += left + row.help + "\n";
  }
  return text +
         "\nValues are those of the variables: goshim options tells more. The exit status is the program's own.\n";
}

int run(int argc, char** argv) {
  std::vector<Row> all = rows();
  std::vector<option> options;
  for (const Row& row : all)
    options.push_back({row.name.c_str(), row.is_switch ? optional_argument : required_argument, nullptr, 0});
  options.push_back({"help", no_argument, nullptr, 'h'});
  options.push_back({});
  int index;
  for (int c; (c = getopt_long(argc, argv, "+h", options.data(), &index)) != -1;) {
    if (c == 'h') return print_help(kRun, help_text(all).c_str());
    if (c != 0) return kUsage;
    const Row& row = all[static_cast<size_t>(index)];
    const char* value = optarg ? optarg : "on";
    char accepted[128];
    if (!goshim::options_accept(row.variable, value, accepted, sizeof accepted))
      return usage_error(kRun, "run: --%s: bad value \"%s\": accepted is %s", row.name.c_str(), value, accepted);
    setenv(row.variable, value, 1);
  }
  if (optind == argc) return usage_error(kRun, "run: which program?");
  Program program = inspect(argv[optind]);
  if (!preload_into(program, "run")) return kFailed;
  execute(program, argv + optind);
}

}  // namespace

const Command kRun = {"run", "[OPTION]... [--] PROGRAM [ARGUMENT]...", "Runs a program under goshim", run};

}  // namespace launcher
