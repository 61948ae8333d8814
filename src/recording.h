// What the steps of a loop give to a device's stream, noted once and replayed: on a GPU a CUDA graph.
#pragma once

#include <type_traits>

#include "kernels.h"

namespace epsball {

class Recording {
 public:
  Recording(const Kernels& kernels, Stream stream) : device_(kernels.device), stream_(stream) {}
  ~Recording() { clear(); }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  // Does `work`, which gives the stream the same calls whenever it is done: noted at first, replayed from then on.
  template <class F>
  void run(F&& work) {
    if (!noted_)
      noted_ = device_->record(stream_, [](void* f) { (*static_cast<std::remove_reference_t<F>*>(f))(); }, &work);
    device_->replay(stream_, noted_);
  }
  // The next run notes anew.
  void clear();

 private:
  const Device* device_;
  Stream stream_;
  void* noted_ = nullptr;
};

}  // namespace epsball
