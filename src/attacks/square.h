// Square: random search by squares, which asks the model for logits only.
#pragma once

#include "attacks/attack.h"
#include "attacks/square_row.h"

namespace epsball {

struct SquareSettings : AttackSettings {
  int queries = 5000;    // forward passes per row
  double part = 0.8;     // of the features that the first squares change
  bool rescale = false;  // squares shrink as if `queries` were 10,000
  bool from_x = false;   // the first point is x, the second the stripes; what rescale and part mean counts from there
  Index channels = 1, height = 1, width = 1;
};

class SquareSlab : public SlabAttack {
 public:
  SquareSlab(const Target& target, const SquareSettings& settings, Worker& worker);

  static Index floats_per_row(const Target& target) {
    return SlabAttack::floats_per_row(target) + padded(target.features()) + target.region_floats_per_row();
  }
  static Index iterates(const SquareSettings& s) { return s.queries; }
  static double passes(const SquareSettings& s) { return static_cast<double>(s.queries); }

 private:
  void attack() override;
  void propose(bool first);
  int first_by_regions() const;

  const SquareSettings s_;
  Rows current_;  // the best points of the rows still in the slab
  SquareDraw* const draw_;
  const std::unique_ptr<RegionPass> regions_;  // or null
  const int first_by_regions_;                 // the first square that is judged by them
};

}  // namespace epsball
