// What minimum-norm and decision attacks decide per row, each row by itself.
#include "attacks/decisions.h"
#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

struct Table {
  template <class Rows>
  static void decide_rows(Stream, Index rows, const Rows& a) {
    for (Index r = 0; r < rows; ++r) decide(a, r);
  }
};

}  // namespace

void add_decide(Kernels& k) { add_decisions<Table>(k); }

}  // namespace epsball::EPSBALL_ISA
