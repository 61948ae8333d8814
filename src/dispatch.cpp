// Chooses a table at run time from what was built, what the CPU has and what EPSBALL_ISA asks for.
#include "dispatch.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <stdexcept>

namespace epsball {

namespace scalar {
const Kernels& table();
}
namespace avx2 {
const Kernels& table();
}
namespace avx512 {
const Kernels& table();
}
namespace neon {
const Kernels& table();
}

std::vector<const Kernels*> tables() {
  std::vector<const Kernels*> found = {&scalar::table()};
#ifdef EPSBALL_HAVE_AVX2
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.push_back(&avx2::table());
#endif
#ifdef EPSBALL_HAVE_AVX512
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd"))
    found.push_back(&avx512::table());
#endif
#ifdef EPSBALL_HAVE_NEON
  found.push_back(&neon::table());
#endif
  return found;
}

namespace {

std::mutex devices_mutex;
std::vector<const Kernels*> devices;

const Kernels* find(const std::string& name) {
  std::vector<const Kernels*> all = tables();
  {
    const std::lock_guard lock(devices_mutex);
    all.insert(all.end(), devices.begin(), devices.end());
  }
  std::string names;
  for (const Kernels* k : all) {
    if (name == k->name) return k;
    names += std::string(names.empty() ? "" : ", ") + k->name;
  }
  throw std::invalid_argument("EPSBALL_ISA names the table '" + name + "'; this machine can run: " + names);
}

const Kernels* initial() {
  const char* wanted = std::getenv("EPSBALL_ISA");
  return wanted && *wanted ? find(wanted) : tables().back();
}

std::atomic<const Kernels*>& in_force() {
  static std::atomic<const Kernels*> table = initial();
  return table;
}

std::atomic<int> threads_setting{0}, slab_rows_setting{0};
std::atomic<bool> guards_setting{false}, share_all_setting{false};

}  // namespace

const Kernels& host_table() {
  static const Kernels& fastest = *tables().back();
  const Kernels& chosen = chosen_table();
  return chosen.device ? fastest : chosen;
}

void add_table(const Kernels& table) {
  const std::lock_guard lock(devices_mutex);
  if (std::find(devices.begin(), devices.end(), &table) == devices.end()) devices.push_back(&table);
}

const Kernels& table_named(const std::string& name) { return *find(name); }

const Kernels& chosen_table() { return *in_force(); }
void choose_table(const std::string& name) { in_force() = find(name); }

int set_threads(int threads) { return threads_setting.exchange(threads); }
int set_slab_rows(int rows) { return slab_rows_setting.exchange(rows); }
bool set_guards(bool on) { return guards_setting.exchange(on); }
bool set_share_all(bool on) { return share_all_setting.exchange(on); }
int requested_threads() { return threads_setting; }
int requested_slab_rows() { return slab_rows_setting; }
bool guards() { return guards_setting; }
bool shares_all() { return share_all_setting; }

}  // namespace epsball
