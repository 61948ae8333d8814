// Square's next points, row by row.
#include "attacks/square_row.h"

#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

void square(Stream, const SquareRows& a) {
  const Index features = a.channels * a.height * a.width;
  for (Index row = 0; row < a.rows; ++row) {
    if (!a.first)
      for_lanes(features, [&](Index i, Index n) { store(a.out + row * a.ld + i, load(a.x + row * a.ld + i, n), n); });
    if (a.norm == Norm::linf)
      a.first ? square_stripes(a, row, 0, 1) : square_window(a, row, 0, 1);
    else
      a.first ? square_tiles(a, row) : square_move(a, row);
  }
}

}  // namespace

void add_square(Kernels& k) { k.square = square; }

}  // namespace epsball::EPSBALL_ISA
