// How many Ps a program gets by default.
#pragma once

#include "base/base.h"

namespace goshim {

constexpr int kMaxProcs = 256;  // upper bound of GOSHIM_MAXPROCS

// The processors that the calling kernel thread may use, cut to what its control group may use, rounded up; 1 to
// kMaxProcs. Raw system calls only.
int default_max_procs();

// The processors' worth of time that the control groups in the list cgroups (the format of /proc/self/cgroup) and all
// above them may use, rounded up; 0 for no limit. mounts is where the hierarchies are mounted: /sys/fs/cgroup.
int cgroup_max_procs(const char* cgroups, const char* mounts);

}  // namespace goshim
