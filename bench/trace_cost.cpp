// What a timeline (GOSHIM_TRACE) costs: CPU time by operation without and with it, in processes that take turns,
// medians. To be run with the library preloaded: LD_PRELOAD=build/libgoshim.so build/bench/trace_cost [ROUNDS]
#include <pthread.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

long times;
pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
long turn;

void* yields(void* arg) {
  for (long i = 0; i < times; i++) sched_yield();
  return arg;
}

void* plays(void* arg) {
  long me = reinterpret_cast<long>(arg);
  for (long i = 0; i < times; i++) {
    pthread_mutex_lock(&mutex);
    while (turn != me) pthread_cond_wait(&cond, &mutex);
    turn = 1 - me;
    pthread_cond_signal(&cond);
    pthread_mutex_unlock(&mutex);
  }
  return arg;
}

double cpu_time() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

// In a process of its own: nanoseconds an operation, on stdout.
int measure(const char* what, long n) {
  auto* routine = std::strcmp(what, "yield") == 0 ? yields : plays;
  pthread_t t[2];
  times = 0;
  if (pthread_create(&t[0], nullptr, yields, nullptr) != 0) return 1;
  pthread_join(t[0], nullptr);
  times = n;
  double begin = cpu_time();
  for (long i = 0; i < 2; i++) {
    if (pthread_create(&t[i], nullptr, routine, reinterpret_cast<void*>(i)) != 0) return 1;
  }
  for (pthread_t one : t) pthread_join(one, nullptr);
  std::printf("%.3f\n", (cpu_time() - begin) / (2.0 * static_cast<double>(n)));
  return 0;
}

double one(const std::string& self, const char* what, long n, const char* file) {
  unlink(file);
  std::string command = "GOSHIM_MAXPROCS=1 ";
  if (*file) command += std::string("GOSHIM_TRACE=") + file + " ";
  FILE* from = popen((command + self + " " + what + " " + std::to_string(n)).c_str(), "r");
  double result = 0;
  if (!from || std::fscanf(from, "%lf", &result) != 1 || pclose(from) != 0) {
    std::fprintf(stderr, "trace_cost: %s failed\n", what);
    std::exit(1);
  }
  unlink(file);
  return result;
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3) return measure(argv[1], std::atol(argv[2]));
  int rounds = argc > 1 ? std::atoi(argv[1]) : 7;
  char file[] = "/tmp/trace_costXXXXXX";
  close(mkstemp(file));
  std::printf("%-8s %10s %10s %8s %10s\n", "", "off", "on", "ratio", "more");
  for (const char* kind : {"yield", "cond"}) {
    constexpr long kFew = 20000;
    constexpr double kLong = 500e6;  // nanoseconds, so that beginning and end do not count
    long n = static_cast<long>(kLong / 2 / one(argv[0], kind, kFew, ""));
    std::vector<double> off, on, more;
    for (int i = 0; i < rounds; i++) {
      off.push_back(one(argv[0], kind, n, ""));
      on.push_back(one(argv[0], kind, n, file));
      more.push_back(on.back() - off.back());
    }
    std::printf("%-8s %7.1f ns %7.1f ns %8.2f %7.1f ns\n", kind, median(off), median(on), median(on) / median(off),
                median(more));
  }
  return 0;
}
