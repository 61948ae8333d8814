// Which tables can run here, which one is in force, and the few settings that tests and users may change.
#pragma once

#include <string>
#include <vector>

#include "kernels.h"

namespace epsball {

// Tables this build holds and this CPU can run, slowest first.
std::vector<const Kernels*> tables();
// The table in force, or the fastest of these if that one is a device's.
const Kernels& host_table();

// Another table, of a device: a module of its own brings it, and stays.
void add_table(const Kernels& table);
// By name, any of them. Throws std::invalid_argument on an unknown one.
const Kernels& table_named(const std::string& name);

// The table in force: the fastest, or the one EPSBALL_ISA names. Throws std::invalid_argument on an unknown name.
const Kernels& chosen_table();
void choose_table(const std::string& name);

// Knobs of the executor; each setter returns the value before.
int set_threads(int threads);  // 0: as OpenMP says
int set_slab_rows(int rows);   // 0: from the size of the L2 cache
bool set_guards(bool on);      // guard bytes and poison around every workspace buffer
bool set_share_all(bool on);   // threads share work however small it is, which tests of them need

int requested_threads();
int requested_slab_rows();
bool guards();
bool shares_all();

}  // namespace epsball
