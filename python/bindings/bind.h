// What each file adds to the module.
#pragma once

#include <pybind11/pybind11.h>

namespace epsball::bindings {

void bind_device(pybind11::module_&);
void bind_machine(pybind11::module_&);
void bind_model(pybind11::module_&);
void bind_foreign(pybind11::module_&);
void bind_attacks(pybind11::module_&);
void bind_ops(pybind11::module_&);
void bind_sources(pybind11::module_&);
void bind_training(pybind11::module_&);

}  // namespace epsball::bindings
