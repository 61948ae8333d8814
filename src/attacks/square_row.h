// The random squares that Square tries: a row's next point, drawn by counter from its id, the seed and the draw.
#pragma once

#include "formulas.h"
#include "kernels.h"
#include "philox.h"

namespace epsball {

// What changes from draw to draw.
struct SquareDraw {
  std::uint32_t number = 0;
  std::int32_t tall = 1, wide = 1;  // of a window
};

struct SquareRows {
  Norm norm = Norm::linf;
  Index rows = 0, channels = 1, height = 1, width = 1;
  const float* x = nullptr;  // (rows, features): the best points so far
  const float* x0 = nullptr;
  const float* lo = nullptr;
  const float* hi = nullptr;
  float* out = nullptr;        // L-infinity: within [lo, hi], which holds the ball; else to be projected
  Index ld = 0;                // of all five
  const float* eps = nullptr;  // (rows)
  const Index* ids = nullptr;  // (rows)
  std::uint64_t seed = 0;
  const SquareDraw* draw = nullptr;  // (1)
  bool first = false;                // the first point, which does not depend on x
};

namespace EPSBALL_ISA {

// Separates the squares from other uses of one seed; the low 24 bits count draws.
inline constexpr std::uint32_t kSquareSalt = 4u << 24;

struct SquareNumbers {
  const SquareRows& a;
  Index row;

  // Of the draw's numbers the first four place the windows, the others are signs and directions.
  EPSBALL_HD std::uint32_t word(Index i) const {
    const auto id = static_cast<std::uint64_t>(a.ids[row]);
    std::uint32_t words[4] = {static_cast<std::uint32_t>(i / 4), kSquareSalt | a.draw->number,
                              static_cast<std::uint32_t>(id), static_cast<std::uint32_t>(id >> 32)};
    philox(words, a.seed);
    return words[i % 4];
  }
  // Uniform in 0 ... most, both ends included.
  EPSBALL_HD Index place(Index i, Index most) const {
    return static_cast<Index>((static_cast<std::uint64_t>(word(i)) * static_cast<std::uint64_t>(most + 1)) >> 32);
  }
  EPSBALL_HD bool coin(Index i) const { return word(4 + i) & 1u; }
  EPSBALL_HD Index at(Index channel, Index i, Index j) const {
    return row * a.ld + (channel * a.height + i) * a.width + j;
  }
};

// ---- L-infinity ----

// Vertical stripes of -eps and eps, a sign for every channel and column; this thread's share of the features.
EPSBALL_HD void square_stripes(const SquareRows& a, Index row, Index first, Index stride) {
  const SquareNumbers draw{a, row};
  const Index columns = a.channels * a.width;
  for (Index k = first; k < columns; k += stride) {
    const bool up = draw.coin(k);
    for (Index i = 0; i < a.height; ++i) {
      const Index at = draw.at(k / a.width, i, k % a.width);
      a.out[at] = up ? a.hi[at] : a.lo[at];
    }
  }
}

// A window that goes to -eps or eps, a sign for every channel; `out` holds x already.
EPSBALL_HD void square_window(const SquareRows& a, Index row, Index first, Index stride) {
  const SquareNumbers draw{a, row};
  const Index tall = a.draw->tall, wide = a.draw->wide;
  const Index down = draw.place(0, a.height - tall), right = draw.place(1, a.width - wide);
  for (Index c = 0; c < a.channels; ++c) {
    const float* to = draw.coin(c) ? a.hi : a.lo;
    for (Index k = first; k < tall * wide; k += stride) {
      const Index at = draw.at(c, down + k / wide, right + k % wide);
      a.out[at] = to[at];
    }
  }
}

// ---- L2 and L1 ----

// |d|^p, and the length that a sum of them is.
EPSBALL_HD double square_power(Norm norm, double d) { return norm == Norm::l2 ? d * d : d < 0.0 ? -d : d; }
EPSBALL_HD double square_length(Norm norm, double sum) { return norm == Norm::l2 ? __builtin_sqrt(sum) : sum; }

// How high a pyramid over tall x wide is at a pixel, before it gets a length; L1's is steeper.
EPSBALL_HD double square_pyramid(Norm norm, Index tall, Index wide, Index i, Index j) {
  const Index down = i - tall / 2, right = j - wide / 2;
  const Index y = down < 0 ? -down : down, x = right < 0 ? -right : right;
  const Index most = (tall > wide ? tall : wide) / 2 + 1;
  double height = 0.0;
  for (Index r = y > x ? y : x; r < most; ++r) {
    const auto square = static_cast<double>((r + 1) * (r + 1));
    height += 1.0 / (norm == Norm::l1 ? square * square : square);
  }
  return height;
}

// Two pyramids side by side in a window of tall x wide, one up, one down, as long as each other and together of length
// 1. `across`: the window is parted left from right.
struct SquarePyramids {
  Norm norm;
  Index tall, wide;
  bool across;
  double lengths[2];

  EPSBALL_HD SquarePyramids(Norm norm_, Index tall_, Index wide_, bool across_)
      : norm(norm_), tall(tall_), wide(wide_), across(across_) {
    double sums[2] = {0.0, 0.0};
    for (Index k = 0; k < tall * wide; ++k) sums[second(k)] += square_power(norm, height(k));
    const double parts = sums[0] > 0.0 ? 2.0 : 1.0;  // a window of one pixel has no first half
    for (int part = 0; part < 2; ++part) lengths[part] = square_length(norm, sums[part] * parts);
  }
  // At the window's k-th pixel, row by row.
  EPSBALL_HD double operator()(Index k) const { return second(k) ? -height(k) / lengths[1] : height(k) / lengths[0]; }

