// Options that come as a dictionary, under names that their Python callers and these files alone know.
#pragma once

#include <pybind11/pybind11.h>

namespace epsball::bindings {

template <class T>
T get(const pybind11::dict& options, const char* key) {
  return options[key].cast<T>();
}

}  // namespace epsball::bindings
