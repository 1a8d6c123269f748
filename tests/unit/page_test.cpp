// The page of counters: what is computed from it, and what is taken for one.
#include "trace/page.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>

#include "base/procs.h"

using namespace goshim;

namespace {

// A page as the library makes it, in ordinary memory.
struct Fake {
  explicit Fake(int procs)
      : size(sizeof(Page) + (kMaxProcs + 1) * sizeof(Counts)),
        memory(static_cast<char*>(std::aligned_alloc(kCacheLine, size)), std::free) {
    std::memset(memory.get(), 0, size);
    page()->layout = kPageLayout;
    page()->size = static_cast<uint32_t>(size);
    page()->first_area = sizeof(Page);
    page()->area_size = sizeof(Counts);
    page()->procs = procs;
    page()->magic = kPageMagic;
  }
  Page* page() { return reinterpret_cast<Page*>(memory.get()); }
  Counts* area(int i) { return const_cast<Counts*>(page()->area(i)); }
  bool valid() { return page_valid(memory.get(), size); }
  Totals totals() {
    Totals t;
    page_totals(page(), &t);
    return t;
  }
  size_t size;
  std::unique_ptr<char, void (*)(void*)> memory;
};

std::atomic<uint64_t>& of(Counts* c, Counter which) { return c->of[static_cast<size_t>(which)]; }
size_t at(WaitReason r) { return static_cast<size_t>(r); }

TEST(Latency, EachBucketBeginsWhereItSaysAndEndsBeforeTheNext) {
  for (size_t i = 0; i < kLatencyBuckets; i++) {
    EXPECT_EQ(latency_bucket(latency_from(i)), i);
    if (i) {
      EXPECT_EQ(latency_bucket(latency_from(i) - 1), i - 1);
    }
  }
  EXPECT_EQ(latency_bucket(UINT64_MAX), kLatencyBuckets - 1);
  EXPECT_GT(latency_from(kLatencyBuckets - 1), 60 * static_cast<uint64_t>(kSecond));
}

TEST(Totals, SumOverAllPsAndThoseWithoutOne) {
  Fake f(2);
  of(f.area(0), Counter::steals) = 3;
  of(f.area(1), Counter::steals) = 4;
  of(f.area(Page::kNoP), Counter::steals) = 5;
  f.area(0)->latency[7] = 1;
  f.area(1)->latency[7] = 1;
  f.area(0)->schedticks = 10;
  of(f.area(1), Counter::inherits) = 20;
  Totals t = f.totals();
  EXPECT_EQ(t.counts[static_cast<size_t>(Counter::steals)], 12U);
  EXPECT_EQ(t.latency[7], 2U);
  EXPECT_EQ(t.switches, 30U);
}

TEST(Totals, WhatThreadsDoAddsUp) {
  Fake f(2);
  of(f.area(0), Counter::gs_made) = 12;
  of(f.area(1), Counter::gs_ended) = 2;
  f.area(0)->parks[at(WaitReason::Cond)] = 9;
  f.area(1)->readied[at(WaitReason::Cond)] = 5;
  f.area(1)->readied[at(WaitReason::None)] = 11;
  of(f.area(0), Counter::calls) = 8;
  of(f.area(Page::kNoP), Counter::calls_ended) = 6;
  f.area(1)->queued = 2;
  f.page()->queued = 1;
  Totals t = f.totals();
  EXPECT_EQ(t.live, 10U);
  EXPECT_EQ(t.waiting, 4U);
  EXPECT_EQ(t.waiting_for[at(WaitReason::Cond)], 4U);
  EXPECT_EQ(t.in_calls, 2U);
  EXPECT_EQ(t.runnable, 3U);
  EXPECT_EQ(t.running, 1U);
}

TEST(Totals, ReadAtDifferentMomentsStillAddUp) {
  Fake f(1);
  of(f.area(0), Counter::gs_made) = 3;
  of(f.area(0), Counter::calls_ended) = 1;  // begun after it was read
  f.area(0)->readied[at(WaitReason::Mutex)] = 1;
  f.area(0)->parks[at(WaitReason::Join)] = 100;
  f.area(0)->queued = 7;
  Totals t = f.totals();
  EXPECT_EQ(t.waiting, 3U);
  EXPECT_EQ(t.waiting_for[at(WaitReason::Mutex)], 0U);
  EXPECT_EQ(t.waiting + t.in_calls + t.runnable + t.running, t.live);
}

TEST(Page, OnlyACompletePageOfThisLayoutIsOne) {
  EXPECT_TRUE(Fake(1).valid());
  EXPECT_TRUE(Fake(kMaxProcs).valid());
  EXPECT_FALSE(page_valid(Fake(1).memory.get(), sizeof(Page) - 1));
  auto broken = [](auto how) {
    Fake f(2);
    how(f.page());
    return !f.valid();
  };
  EXPECT_TRUE(broken([](Page* p) { p->magic = 0; }));
  EXPECT_TRUE(broken([](Page* p) { p->layout++; }));
  EXPECT_TRUE(broken([](Page* p) { p->size += kPage; }));
  EXPECT_TRUE(broken([](Page* p) { p->area_size -= 8; }));
  EXPECT_TRUE(broken([](Page* p) { p->first_area = UINT32_MAX - 63; }));
  EXPECT_TRUE(broken([](Page* p) { p->first_area += 8; }));
}

TEST(Page, ANumberOfPsThatCannotBeIsCut) {
  Fake f(2);
  EXPECT_EQ(page_procs(f.page()), 2);
  f.page()->procs = INT32_MAX;
  EXPECT_EQ(page_procs(f.page()), kMaxProcs);
  f.page()->procs = -1;
  EXPECT_EQ(page_procs(f.page()), 0);
}

TEST(Reasons, EachHasANameOfItsOwn) {
  for (size_t a = 0; a < kWaitReasons; a++) {
    EXPECT_STRNE(wait_reason_name(static_cast<WaitReason>(a)), "?");
    for (size_t b = 0; b < a; b++)
      EXPECT_STRNE(wait_reason_name(static_cast<WaitReason>(a)), wait_reason_name(static_cast<WaitReason>(b)));
  }
}

}  // namespace
