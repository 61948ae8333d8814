// What the module _cuda_emulated has beside that of a GPU: the emulator's hooks, for the tests.
#pragma once

#include <pybind11/pybind11.h>

void bind_emulator(pybind11::module_& m);
