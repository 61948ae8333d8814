// A caller's arrays as the kernels of a table can read and write them: themselves, or for the length of a call copies
// on the table's device.
#pragma once

#include <optional>

#include "slab.h"

namespace epsball {

class Staging {
 public:
  Staging(const Kernels& kernels, ArenaPool& arenas) : kernels_(kernels) {
    if (kernels.device) arena_.emplace(arenas, kernels);
  }

  // What is read. Null stays null.
  template <class T>
  const T* in(const T* data, Index count) {
    return static_cast<const T*>(here(const_cast<T*>(data), bytes_of<T>(count), true, false));
  }
  Array in(const Array& a) { return at(a, here(a.data, bytes_of(a), true, false)); }

  // What is written, all of it; finish() brings it back.
  template <class T>
  T* out(T* data, Index count) {
    return static_cast<T*>(here(data, bytes_of<T>(count), false, true));
  }
  Array out(const Array& a) { return at(a, here(a.data, bytes_of(a), false, true)); }

  // What is read and written, or written in part.
  template <class T>
  T* update(T* data, Index count) {
    return static_cast<T*>(here(data, bytes_of<T>(count), true, true));
  }

  // All work of the call is done, and its results are the caller's.
  void finish();

 private:
  void* here(void* data, Index bytes, bool read, bool written);

  template <class T>
  static Index bytes_of(Index count) {
    return count * static_cast<Index>(sizeof(T));
  }
  static Index bytes_of(const Array& a);
  static Array at(Array a, void* data) {
    a.data = data;
    return a;
  }

  struct Result {
    void* host;
    const void* device;
    Index bytes;
  };
  const Kernels& kernels_;
  std::optional<Borrowed> arena_;  // on a device
  std::vector<Result> results_;
};

}  // namespace epsball
