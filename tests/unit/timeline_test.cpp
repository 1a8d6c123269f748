// The file of the timeline: its layout, and that what does not fit is counted and the newest kept. The scheduler is not
// started: an M of the test's own notes events.
#include "trace/timeline.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "base/host.h"
#include "base/options.h"
#include "sched/internal.h"

namespace goshim {
namespace {

using namespace timeline_file;

constexpr size_t kSize = 512 << 10;

int real_clock_gettime(clockid_t clock, timespec* t) { return clock_gettime(clock, t); }

// The calling thread as an M that runs G 1 on P 0, and the file, which is looked at through a mapping of its own.
class Timeline : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    char name[] = "/tmp/timeline_testXXXXXX";
    close(mkstemp(name));
    unlink(name);
    host.clock_gettime = real_clock_gettime;
    sched.procs = 1;
    sched.pid = getpid();
    options.trace_size = kSize;
    snprintf(options.trace.text, sizeof options.trace.text, "%s", name);
    m.g0 = &g0;
    m.tid = gettid();
    m.curg.store(&g);
    m.p.store(reinterpret_cast<uintptr_t>(&p));
    g.id = 1;
    g.m.store(&m);
    goshim_tls.g = goshim_tls.owner = &g;
    goshim_tls.nopreempt = 1;
    timeline_start();
    int fd = open(name, O_RDONLY);
    ASSERT_GE(fd, 0);
    void* at = mmap(nullptr, kSize, PROT_READ, MAP_SHARED, fd, 0);
    ASSERT_NE(at, MAP_FAILED);
    close(fd);
    unlink(name);
    header = static_cast<const Header*>(at);
  }
  static void TearDownTestSuite() { goshim_tls.g = goshim_tls.owner = nullptr; }

  static const Segment* segment(uint64_t i) {
    return reinterpret_cast<const Segment*>(reinterpret_cast<const char*>(header) + header->segments +
                                            i * kSegmentSize);
  }
  static const Record* records(const Segment* s) { return reinterpret_cast<const Record*>(s + 1); }
  // The arguments of all events of this kind that the file holds, oldest first. There is one writer.
  static std::vector<uint64_t> noted(Event event) {
    std::map<uint64_t, const Segment*> in_order;
    for (uint64_t i = 0; i < header->n_segments; i++) {
      if (segment(i)->magic == kSegmentMagic) in_order[segment(i)->sequence] = segment(i);
    }
    std::vector<uint64_t> seen;
    for (auto& [sequence, s] : in_order) {
      for (size_t k = 0; k < kSegmentRecords; k++) {
        uint64_t what = records(s)[k].what.load();
        if (what == 0) break;
        auto kind = static_cast<Event>(what & ((1 << kEventBits) - 1));
        if (kind == event) seen.push_back(records(s)[k].argument);
        if (kind == Event::YieldRun) {
          if (event == Event::Yield) seen.push_back(id_of(records(s)[k].argument));
          timeline_file::Run run(&records(s)[k], records(s)[k].argument);
          uint32_t id;
          for (size_t place = 0; run.id(place, &id); place++) {
            if (event == Event::Yield) seen.push_back(id);
          }
          k += kRunRecords;
        }
      }
    }
    return seen;
  }

  static inline M m;
  static inline G g0, g, other;
  static inline P p;
  static inline const Header* header;
};

TEST_F(Timeline, FileSaysWhatItIs) {
  ASSERT_TRUE(timeline_on());
  EXPECT_EQ(std::string(header->magic, sizeof header->magic), "goshimTL");
  EXPECT_EQ(header->file_size, kSize);
  EXPECT_EQ(header->pid, static_cast<uint32_t>(getpid()));
  EXPECT_LE(header->segments + header->n_segments * kSegmentSize, kSize);
  EXPECT_EQ(noted(Event::Start), std::vector<uint64_t>{1});
}

TEST_F(Timeline, YieldsInARushAreAllThereAndInOrder) {
  constexpr uint64_t kTimes = 1000;
  for (uint64_t i = 1; i <= kTimes; i++) {
    other.id = i;
    timeline_yield(&m, &other);
  }
  std::vector<uint64_t> seen = noted(Event::Yield);
  ASSERT_EQ(seen.size(), kTimes);
  for (uint64_t i = 0; i < kTimes; i++) EXPECT_EQ(seen[i], i + 1);
}

