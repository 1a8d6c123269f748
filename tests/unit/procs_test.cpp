// sanitize: address
// The default number of Ps: affinity, and control group quotas of both versions.
#include "base/procs.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace goshim {
namespace {

// A made-up tree of control groups.
class Procs : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/goshim-procs-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    root = name;
  }
  void TearDown() override { std::filesystem::remove_all(root); }
  void put(const std::string& path, const std::string& text) {
    std::filesystem::path file = root + "/" + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  int limit(const std::string& groups) {
    put("self", groups);
    return cgroup_max_procs((root + "/self").c_str(), root.c_str());
  }
  std::string root;
};

TEST_F(Procs, NoGroupNoLimit) {
  EXPECT_EQ(cgroup_max_procs("/nonexistent", "/nonexistent"), 0);
  EXPECT_EQ(limit(""), 0);
  EXPECT_EQ(limit("0::/\n"), 0);
  EXPECT_EQ(limit("nonsense\n:\n::\n"), 0);
}

TEST_F(Procs, QuotaIsRoundedUp) {
  put("a/cpu.max", "150000 100000\n");
  EXPECT_EQ(limit("0::/a\n"), 2);
  put("a/cpu.max", "200000 100000\n");
  EXPECT_EQ(limit("0::/a\n"), 2);
  put("a/cpu.max", "1000 100000\n");
  EXPECT_EQ(limit("0::/a\n"), 1);
}

TEST_F(Procs, MaxIsNoLimit) {
  put("a/cpu.max", "max 100000\n");
  EXPECT_EQ(limit("0::/a\n"), 0);
}

TEST_F(Procs, StrictestGroupAboveHolds) {
  put("a/cpu.max", "300000 100000\n");
  put("a/b/cpu.max", "max 100000\n");
  put("a/b/c/cpu.max", "800000 100000\n");
  EXPECT_EQ(limit("0::/a/b/c\n"), 3);
  EXPECT_EQ(limit("0::/a/b/c/gone/away\n"), 3);
}

TEST_F(Procs, RootOfAContainerCounts) {
  put("cpu.max", "400000 100000\n");
  EXPECT_EQ(limit("0::/\n"), 4);
  EXPECT_EQ(limit("0::/not/mounted/here\n"), 4);
}

TEST_F(Procs, VersionOneIsFoundByItsController) {
  put("cpu,cpuacct/x/cpu.cfs_quota_us", "250000\n");
  put("cpu,cpuacct/x/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(limit("5:cpu,cpuacct:/x\n4:cpuset:/\n0::/\n"), 3);
  EXPECT_EQ(limit("5:cpuacct:/x\n"), 0);
  EXPECT_EQ(limit("5:cpuset:/x\n"), 0);
}

TEST_F(Procs, MinusOneIsNoLimitInVersionOne) {
  put("cpu/x/cpu.cfs_quota_us", "-1\n");
  put("cpu/x/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(limit("1:cpu:/x\n"), 0);
}

TEST_F(Procs, HybridTreeIsLookedAtToo) {
  put("unified/x/cpu.max", "100000 100000\n");
  EXPECT_EQ(limit("1:cpu:/\n0::/x\n"), 1);
}

TEST_F(Procs, ManyControllersAndLongLines) {
  put("cpu.max", "700000 100000\n");
  EXPECT_EQ(limit("0::/" + std::string(3000, 'x') + "\n"), 7);
}

TEST(DefaultProcs, FollowTheAffinity) {
  cpu_set_t all, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
  EXPECT_GE(default_max_procs(), 1);
  EXPECT_LE(default_max_procs(), CPU_COUNT(&all));
  CPU_ZERO(&one);
  for (size_t i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++) {
    if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(default_max_procs(), 1);
  sched_setaffinity(0, sizeof all, &all);
}

}  // namespace
}  // namespace goshim
