// A row's stream of uniforms, element by element: the numbers of cpp/random.h.
#pragma once

#include "launch.cuh"
#include "philox.h"

namespace epsball::cuda {

// 24 random bits to [0, 1).
__device__ __forceinline__ float to_unit(std::uint32_t u) { return static_cast<float>(u >> 8) * 5.9604645e-8f; }

// The four words of one block of row `id`; `salt` separates uses of one seed. Word w of the block of `element` belongs
// to element group + 16 w + offset, where group = element / 64 * 64 and offset = element % 16.
__device__ __forceinline__ void philox_words(std::uint64_t seed, std::uint32_t salt, Index id, Index element,
                                             std::uint32_t (&words)[4]) {
  const std::uint64_t row = static_cast<std::uint64_t>(id);
  words[0] = static_cast<std::uint32_t>(element / kPhiloxGroup * 16 + element % 16);
  words[1] = salt;
  words[2] = static_cast<std::uint32_t>(row);
  words[3] = static_cast<std::uint32_t>(row >> 32);
  philox(words, seed);
}

// The uniform in [0, 1) of one element. All four words of a block are computed for it: kernels that are bound by it
// take them all from philox_words.
__device__ __forceinline__ float uniform_at(std::uint64_t seed, std::uint32_t salt, Index id, Index element) {
  std::uint32_t words[4];
  philox_words(seed, salt, id, element, words);
  const int w = static_cast<int>(element / 16 % 4);
  return to_unit(w == 0 ? words[0] : w == 1 ? words[1] : w == 2 ? words[2] : words[3]);
}

// Runs f(element, words) for the Philox blocks of a row's first n elements, dealt out to the threads of the block: word
// w belongs to element + 16 w, where that is below n.
template <class F>
__device__ __forceinline__ void for_philox(Index n, std::uint64_t seed, std::uint32_t salt, Index id, F f) {
  const Index blocks = ceil_div<Index>(n, kPhiloxGroup) * 16;
  for (Index b = threadIdx.x; b < blocks; b += blockDim.x) {
    const Index element = b / 16 * kPhiloxGroup + b % 16;
    if (element >= n) continue;
    std::uint32_t words[4];
    philox_words(seed, salt, id, element, words);
    f(element, words);
  }
}

}  // namespace epsball::cuda
