// The module epsball._native.
#include "bind.h"

PYBIND11_MODULE(_native, m) {
  m.doc() = "The engine of epsball; its functions check their arguments, release the GIL and call src/.";
  epsball::bindings::bind_device(m);
  epsball::bindings::bind_machine(m);
  epsball::bindings::bind_model(m);
  epsball::bindings::bind_foreign(m);
  epsball::bindings::bind_attacks(m);
  epsball::bindings::bind_ops(m);
  epsball::bindings::bind_sources(m);
  epsball::bindings::bind_training(m);
}
