// Tables, threads, test hooks and the machine's own limits.
#include <chrono>
#include <cstring>

#include "arrays.h"
#include "bind.h"
#include "dispatch.h"

namespace epsball::bindings {
namespace {

double seconds_now() {
  using std::chrono::duration, std::chrono::steady_clock;
  return duration<double>(steady_clock::now().time_since_epoch()).count();
}

// Amount of work per second that `threads` threads do together; work(worker) returns what one call did.
double rate(int threads, double seconds, const std::function<double(int)>& work) {
  return without_gil([&](Interruption& interruption) {
    std::vector<double> rates(static_cast<std::size_t>(threads));
    run_workers(threads, interruption, [&](int worker) {
      double done = 0;
      const double start = seconds_now();
      double end = start;
      while (end - start < seconds) {
        interruption.check();
        done += work(worker);
        end = seconds_now();
      }
      rates[static_cast<std::size_t>(worker)] = done / (end - start);
    });
    double total = 0;
    for (const double r : rates) total += r;
    return total;
  });
}

double fma_peak(int threads, double seconds) {
  const Kernels& k = host_table();
  return rate(threads, seconds, [&](int) { return k.fma_loop(200000); }) * 1e-9;
}

// Bytes read plus bytes written of copies that no cache holds.
double copy_bandwidth(int threads, double seconds) {
  constexpr std::size_t kBytes = std::size_t{96} << 20;
  std::vector<std::vector<char>> from(static_cast<std::size_t>(threads), std::vector<char>(kBytes, 1)), to = from;
  return rate(threads, seconds,
              [&](int worker) {
                const auto w = static_cast<std::size_t>(worker);
                std::memcpy(to[w].data(), from[w].data(), kBytes);
                return 2.0 * static_cast<double>(kBytes);
              }) *
         1e-9;
}

}  // namespace

void bind_machine(py::module_& m) {
  m.def(
      "tables",
      [] {
        std::vector<std::string> names;
        for (const Kernels* k : tables()) names.emplace_back(k->name);
        return names;
      },
      "Names of the tables this machine can run, slowest first.");
  m.def("table", [] { return std::string(chosen_table().name); }, "Name of the table in force.");
  m.def(
      "use_table",
      [](const std::string& name) {
        const std::string before = chosen_table().name;
        choose_table(name);
        return before;
      },
      py::arg("name"), "Puts another table in force and returns the name of the one before.");
  m.def(
      "add_table",
      [](const py::capsule& table) {
        const std::string wanted = std::string("epsball.Kernels ") + EPSBALL_VERSION;
        if (!table.name() || wanted != table.name())
          throw py::import_error("the CUDA module was built for another version of epsball");
        const auto* kernels = table.get_pointer<const Kernels>();
        add_table(*kernels);
        return std::string(kernels->name);
      },
      py::arg("table"), "Registers the table of a device, which its module hands over; returns its name.");
  m.def("lanes", [] { return chosen_table().lanes; }, "Floats per vector of the table in force.");
  m.def("threads", &available_threads, "Threads a call may use now.");
  m.def(
      "set_threads",
      [](int threads) {
        if (threads < 0) throw py::value_error("threads: wanted 0 or more, got " + std::to_string(threads));
        return set_threads(threads);
      },
      py::arg("threads"), "Fixes the number of threads (0: as OpenMP says); returns the number before.");
  m.def("set_slab_rows", &set_slab_rows, py::arg("rows"), "Fixes the rows of a slab (0: from the cache size).");
  m.def("set_share_all", &set_share_all, py::arg("on"),
        "Lets threads share work however small it is; returns what was so before.");
  m.def("check_guards", &set_guards, py::arg("on"), "Puts guard bytes and poison around every workspace buffer.");
  m.def("executor", &executor_name, "Who runs the slabs: openmp, threads or serial.");
  m.def("fma_peak", &fma_peak, py::arg("threads"), py::arg("seconds"),
        "GFLOP/s of independent fused multiply-adds in registers.");
  m.def("copy_bandwidth", &copy_bandwidth, py::arg("threads"), py::arg("seconds"),
        "GB/s read and written by copies larger than the caches.");
}

}  // namespace epsball::bindings
