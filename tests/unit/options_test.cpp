// sanitize: address
// Options: what is accepted, and the one line for what is not.
#include "base/options.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

namespace goshim {
namespace {

// What body writes to the descriptor fd.
template <typename Body>
std::string written_to(int fd, Body body) {
  int file = memfd_create("written", 0);
  int kept = dup(fd);
  dup2(file, fd);
  body();
  dup2(kept, fd);
  close(kept);
  std::string text(static_cast<size_t>(lseek(file, 0, SEEK_END)), 0);
  EXPECT_EQ(pread(file, text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  close(file);
  return text;
}

struct Parsed {
  Options options;
  int lines;
  std::string text;
};

Parsed parse(std::vector<std::string> environment) {
  std::vector<char*> envp;
  for (std::string& s : environment) envp.push_back(s.data());
  envp.push_back(nullptr);
  Parsed p;
  p.text = written_to(2, [&] { p.lines = options_parse(envp.data(), &p.options); });
  EXPECT_EQ(std::count(p.text.begin(), p.text.end(), '\n'), p.lines) << p.text;
  return p;
}

bool operator==(const Options& a, const Options& b) {
#define OPTION(kind, field, name, value, least, most, help) \
  if (a.field != b.field) return false;
  GOSHIM_OPTIONS(OPTION)
#undef OPTION
  return true;
}

TEST(Options, AreTheDefaultsWhenTheEnvironmentIsSilent) {
  Parsed p = parse({"HOME=/", "PATH=/bin", "GOSHIMMER=1"});
  EXPECT_EQ(p.lines, 0);
  EXPECT_TRUE(p.options == Options());
  EXPECT_TRUE(p.options.enabled);
  EXPECT_TRUE(p.options.preempt);
  EXPECT_EQ(p.options.preempt_signal, 32);
  EXPECT_EQ(p.options.max_procs, 0);
  EXPECT_FALSE(p.options.stats);
}

TEST(Options, TakeEveryKind) {
  Parsed p = parse({"GOSHIM=off", "GOSHIM_MAXPROCS=256", "GOSHIM_STACK_SIZE=64k", "GOSHIM_PREEMPT=0",
                    "GOSHIM_PREEMPT_SIGNAL=40", "GOSHIM_CHAOS=1000", "GOSHIM_SCHEDTRACE=100", "GOSHIM_STATS=on",
                    "GOSHIM_VERBOSE=1"});
  EXPECT_EQ(p.text, "");
  EXPECT_FALSE(p.options.enabled);
  EXPECT_EQ(p.options.max_procs, 256);
  EXPECT_EQ(p.options.stack_size, 65536U);
  EXPECT_FALSE(p.options.preempt);
  EXPECT_EQ(p.options.preempt_signal, 40);
  EXPECT_EQ(p.options.chaos, 1000);
  EXPECT_EQ(p.options.schedtrace, 100);
  EXPECT_TRUE(p.options.stats);
  EXPECT_TRUE(p.options.verbose);
}

TEST(Options, PathsAreKeptAsTheyAre) {
  EXPECT_STREQ(parse({}).options.trace.text, "");
  EXPECT_STREQ(parse({"GOSHIM_TRACE=/tmp/a b=c"}).options.trace.text, "/tmp/a b=c");
  std::string longest(sizeof(Options::Path::text) - 1, 'x');
  EXPECT_EQ(parse({"GOSHIM_TRACE=" + longest}).options.trace.text, longest);
  for (const std::string& bad : {std::string(), longest + "x"}) {
    Parsed p = parse({"GOSHIM_TRACE=" + bad});
    EXPECT_EQ(p.lines, 1);
    EXPECT_STREQ(p.options.trace.text, "");
  }
}

TEST(Options, BytesHaveUnits) {
  EXPECT_EQ(parse({"GOSHIM_STACK_SIZE=16384"}).options.stack_size, 16384U);
  EXPECT_EQ(parse({"GOSHIM_STACK_SIZE=16K"}).options.stack_size, 16384U);
  EXPECT_EQ(parse({"GOSHIM_STACK_SIZE=8m"}).options.stack_size, 8U << 20);
  EXPECT_EQ(parse({"GOSHIM_STACK_SIZE=1g"}).options.stack_size, 1U << 30);
  EXPECT_EQ(parse({"GOSHIM_STACK_SIZE=0"}).options.stack_size, 0U);
}

TEST(Options, BadValueGivesOneLineAndTheDefault) {
  for (const char* bad :
       {"GOSHIM=", "GOSHIM=maybe", "GOSHIM_MAXPROCS=257", "GOSHIM_MAXPROCS=-1", "GOSHIM_MAXPROCS=2x",
        "GOSHIM_MAXPROCS= 2", "GOSHIM_MAXPROCS=99999999999999999999", "GOSHIM_STACK_SIZE=100", "GOSHIM_STACK_SIZE=64kb",
        "GOSHIM_STACK_SIZE=k", "GOSHIM_STACK_SIZE=9223372036854775807g", "GOSHIM_PREEMPT_SIGNAL=33",
        "GOSHIM_PREEMPT_SIGNAL=9", "GOSHIM_PREEMPT_SIGNAL=65", "GOSHIM_CHAOS=1001", "GOSHIM_STATS=yes"}) {
    Parsed p = parse({bad});
    EXPECT_EQ(p.lines, 1) << bad;
    EXPECT_TRUE(p.options == Options()) << bad;
  }
  EXPECT_EQ(parse({"GOSHIM_MAXPROCS=many"}).text,
            "goshim: GOSHIM_MAXPROCS: bad value \"many\": accepted is a number from 0 to 256; using default\n");
}

TEST(Options, UnknownNameGivesOneLine) {
  Parsed p = parse({"GOSHIM_MAXPROC=2"});
  EXPECT_EQ(p.lines, 1);
  EXPECT_EQ(p.text, "goshim: GOSHIM_MAXPROC: no such option; GOSHIM=help lists them\n");
}

TEST(Options, LinesStayLinesWhateverTheValue) {
  EXPECT_EQ(parse({"GOSHIM_CHAOS=1\n2\x1b[31m"}).lines, 1);
  EXPECT_EQ(parse({"GOSHIM_CHAOS=" + std::string(100000, 'x')}).lines, 1);
  EXPECT_EQ(parse({"GOSHIM_" + std::string(100000, 'X') + "=1"}).lines, 1);
}

TEST(Options, FirstOfTwoCounts) { EXPECT_EQ(parse({"GOSHIM_CHAOS=5", "GOSHIM_CHAOS=6"}).options.chaos, 5); }

TEST(Options, AreReadOnce) {
  std::string chaos = "GOSHIM_CHAOS=7", other = "GOSHIM_CHAOS=bad";
  char* first[] = {chaos.data(), nullptr};
  char* second[] = {other.data(), nullptr};
  options_read(first);
  EXPECT_EQ(written_to(2, [&] { options_read(second); }), "");
  EXPECT_EQ(options.chaos, 7);
}

TEST(Options, HelpNamesEveryOptionAndItsDefault) {
  std::string text = written_to(1, [] { options_help(1); });
#define OPTION(kind, field, name, value, least, most, help) \
  EXPECT_NE(text.find(name "\n    " help "\n"), std::string::npos) << text;
  GOSHIM_OPTIONS(OPTION)
#undef OPTION
  EXPECT_NE(text.find("a signal number from 32 to 64 without 33; default 32"), std::string::npos) << text;
  EXPECT_NE(text.find("from 16k to 1024g"), std::string::npos) << text;
  EXPECT_EQ(written_to(2,
                       [] {
                         char help[] = "GOSHIM=help";
                         char* envp[] = {help, nullptr};
                         Options o;
                         options_parse(envp, &o);
                       }),
            text);
}

}  // namespace
}  // namespace goshim