TEST_F(Timeline, IdsFarApartInARush) {
  size_t before = noted(Event::Yield).size();
  const uint64_t ids[] = {1, 100000, 2, 3, 0xffffffff, 40000, 72767, 7232, 5};
  for (uint64_t id : ids) {
    other.id = id;
    timeline_yield(&m, &other);
  }
  std::vector<uint64_t> seen = noted(Event::Yield);
  ASSERT_EQ(seen.size(), before + std::size(ids));
  for (size_t i = 0; i < std::size(ids); i++) EXPECT_EQ(seen[before + i], ids[i]);
}

TEST_F(Timeline, NarrowAndWideRunsFollowEachOther) {
  size_t before = noted(Event::Yield).size();
  std::vector<uint64_t> ids;
  for (uint64_t i = 0; i < 900; i++) ids.push_back(1000 + i % 200);        // within a byte's reach
  for (uint64_t i = 0; i < 300; i++) ids.push_back(1 + i * 7919 % 60000);  // not
  for (uint64_t i = 0; i < 9000; i++) ids.push_back(500 + i % 2);          // again
  for (uint64_t id : ids) {
    other.id = id;
    timeline_yield(&m, &other);
  }
  std::vector<uint64_t> seen = noted(Event::Yield);
  ASSERT_EQ(seen.size(), before + ids.size());
  for (size_t i = 0; i < ids.size(); i++) EXPECT_EQ(seen[before + i], ids[i]);
}

TEST_F(Timeline, AnotherEventEndsARush) {
  size_t before = noted(Event::Yield).size();
  for (int i = 0; i < 10; i++) {
    other.id = 77;
    timeline_yield(&m, &other);
    timeline_yield(&m, &other);
    timeline(Event::Steal, 5);
  }
  EXPECT_EQ(noted(Event::Yield).size(), before + 20);
  EXPECT_EQ(noted(Event::Steal), std::vector<uint64_t>(10, 5));
}

TEST_F(Timeline, DeadGIsNotedAsMadeAnotherAsWoken) {
  other.id = 4242;
  other.status.store(GStatus::Dead);
  timeline_ready(&other);
  other.status.store(GStatus::Waiting);
  timeline_ready(&other);
  EXPECT_EQ(noted(Event::Create), std::vector<uint64_t>{4242});
  EXPECT_EQ(noted(Event::Unblock), std::vector<uint64_t>{4242});
}

TEST_F(Timeline, ForeignThreadsNoteNothing) {
  goshim_tls.g = nullptr;
  timeline(Event::Poll, 1);
  goshim_tls.g = &g;
  EXPECT_TRUE(noted(Event::Poll).empty());
}

TEST_F(Timeline, ChildOfForkHasItOff) {
  pid_t child = fork();
  if (child == 0) _exit(timeline_on() ? 1 : 0);
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(timeline_on());
}

TEST_F(Timeline, FullFileKeepsTheNewestAndCountsTheRest) {
  constexpr uint64_t kTimes = 100000;
  for (uint64_t i = 1; i <= kTimes; i++) timeline(Event::Preempt, i);
  std::vector<uint64_t> seen = noted(Event::Preempt);
  ASSERT_FALSE(seen.empty());
  EXPECT_GE(seen.size(), (header->n_segments - 1) * kSegmentRecords);
  for (size_t i = 0; i < seen.size(); i++) EXPECT_EQ(seen[i], kTimes - seen.size() + 1 + i);
  EXPECT_GE(header->overwritten.load(), kTimes - seen.size());
  EXPECT_GT(header->complete_after.load(), header->start.cycles);
  EXPECT_EQ(header->dropped.load(), 0U);
}

TEST_F(Timeline, MoreMsThanSegmentsLoseWhatTheyNote) {
  static M crowd[64];
  ASSERT_LT(header->n_segments, std::size(crowd));
  for (M& one : crowd) {
    one.g0 = &g0;
    one.curg.store(&g0);
    g.m.store(&one);
    timeline(Event::Timer);
  }
  EXPECT_GT(header->dropped.load(), 0U);
  for (M& one : crowd) timeline_m_end(&one);
  g.m.store(&m);
  uint64_t dropped = header->dropped.load();
  timeline(Event::Timer);
  EXPECT_EQ(header->dropped.load(), dropped);
}

}  // namespace
}  // namespace goshim