 private:
  EPSBALL_HD bool second(Index k) const { return across ? k % wide >= wide / 2 : k / wide >= tall / 2; }
  EPSBALL_HD double height(Index k) const {
    const Index i = k / wide, j = k % wide, whole = across ? wide : tall, half = whole / 2;
    const Index begin = second(k) ? half : 0, size = second(k) ? whole - half : half;
    return across ? square_pyramid(norm, tall, size, i, j - begin) : square_pyramid(norm, size, wide, i - begin, j);
  }
};

// A direction out of the box gets none of eps: the box would cut it off, and it would be lost.
EPSBALL_HD bool square_leaves(const SquareRows& a, Index at, double d) {
  return d > 0.0 ? a.x0[at] >= a.hi[at] : a.x0[at] <= a.lo[at];
}

// Five by five tiles of pyramids (fewer where the image is smaller), together of length eps.
EPSBALL_HD void square_tiles(const SquareRows& a, Index row) {
  const SquareNumbers draw{a, row};
  const Index features = a.channels * a.height * a.width;
  const Index tall = a.height < 5 ? 1 : a.height / 5, wide = a.width < 5 ? 1 : a.width / 5;
  const Index down = a.height < 5 ? a.height : 5, across = a.width < 5 ? a.width : 5;
  const Index top = (a.height - tall * down) / 2, left = (a.width - wide * across) / 2;
  for (Index i = 0; i < features; ++i) a.out[row * a.ld + i] = 0.0f;
  double total = 0.0;
  for (Index tile = 0; tile < a.channels * down * across; ++tile) {
    const Index c = tile / (down * across), y = tile / across % down, x = tile % across;
    const bool side = tall == 1 || (wide > 1 && draw.coin(2 * tile)), up = draw.coin(2 * tile + 1);
    const SquarePyramids pyramids(a.norm, tall, wide, side);
    for (Index k = 0; k < tall * wide; ++k) {
      const Index at = draw.at(c, top + y * tall + k / wide, left + x * wide + k % wide);
      const double v = up ? pyramids(k) : -pyramids(k);
      if (square_leaves(a, at, v)) continue;
      total += square_power(a.norm, v);
      a.out[at] = static_cast<float>(v);
    }
  }
  const double scale = total > 0.0 ? static_cast<double>(a.eps[row]) / square_length(a.norm, total) : 0.0;
  for (Index i = row * a.ld; i < row * a.ld + features; ++i) a.out[i] = static_cast<float>(a.x0[i] + a.out[i] * scale);
}

// The change of a second window goes to a first one, which gets pyramids on top of its own change, and what was left of
// eps; `out` holds x already.
EPSBALL_HD void square_move(const SquareRows& a, Index row) {
  const SquareNumbers draw{a, row};
  const Index tall = a.draw->tall, wide = a.draw->wide;
  const Index down = draw.place(0, a.height - tall), right = draw.place(1, a.width - wide);
  const Index down2 = draw.place(2, a.height - tall), right2 = draw.place(3, a.width - wide);
  const bool side = tall == 1 || (wide > 1 && draw.coin(a.channels));
  const auto change = [&](Index at) { return static_cast<double>(a.x[at]) - static_cast<double>(a.x0[at]); };
  const auto power = [&](double d) { return square_power(a.norm, d); };
  double all = 0.0;
  for (Index i = row * a.ld; i < row * a.ld + a.channels * a.height * a.width; ++i) all += power(change(i));
  const SquarePyramids pyramids(a.norm, tall, wide, side);
  // A little less than eps: where rounding leaves the ball, the projection moves every feature of the image.
  const double spare = power(a.eps[row] * (1.0 - 1e-6)) - all;
  for (Index c = 0; c < a.channels; ++c) {
    const double up = draw.coin(c) ? 1.0 : -1.0;
    double first = 0.0, both = 0.0;
    for (Index k = 0; k < tall * wide; ++k) {
      const Index i = k / wide, j = k % wide, at2 = draw.at(c, down2 + i, right2 + j);
      const double d = change(draw.at(c, down + i, right + j));
      const Index y = down2 + i - down, x = right2 + j - right;
      const bool shared = y >= 0 && y < tall && x >= 0 && x < wide;
      first += power(d);
      both += power(d) + (shared ? 0.0 : power(change(at2)));
      a.out[at2] = a.x0[at2];
    }
    double own = first > 0.0 ? 1.0 / square_length(a.norm, first) : 0.0;
    const auto direction = [&](Index k) {
      const Index at = draw.at(c, down + k / wide, right + k % wide);
      const double d = change(at) * own + pyramids(k) * up;
      return square_leaves(a, at, d) ? 0.0 : d;
    };
    const auto length = [&] {
      double sum = 0.0;
      for (Index k = 0; k < tall * wide; ++k) sum += power(direction(k));
      return square_length(a.norm, sum);
    };
    double mixed = length();
    if (mixed < 1e-6) own = 0.0, mixed = length();  // they are opposite, what is left is rounding
    const double budget = both + spare / static_cast<double>(a.channels);
    const double scale = budget > 0.0 && mixed > 0.0 ? square_length(a.norm, budget) / mixed : 0.0;
    for (Index k = 0; k < tall * wide; ++k) {
      const Index at = draw.at(c, down + k / wide, right + k % wide);
      a.out[at] = static_cast<float>(a.x0[at] + direction(k) * scale);
    }
  }
}

}  // namespace EPSBALL_ISA
}  // namespace epsball
